"""What becomes of a run whose machine runs short?  `python -m benchmarks.shortage` (as root, on Linux).

Real training on a twin, two seeds, in a folder on a file system of its own. The first run is stopped at the
beginning of a stage; then its disk is filled, its folder made read-only, or its process gets no more memory
(RLIMIT_AS) or file handles (RLIMIT_NOFILE) than it has, and it goes on until it ends. Then the shortage is
over. The command must end without a traceback: with exit 1 and the reason where a row failed, with exit 0
where the stage could do without. The other row is there, unless it was begun while the disk was full; the
same command once more leaves both rows and no failure. The last line is `shortage ratio VALUE`: the share of
trials in which all of this held.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bench.store.ledger import Ledger

PLAN = (
    "run --models gpt2 --seeds 0,1 --budget 2x8 --eval-limit 20 "
    "--max-new-tokens 4 --jobs 1 --checkpoint-every 1"
)
STAGES = ("prepare", "load", "generate base", "train", "generate tuned", "score", "save")
#: What a row's reason says of a shortage.
SAID = {
    "disk full": r"No space left",
    "folder read-only": r"Read-only|not permitted",
    "memory": r"[Mm]emory|allocate|died \(SIG",
    "file handles": r"Too many open files",
}
DISKS = ("disk full", "folder read-only")
LONGEST = 240
#: Stops the first worker that begins the stage named in a variable; loaded by every interpreter of a trial.
HOOK = """
import os, signal
import bench.launch.worker as worker
whole = worker.send
def send(events, id, event):
    whole(events, id, event)
    stage, file = os.environ["SHORTAGE"].split(":", 1)
    if event.get("event") == "stage" and event["stage"] == stage:
        try:
            with open(file, "x") as told:
                told.write(str(os.getpid()))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)
worker.send = send
"""


@contextmanager
def disk(place: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(place)]
    subprocess.run(mount, check=True, stderr=subprocess.DEVNULL)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def may_mount() -> bool:
    """Whether a file system of its own can be had here: containers often forbid it even to root."""
    with tempfile.TemporaryDirectory(prefix="shortage-") as name:
        try:
            with disk(Path(name) / "disk"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def full(place: Path) -> Callable[[], None]:
    """Fill a disk to its last byte; what frees it again."""
    filler = place / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return lambda: filler.unlink()


def read_only(place: Path) -> Callable[[], None]:
    """Let no file be made, changed or removed; what allows it again.

    By the immutable flag: a disk on which files are open for writing cannot be mounted read-only.
    """

    def change(flag: str) -> None:
        subprocess.run(["chattr", "-R", flag, place], check=True, stderr=subprocess.DEVNULL)

    change("+i")
    return lambda: change("-i")


def no_memory(pid: int) -> None:
    """No more address space than a process has."""
    size = psutil.Process(pid).memory_info().vms
    resource.prlimit(pid, resource.RLIMIT_AS, (size, size))


def no_handles(pid: int) -> None:
    """No more open files than a process has."""
    count = psutil.Process(pid).num_fds()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, count))


def trial(folder: Path, shortage: str, stage: str) -> list[str]:
    """One plan with one shortage at one stage, and the same command again; what is wrong."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    stopped = folder / "stopped"
    paths = [str(folder / "hook"), str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "SHORTAGE": f"{stage}:{stopped}",
        "BENCH_CACHE": str(folder.parent / "cache"),
    }
    with disk(folder / "disk") as place:
        out = place / "out"
        words = [sys.executable, "-m", "bench.cli", *PLAN.split(), "--out", str(out)]
        with (folder / "output.txt").open("w") as log:
            driver = subprocess.Popen(words, stdout=log, stderr=log, env=environment, cwd=folder)
            met = _disturb(driver, stopped, place, shortage)
            status = driver.wait(LONGEST)
        text = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        wrong = [] if met else ["the stage was not reached"]
        wrong += _judged(status, text, shortage)
        there = len(Ledger(out).load()[0])
        if there < (0 if shortage in DISKS else 1):
            wrong.append("the other row is lost")
        again = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder)
        if again.returncode or len(Ledger(out).load()[0]) != 2 or Ledger(out).failed():
            wrong.append(f"again: exit {again.returncode}: {(again.stdout + again.stderr)[-600:]}")
        return wrong


def _disturb(driver: subprocess.Popen[bytes], stopped: Path, place: Path, shortage: str) -> bool:
    """Wait for the stopped run, let it run short, and end the shortage when it has ended."""
    while not (stopped.exists() and stopped.read_text()):
        if driver.poll() is not None:
            return False
        time.sleep(0.01)
    run = psutil.Process(int(stopped.read_text()))
    while run.status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    over: Callable[[], None] | None = None
    if shortage == "disk full":
        over = full(place)
    elif shortage == "folder read-only":
        over = read_only(place)
    elif shortage == "memory":
        no_memory(run.pid)
    else:
        no_handles(run.pid)
    run.send_signal(signal.SIGCONT)
    with suppress(psutil.NoSuchProcess):
        while run.is_running() and run.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.005)
    if over:
        over()
    return True


def _judged(status: int, text: str, shortage: str) -> list[str]:
    if "Traceback" in text:
        return [f"a traceback: {text[-800:]}"]
    if status == 0:
        return []
    if status != 1 or not re.search(SAID[shortage], text):
        return [f"exit {status} without its reason: {text[-800:]}"]
    return []


def main() -> int:
    """Every shortage at every stage; 1 where something did not hold."""
    if not may_mount():
        raise SystemExit(
            "benchmarks.shortage needs to mount a file system of its own, which may not be done here"
        )
    held, trials = 0, [(shortage, stage) for shortage in SAID for stage in STAGES]
    with tempfile.TemporaryDirectory(prefix="shortage-") as name:
        for number, (shortage, stage) in enumerate(trials):
            folder = Path(name) / str(number)
            folder.mkdir()
            wrong = trial(folder, shortage, stage)
            held += not wrong
            print(f"{shortage} at {stage!r}: {'; '.join(wrong) or 'held'}", flush=True)
    print(f"shortage ratio {held / len(trials):.3f}")
    return 0 if held == len(trials) else 1


if __name__ == "__main__":
    raise SystemExit(main())
