"""Do several drivers share one plan while some are killed?  `python -m benchmarks.drivers --times 50`.

Two, four and eight drivers in turn are started on one folder and one plan of three real runs of a twin; in
two of three trials some of them, never all, are killed on the way. Afterwards every run must be there once,
no record may have been replaced after it was published, every driver that lived must have ended with exit 0
and the whole board, no run may have been trained more often than once for each driver that was killed, and no
process may be left. The last line is `drivers ratio VALUE`: the share of trials in which all of this held. A
trial that fails prints its seed: `--seed N --times 1` repeats it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.kills import LONGEST, lost, orphans, start

RUNS = 3
PLAN = (
    "run --models gpt2 --seeds 0,1,2 --budget 2x8 --eval-limit 20 "
    "--max-new-tokens 4 --jobs 1 --checkpoint-every 1"
)
DRIVERS = (2, 4, 8)


def trial(out: Path, seed: int) -> list[str]:
    """Start the drivers of one trial, kill some, and say what is wrong in the end."""
    generator = random.Random(seed)
    count = DRIVERS[seed % len(DRIVERS)]
    drivers = {place: start(out, PLAN, f"driver-{place}.txt") for place in range(count)}
    struck = (
        generator.sample(range(count), generator.randint(1, count - 1)) if generator.random() < 2 / 3 else []
    )
    moments = {place: generator.uniform(1, 25) for place in struck}
    killed: list[int] = []
    held: dict[str, str] = {}
    wrong: list[str] = []
    began = time.monotonic()
    while any(driver.poll() is None for driver in drivers.values()):
        for place, moment in moments.items():
            if place not in killed and drivers[place].poll() is None and time.monotonic() - began >= moment:
                with suppress(ProcessLookupError):
                    os.kill(drivers[place].pid, signal.SIGKILL)
                    killed.append(place)
        wrong += lost(out, held)
        if time.monotonic() - began > LONGEST:
            return [*wrong, *_stop(drivers)]
        time.sleep(0.3)
    wrong += lost(out, held) + orphans(out)
    for place, driver in drivers.items():
        text = (out / f"driver-{place}.txt").read_text(encoding="utf-8", errors="replace")
        if place in killed:
            continue
        if driver.returncode != 0:
            wrong.append(f"driver {place} of {count}: exit {driver.returncode}: {text[-400:]}")
        elif f"{RUNS} seeds a row" not in text:
            wrong.append(f"driver {place} of {count} ended without the whole board: {text[-400:]}")
    if len(held) != RUNS:
        wrong.append(f"{len(held)} of {RUNS} runs are there in the end")
    trained = sum(_trainings(out / f"driver-{place}.txt") for place in drivers)
    if not RUNS <= trained <= RUNS + len(killed):
        wrong.append(f"{trained} trainings of {RUNS} runs, {len(killed)} drivers killed")
    return wrong


def _trainings(log: Path) -> int:
    return log.read_text(encoding="utf-8", errors="replace").count(" train\n")


def _stop(drivers: dict[int, subprocess.Popen[bytes]]) -> list[str]:
    for driver in drivers.values():
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    return [f"the drivers did not end within {LONGEST:g} s"]


def main() -> int:
    """Try so often; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the first trial (default: %(default)s)")
    args = parser.parse_args()
    held = 0
    for seed in range(args.seed, args.seed + args.times):
        with tempfile.TemporaryDirectory(prefix="drivers-") as name:
            wrong = trial(Path(name) / "out", seed)
        held += not wrong
        print(
            f"--seed {seed}, {DRIVERS[seed % len(DRIVERS)]} drivers: {wrong[0] if wrong else 'held'}",
            flush=True,
        )
    print(f"drivers ratio {held / args.times:.3f}")
    return 0 if held == args.times else 1


if __name__ == "__main__":
    raise SystemExit(main())
