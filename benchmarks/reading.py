"""How long reading 5,000 records takes, and how much memory.  `python -m benchmarks.reading`.

The records are made, and their long lists are one file under many names, so that a small disk holds them.
Each command runs in a process of its own, first with an empty cache, where every part of every record is
read and checked, then again. Processor seconds, start of Python included, are held against a limit; a last
line gives the worst ratio.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.records import make_many, make_pairs

#: Command -> most processor seconds and MB once the records were checked.
LIMITS = {"report": (2.0, 200.0), "compare": (5.0, 400.0)}
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    #: Processor seconds.
    seconds: float
    #: At its highest point, in MB.
    memory: float


def main() -> None:
    """Make the records, run both commands twice, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5000)
    count = parser.parse_args().records
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        one_model, pairs = Path(scratch) / "many", Path(scratch) / "pairs"
        make_many(one_model, count)
        make_pairs(pairs, count // 2)
        commands = {
            "report": ["report", "--out", str(one_model)],
            "compare": ["compare", "trl==1.14.2", "trl==1.15.0", "--out", str(pairs)],
        }
        print(f"{count} records; processor seconds and MB")
        for name, words in commands.items():
            cache = Path(scratch) / f"cache-{name}"
            first, again = cost(words, cache), cost(words, cache)
            seconds, memory = LIMITS[name]
            worst = max(worst, again.seconds / seconds, again.memory / memory)
            print(
                f"{name:<8} first {first.seconds:5.1f} s {first.memory:5.0f} MB   "
                f"again {again.seconds:5.1f} s {again.memory:5.0f} MB   "
                f"at most {seconds:g} s, {memory:g} MB"
            )
    print(f"reading ratio {worst:.2f}")


def cost(words: list[str], cache: Path) -> Cost:
    """What one command takes in a process of its own."""
    environment = {**os.environ, "BENCH_CACHE": str(cache)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench {' '.join(words)}: exit status {process.returncode}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale / MEGABYTE)


if __name__ == "__main__":
    main()
