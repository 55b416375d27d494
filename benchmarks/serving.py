"""What a batch of waiting questions saves: many clients at once beside one after the other.

`python -m benchmarks.serving RUN` starts `bench serve` on a run, asks every test question through HTTP one
by one and then all of them from many clients, in turn, and prints both rates, their ratio and the times
that clients waited. Every answer is held against the record's: none is lost, none is mixed up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.store.ledger import Ledger
from bench.store.lookup import find_newest


def main() -> None:
    """Time both and print the ratio; exits 1 where an answer is not the record's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    stored = find_newest(asked.run, Ledger(asked.out))
    rows = [stored.completions[place % len(stored.completions)] for place in range(asked.clients)]
    words = [sys.executable, "-m", "bench.cli", "serve", str(stored.folder), "--port", "0", "--batch", "128"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stderr is not None
        line = next((line for line in server.stderr if "http://" in line), "")
        url = "http://" + line.partition("http://")[2].split()[0]
        try:
            wrong = _measure(url, [(row["question"], row["tuned"]) for row in rows], asked.rounds)
        finally:
            server.terminate()
    print(f"answers that are not the record's: {wrong}")
    sys.exit(1 if wrong else 0)


def _measure(url: str, rows: list[tuple[str, str]], rounds: int) -> int:
    """Print rates and ratio; how many answers were wrong."""
    wrong = 0
    ratios: list[float] = []
    for number in range(rounds):
        few = rows[: max(10, len(rows) // 5)]
        alone, waits, more = _asked(url, few, 1)
        together, crowded, most = _asked(url, rows, len(rows))
        wrong += more + most
        ratios.append(together / alone)
        print(
            f"round {number + 1}: one by one {alone:.1f}/s (median {statistics.median(waits):.3f} s), "
            f"{len(rows)} at once {together:.1f}/s (p95 {_p95(crowded):.2f} s), ratio {ratios[-1]:.1f}"
        )
    print(f"median ratio {statistics.median(ratios):.1f}")
    return wrong


def _asked(url: str, rows: list[tuple[str, str]], clients: int) -> tuple[float, list[float], int]:
    """Answers a second, the seconds that each client waited, and how many answers were wrong."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        replies = list(pool.map(lambda row: _ask(url, row[0]), rows))
    took = time.perf_counter() - begin
    wrong = sum(answer != row[1] for (answer, _), row in zip(replies, rows, strict=True))
    return len(rows) / took, [seconds for _, seconds in replies], wrong


def _ask(url: str, question: str) -> tuple[str, float]:
    begin = time.perf_counter()
    request = urllib.request.Request(
        url, json.dumps({"question": question}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        answer = json.load(reply)["answer"]
    return str(answer), time.perf_counter() - begin


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.95 * (len(seconds) - 1))]


if __name__ == "__main__":
    main()
