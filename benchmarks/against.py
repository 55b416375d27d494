"""An older revision and a newer one carry out the same plan in turn.  `python -m benchmarks.against REV`.

Both are checked out as git worktrees and run with empty caches, old and new in turn, so other work on the
machine slows both alike. Stages are compared by the seconds in the records, the whole command by processor
seconds. Completions and per-example scores are compared to the letter. The last line is the ratio of the
whole commands; below 1 the newer revision is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parent.parent
#: Model and seed -> the record, its completions and its scores.
Records = dict[tuple[str, int], tuple[dict[str, Any], bytes, Any]]


def main() -> None:
    """Carry out the plan with both, print stages, answers and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", metavar="REV")
    parser.add_argument("--new", default="HEAD", metavar="REV", help="(HEAD)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--models", default="gpt2,bart-large-xsum")
    parser.add_argument("--budget", default="short")
    parser.add_argument("--seeds", default="0,1")
    asked = parser.parse_args()
    words = ["--models", asked.models, "--budget", asked.budget, "--seeds", asked.seeds, "--jobs", "1"]
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    stages: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as name, checked_out(Path(name), asked.old, asked.new) as trees:
        for number in range(asked.rounds):
            records = {}
            for side, tree in trees.items():
                out = Path(name) / f"{side}-{number}"
                seconds[side].append(carried_out(tree, words, out))
                records[side] = records_of(out)
                for record, *_ in records[side].values():
                    stages[side].update(record["spent"]["seconds"])
            if number == 0:
                print(differences(records["old"], records["new"]))
    for stage in sorted(stages["old"] | stages["new"]):
        old, new = (stages[side][stage] / asked.rounds for side in ("old", "new"))
        ratio = f"{new / old:5.2f}" if old >= 0.1 else "    -"
        print(f"{stage:<18} {old:7.2f} s {new:7.2f} s {ratio}")
    ratios = [new / old for old, new in zip(seconds["old"], seconds["new"], strict=True)]
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"whole command, processor seconds: {statistics.median(ratios):.2f} {spread}")
    print(f"against ratio {statistics.median(ratios):.3f}")


@contextmanager
def checked_out(place: Path, old: str, new: str) -> Iterator[dict[str, Path]]:
    """Two worktrees, removed in the end."""
    trees = {"old": place / "tree-old", "new": place / "tree-new"}
    try:
        for (_, tree), revision in zip(trees.items(), (old, new), strict=True):
            git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        yield trees
    finally:
        for tree in trees.values():
            if tree.exists():
                git("worktree", "remove", "--force", str(tree))


def git(*words: str) -> None:
    """Run git here; what it says of a mistake is shown."""
    subprocess.run(["git", "-C", str(ROOT), *words], check=True)


def carried_out(tree: Path, words: list[str], out: Path) -> float:
    """Processor seconds of `bench run` and all its processes, with the code of a worktree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "BENCH_CACHE": str(out / "cache")}
    command = [sys.executable, "-m", "bench.cli", "run", *words, "--out", str(out)]
    running = subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{tree.name}: bench run {' '.join(words)}: exit status {running.returncode}")
    return usage.ru_utime + usage.ru_stime


def records_of(out: Path) -> Records:
    """The records below a folder, as they lie there: their formats may differ."""
    records: Records = {}
    for folder in (out / "runs").iterdir():
        record = orjson.loads((folder / "record.json").read_bytes())
        scores = orjson.loads((folder / "scores.json").read_bytes())
        key = record["run"]["model"]["name"], record["run"]["seed"]
        records[key] = record, (folder / "completions.jsonl").read_bytes(), scores
    return records


def differences(old: Records, new: Records) -> str:
    """In one line, whether both wrote and scored the same."""
    if old.keys() != new.keys():
        raise SystemExit("the two left records of other models or seeds")
    texts = [key for key in old if old[key][1] != new[key][1]]
    scores = [key for key in old if old[key][2] != new[key][2]]
    if not texts and not scores:
        return f"completions and scores of {len(old)} runs: equal to the letter"
    names = ", ".join(f"{model} s{seed}" for model, seed in sorted({*texts, *scores}))
    return f"completions of {len(texts)} and scores of {len(scores)} of {len(old)} runs differ: {names}"


if __name__ == "__main__":
    main()
