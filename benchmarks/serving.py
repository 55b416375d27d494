"""What a batch of waiting questions saves: many clients at once, beside one by one and a plain service.

`python -m benchmarks.serving RUN` starts `bench serve` on a run and `benchmarks.plain_server` on the same
weights. In every round each of the two is asked through HTTP one by one and then from many clients at once,
the other standing idle, and rates and their ratios are printed. Every answer is held against the record's:
none is lost, none is mixed up.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.prompt import render
from bench.serve.origin import origin
from bench.spec import Example
from bench.store.ledger import Ledger, Stored
from bench.store.lookup import find_newest

#: Question and recorded answer.
Row = tuple[str, str]


def main() -> None:
    """Time both and print the ratios; exits 1 where an answer of `bench serve` is not the record's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    parser.add_argument("--base", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    stored = find_newest(asked.run, Ledger(asked.out))
    held = [stored.completions[place % len(stored.completions)] for place in range(asked.clients)]
    rows = [(row["question"], row["tuned"]) for row in held]
    ours = ["bench.cli", "serve", str(stored.folder), "--port", "0", "--batch", "128"]
    ours += ["--base", str(asked.base)] if asked.base else []
    with _server(ours) as batched, _server(_plain(stored, asked.base)) as plain:
        wrong = _measure(batched, plain, rows, asked.rounds)
    sys.exit(1 if wrong else 0)


def _plain(stored: Stored, base: Path | None) -> list[str]:
    """The words that start the plain service on a run's weights."""
    place = origin(stored, base)
    source = str(place.checkpoint or place.run.checkpoint.source)
    source = source if place.run.recipe.adapter else str(place.weights)
    prompt = render(Example("", "{question}", ()), place.run.template)
    tokens = str(place.run.contract.decoding.max_new_tokens)
    return ["benchmarks.plain_server", source, str(place.weights), prompt, tokens]


@contextmanager
def _server(words: list[str]) -> Iterator[str]:
    """The address of a server, which ends with the block."""
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stderr is not None
        line = next((line for line in server.stderr if "http://" in line), "")
        try:
            yield "http://" + line.partition("http://")[2].split()[0]
        finally:
            server.terminate()


def _measure(batched: str, plain: str, rows: list[Row], rounds: int) -> int:
    """Print rates and ratios; how many answers of the batched server were wrong."""
    wrong = other = 0
    saved, over_plain = [], []
    few = rows[: max(10, len(rows) // 5)]
    for number in range(rounds):
        alone, waits, more = _asked(batched, few, 1)
        together, crowded, most = _asked(batched, rows, len(rows))
        wrong += more + most
        plain_alone, _, more = _asked(plain, few, 1)
        plain_together, plain_crowded, most = _asked(plain, rows, len(rows))
        other += more + most
        saved.append(together / alone)
        over_plain.append(together / plain_together)
        print(
            f"round {number + 1}: one by one {alone:.1f}/s (median {statistics.median(waits):.3f} s), "
            f"{len(rows)} at once {together:.1f}/s (p95 {_p95(crowded):.2f} s), ratio {saved[-1]:.1f}\n"
            f"         plain: one by one {plain_alone:.1f}/s, {len(rows)} at once {plain_together:.1f}/s "
            f"(p95 {_p95(plain_crowded):.2f} s); bench at once beside plain at once {over_plain[-1]:.1f}"
        )
    print(
        f"median ratios: at once over one by one {statistics.median(saved):.1f}, "
        f"over a plain service at once {statistics.median(over_plain):.1f}\n"
        f"answers that are not the record's: {wrong}; the plain service's: {other}"
    )
    return wrong


def _asked(url: str, rows: list[Row], clients: int) -> tuple[float, list[float], int]:
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
