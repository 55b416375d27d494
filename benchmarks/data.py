"""Import, near duplicates and split of many rows, beside pandas + datasketch doing the same.

`python -m benchmarks.data` makes the rows, hands the same file to both, each in a process of its own on one
core, and prints processor seconds, peak memory and what each found of the near duplicates that were planted.
A planted pair counts where the split of that side parts it: found, if its training row was dropped. The other
side needs: pip install datasketch
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import process_time

SIDES = ("bench", "plain")
NAMES = {"bench": "bench", "plain": "pandas + datasketch"}
ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Side:
    """What one side took, and the ids that it left in each part."""

    seconds: float
    #: Megabytes at the highest.
    memory: float
    parts: dict[str, list[str]]


def measured(side: str, file: Path, folder: Path) -> Side:
    """Carry out one side in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.data", "--side", side, "--file", str(file)]
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, **ONE_CORE, "PYTHONPATH": root, "BENCH_CACHE": str(folder / "cache")}
    done = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Side(**json.loads(done.stdout))


def carried_out(side: str, file: Path) -> Side:
    """Carry out one side here, in the current folder."""
    start = process_time()
    if side == "plain":
        from benchmarks import plain_data

        parts = plain_data.parts(file, Path.cwd())
    else:
        parts = _by_bench(file)
    return Side(process_time() - start, peak(), parts)


def _by_bench(file: Path) -> dict[str, list[str]]:
    from bench import registry
    from bench.cli import run_verb
    from bench.data import prepare

    with contextlib.redirect_stdout(io.StringIO()):
        if run_verb(["data", "import", str(file), "--to", "made"]):
            raise SystemExit("bench data import: failed")
    spec = registry.find_dataset("made")
    prepared = prepare.prepare(spec.model_copy(update={"validation_fraction": 0.1}))
    return {
        part: [example.id for example in getattr(prepared, part)] for part in ("train", "validation", "test")
    }


def peak() -> float:
    """The most memory that this process has held, in megabytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # the highest since this program began; `getrusage` counts the parent's before it
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used * 1024 / 1e6


def found(side: Side, planted: list[tuple[str, str, str]]) -> tuple[Counter[str], Counter[str]]:
    """Kind -> pairs of which the training row was dropped, and kind -> pairs that the split parted."""
    part_of = {row: part for part, rows in side.parts.items() for row in rows}
    dropped: Counter[str] = Counter()
    parted: Counter[str] = Counter()
    for original, copy, kind in planted:
        where = {part_of.get(original), part_of.get(copy)}
        if None in where and where & {"test", "validation"}:
            dropped[kind] += 1
            parted[kind] += 1
        elif None not in where and len(where) > 1:
            parted[kind] += 1
    return dropped, parted


def sound_rows_dropped(side: Side, planted: list[tuple[str, str, str]], rows: int) -> int:
    """Rows that are in no part, and in no planted pair."""
    kept = {row for part in side.parts.values() for row in part}
    kept |= {row for original, copy, _ in planted for row in (original, copy)}
    return rows - len(kept)


def main() -> None:
    """Make the rows, measure both, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(vars(carried_out(asked.side, asked.file))))
        return
    try:
        metadata.version("datasketch")
    except metadata.PackageNotFoundError:
        raise SystemExit("the other side of this comparison needs: pip install datasketch") from None
    compare(asked.rows, asked.seed)


def compare(count: int, seed: int) -> None:
    """Both sides on the same rows, as a table; ratios last."""
    from benchmarks import rows

    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "rows.jsonl"
        with file.open("w", encoding="utf-8") as handle:
            handle.writelines(json.dumps(row) + "\n" for row in rows.rows(count, seed))
        planted = [(pair.original, pair.copy, pair.kind) for pair in rows.planted(count, seed)]
        size = file.stat().st_size / 1e6
        sides = {}
        for side in SIDES:
            folder = Path(name) / side
            folder.mkdir()
            sides[side] = measured(side, file, folder)
    print(f"{count:,} rows ({size:.0f} MB), {len(planted):,} near duplicates planted; one core")
    print(f"{'':<34}" + "".join(f"{NAMES[side]:>22}" for side in SIDES))
    print(f"{'processor seconds':<34}" + "".join(f"{sides[side].seconds:>22.1f}" for side in SIDES))
    print(f"{'peak memory, MB':<34}" + "".join(f"{sides[side].memory:>22.0f}" for side in SIDES))
    results = {side: found(sides[side], planted) for side in SIDES}
    for kind in (*dict.fromkeys(kind for *_, kind in planted), ""):
        cells = []
        for side in SIDES:
            dropped, parted = (counts[kind] if kind else counts.total() for counts in results[side])
            share = f"{dropped / parted:.1%}" if parted else "-"
            cells.append(f"{f'{dropped} of {parted}':>15}{share:>7}")
        print(f"{f'found: {kind}' if kind else 'found of all planted':<34}" + "".join(cells))
    wrong = [sound_rows_dropped(sides[side], planted, count) for side in SIDES]
    print(f"{'rows dropped that none was made of':<34}" + "".join(f"{number:>22}" for number in wrong))
    print(f"data ratio, processor time: {sides['bench'].seconds / sides['plain'].seconds:.2f}")
    print(f"data ratio, peak memory: {sides['bench'].memory / sides['plain'].memory:.2f}")


if __name__ == "__main__":
    main()
