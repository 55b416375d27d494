"""Real training on a twin while driver, zygote, workers or the whole group are struck by signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.store.ledger import Ledger

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL, signal.SIGSTOP)
TARGETS = ("driver", "zygote", "worker", "group")
#: Two runs of two steps on 20 test questions, with a checkpoint after each step.
PLAN = "run --models gpt2 --seeds 0,1 --budget 2x8 --eval-limit 20 --max-new-tokens 4 --jobs 2"
OPTIONS = "--checkpoint-every 1"
#: Seconds that a stopped process stays stopped, and that an undisturbed driver may take.
STOPPED, LONGEST = 0.3, 240.0
#: Seconds that a worker is waited for which is to be struck.
AWAITED = 10.0


@dataclass
class Struck:
    """What came of one plan whose processes were struck."""

    kills: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def strike(out: Path, generator: random.Random, strikes: int, time_left: Callable[[], bool]) -> Struck:
    """Strike one plan so often, then let it end: everything must be there and nothing left running."""
    struck = Struck()
    held: dict[str, str] = {}
    while sum(struck.kills.values()) < strikes and time_left():
        driver = start(out)
        while driver.poll() is None and sum(struck.kills.values()) < strikes and time_left():
            time.sleep(generator.choice([0.05, 0.3, 1, 2, 4]))
            _strike_one(driver.pid, generator, struck)
        if driver.poll() is None and not _ends(driver, struck):
            return struck
        struck.wrong += orphans(out)
        struck.wrong += lost(out, held)
    driver = start(out)
    if _ends(driver, struck) and driver.returncode != 0:
        struck.wrong.append(
            f"undisturbed: exit {driver.returncode}: {(out / 'driver.txt').read_text()[-600:]}"
        )
    struck.wrong += orphans(out) + lost(out, held)
    if len(held) != 2:
        struck.wrong.append(f"{len(held)} of 2 runs are there in the end")
    return struck


def start(out: Path, plan: str = f"{PLAN} {OPTIONS}", log: str = "driver.txt") -> subprocess.Popen[bytes]:
    """A driver in a session of its own, whose output goes to the file `log` below its folder."""
    words = [sys.executable, "-m", "bench.cli", *plan.split(), "--out", str(out)]
    out.mkdir(parents=True, exist_ok=True)
    with (out / log).open("wb") as log_file:
        return subprocess.Popen(
            words, stdout=log_file, stderr=log_file, stdin=subprocess.DEVNULL, start_new_session=True
        )


def _strike_one(driver: int, generator: random.Random, struck: Struck) -> None:
    """Send one signal to one of the processes that are there; a stopped one goes on a little later."""
    target, number = generator.choice(TARGETS), generator.choice(SIGNALS)
    with suppress(ProcessLookupError, psutil.NoSuchProcess, PermissionError):
        zygotes = psutil.Process(driver).children()
        workers = [worker for zygote in zygotes for worker in zygote.children()]
        pids = {
            "driver": [driver],
            "zygote": [process.pid for process in zygotes],
            "worker": [process.pid for process in workers],
            "group": [driver],
        }[target]
        if not pids and target == "worker":
            pids = _soon(zygotes, generator)
        if not pids:
            return
        pid = generator.choice(pids)
        send = os.killpg if target == "group" else os.kill
        send(pid, number)
        name = f"{target} {number.name}"
        struck.kills[name] = struck.kills.get(name, 0) + 1
        if number == signal.SIGSTOP:
            time.sleep(STOPPED)
            send(pid, signal.SIGCONT)


def _soon(zygotes: list[psutil.Process], generator: random.Random) -> list[int]:
    """The workers of these zygotes as soon as there are any: between their lives libraries are imported."""
    deadline = time.monotonic() + AWAITED
    while time.monotonic() < deadline:
        if workers := [worker.pid for zygote in zygotes for worker in zygote.children()]:
            time.sleep(generator.random())  # somewhere in its life
            return workers
        time.sleep(0.05)
    return []


def _ends(driver: subprocess.Popen[bytes], struck: Struck) -> bool:
    try:
        driver.wait(LONGEST)
    except subprocess.TimeoutExpired:
        struck.wrong.append(f"the driver did not end within {LONGEST:g} s")
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        return False
    return True


def orphans(out: Path) -> list[str]:
    """Processes of this plan that outlive its driver by more than the seconds they may take to notice."""
    deadline = time.monotonic() + 10
    while left := [process for process in psutil.process_iter() if _works_below(process, out)]:
        if time.monotonic() > deadline:
            for process in left:
                process.kill()
            return [f"{len(left)} processes outlived their driver"]
        time.sleep(0.2)
    return []


def _works_below(process: psutil.Process, out: Path) -> bool:
    """Whether a process has a file below a folder open, as every worker has its lock and its log."""
    with suppress(psutil.Error, OSError):
        return any(file.path.startswith(str(out)) for file in process.open_files())
    return False


def lost(out: Path, held: dict[str, str]) -> list[str]:
    """Records that were there and are gone, changed or damaged; those that are new are held from now on."""
    stored, messages = Ledger(out).load()
    now = {record.record.id: record.digest for record in stored}
    wrong = [f"lost or changed: {id}" for id, digest in held.items() if now.get(id) != digest]
    held.update(now)
    return wrong + [f"unfinished, but published: {message}" for message in messages]
