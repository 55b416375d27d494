"""Whether anything is lost: kills, faults and mutations for as long as is asked, with figures at the end.

    python -m benchmarks.survival --minutes 5

Three things are tried in turn. Kills: real training on a twin whose driver, zygote and workers are struck by
signals. Faults: every operation of a driver that publishes and reports is killed, failed or delayed, and the
disk is full after some bytes. Mutations: a record, a spec or a data file is changed, and one of the light
verbs that read it is tried. Nothing finished may be lost, no process may stay, no verb may end by an
exception or take over ten seconds, and no changed record may be ranked by other numbers than its own.
`--only KIND` in several processes shares the time among them.

Each trial has a seed, which is printed where it fails and repeats it: `--only mutation --seed N`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from bench.cli import run_verb
from bench.store.ledger import Ledger, read
from benchmarks import kills, publishing
from benchmarks.faults import forked
from benchmarks.mutations import forge, harm

#: Trials of one kind in a row, before the next kind has its turn.
TURNS = {"kill": 1, "fault": 10, "mutation": 40}
STRIKES = 30
#: Kind of file that is changed -> the verbs that read it.
VERBS = {
    "record": (
        *("check", "report", "report --html --csv", "list runs", "show RUN", "show RUN --all"),
        *("compare RUN main", "compare current main", "gate --baseline main", "history gpt2"),
    ),
    "baselines": ("compare current main", "gate --baseline main", "baseline save main"),
    "models": ("list models", "plan --models mine", "plan --models gpt2", "check"),
    "datasets": ("list datasets", "data mine", "plan --models gpt2 --train mine", "check"),
    "rows.jsonl": ("data rows.jsonl", "plan --models gpt2 --train rows.jsonl"),
    "rows.csv": ("data rows.csv", "plan --models gpt2 --train rows.csv"),
    "rows.parquet": ("data rows.parquet", "plan --models gpt2 --train rows.parquet"),
}
SPEC = """
checkpoint = "someone/model"
licence = "mit"
family = "gpt2"
architecture = "GPT2LMHeadModel"
objective = "causal"
parameters = 124_000_000
twin = "gpt2"
[recipe]
method = "lora"
learning_rate = 2e-4
targets = ["c_attn"]
[recipe.mini]
rank = 8
"""
DATA = """
file = "mine.jsonl"
licence = "mit"
test_fraction = 0.3
[columns]
question = "question"
answer = "answer"
"""


class Tally:
    """What was tried, and what did not survive, by kind."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.details: Counter[str] = Counter()
        self.failed: list[tuple[str, int, str]] = []

    def add(self, kind: str, seed: int, wrong: list[str], count: int = 1) -> None:
        """Count a trial of a kind."""
        self.tried[kind] += count
        if wrong:
            self.failed.append((kind, seed, wrong[0]))

    def __str__(self) -> str:
        lines = []
        for kind, tried in sorted(self.tried.items()):
            failed = sum(1 for other, *_ in self.failed if other == kind)
            lines.append(f"{kind}s: {tried} tried, {failed} trials not survived")
        lines += [f"  {count:>5}  {name}" for name, count in sorted(self.details.items())]
        lines += [f"NOT SURVIVED  --only {kind} --seed {seed}: {text}" for kind, seed, text in self.failed]
        return "\n".join(lines)


def home(folder: Path) -> None:
    """A folder with two records, a baseline, a spec of each kind and a data file of each format."""
    import pandas

    first, second, *_ = sorted(publishing.RECORDS.glob("gpt2-mini-*"))
    shutil.copytree(first, folder / "reports" / "runs" / first.name)
    rows = [{"question": f"What is {n} and {n * n}?", "answer": f"It is {n * 7}."} for n in range(120)]
    frame = pandas.DataFrame(rows)
    frame.to_json(folder / "rows.jsonl", orient="records", lines=True)
    frame.to_csv(folder / "rows.csv", index=False)
    frame.to_parquet(folder / "rows.parquet")
    for kind, text in (("models", SPEC), ("datasets", DATA)):
        (folder / kind).mkdir()
        (folder / kind / "mine.toml").write_text(text, encoding="utf-8")
    shutil.copy(folder / "rows.jsonl", folder / "datasets" / "mine.jsonl")
    if run_verb(["baseline", "save", "main", "--out", str(folder / "reports")]):
        raise RuntimeError("a baseline of whole records cannot be saved")
    shutil.copytree(second, folder / "reports" / "runs" / second.name)


def mutation(template: Path, seed: int) -> tuple[list[str], str]:
    """Change one file of a copy of `template`; what is wrong with what the verbs make of it, and its kind."""
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="survival-") as name:
        folder = Path(name) / "home"
        shutil.copytree(template, folder)
        record = generator.choice(sorted((folder / "reports" / "runs").iterdir()))
        others = ["models/mine.toml", "datasets/mine.toml", "datasets/mine.jsonl", "rows.jsonl", "rows.csv"]
        others += ["rows.parquet", "reports/baselines/main.json"]
        kind = generator.choice(["forged record", "harmed record", *others])
        if kind == "forged record":
            forge(record, generator)
        elif kind == "harmed record":
            harm(generator.choice(sorted(file for file in record.iterdir() if file.is_file())), generator)
        else:
            harm(folder / kind, generator)
        wrong = []
        verbs = next(verbs for part, verbs in VERBS.items() if part in kind)
        words = generator.choice(verbs).replace("RUN", record.name).split()
        ended = forked(partial(_in, folder, words))
        if ended.hung or ended.status not in (0, 1, 2) or "Traceback" in ended.output:
            reason = "no answer within 10 s" if ended.hung else f"exit {ended.status}"
            wrong.append(f"{kind}, bench {' '.join(words)}: {reason}: {ended.output[-400:]}")
        return wrong + _ranked_otherwise(folder / "reports"), kind


def _in(folder: Path, words: list[str]) -> int:
    os.chdir(folder)
    return run_verb(words)


def _ranked_otherwise(out: Path) -> list[str]:
    """Records that are ranked by other numbers than those that they were made with."""
    wrong = []
    for stored in Ledger(out).load()[0]:
        honest = read(publishing.RECORDS / stored.record.id).scores["tuned"]["rougeL"].mean
        if abs(stored.record.scores["tuned"]["rougeL"].mean - honest) > 1e-9:
            wrong.append(f"{stored.record.id} is ranked by another score")
    return wrong


def _fault(seed: int, count: int) -> tuple[list[str], str]:
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="survival-") as name:
        fault = publishing.any_fault(generator, Path(name) / "out", count)
        return [f"{fault}: {text}" for text in publishing.disturbed(fault.below, fault)], fault.action


def _kill(seed: int, time_left: Callable[[], bool]) -> kills.Struck:
    with tempfile.TemporaryDirectory(prefix="survival-") as name:
        return kills.strike(Path(name) / "out", random.Random(seed), STRIKES, time_left)


def main() -> int:
    """Try until the minutes are over, or one trial where a seed is given; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--only", choices=list(TURNS))
    parser.add_argument("--seed", type=int, help="of the one trial that is repeated; needs --only")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tally = Tally()
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="survival-") as name:
        _try_all(Path(name), args, tally)
    print(tally)
    return 1 if tally.failed else 0


def _try_all(folder: Path, args: argparse.Namespace, tally: Tally) -> None:
    """One kind after the other until the minutes are over."""
    end = time.monotonic() + args.minutes * 60
    seed = args.seed if args.seed is not None else int(time.time())
    os.environ["BENCH_CACHE"] = str(folder / "cache")
    (folder / "home").mkdir()
    home(folder / "home")
    operations = publishing.operations(folder / "count")
    while True:
        for kind in [args.only] if args.only else list(TURNS):
            for _ in range(1 if args.seed is not None else TURNS[kind]):
                if time.monotonic() > end:
                    return
                _try(kind, seed, tally, folder / "home", operations, lambda: time.monotonic() < end)
                seed += 1
        if args.seed is not None:
            return


def _try(
    kind: str, seed: int, tally: Tally, template: Path, operations: int, time_left: Callable[[], bool]
) -> None:
    if kind == "kill":
        struck = _kill(seed, time_left)
        tally.add(kind, seed, struck.wrong, sum(struck.kills.values()))
        tally.details.update({f"kill: {name}": count for name, count in struck.kills.items()})
        return
    wrong, detail = mutation(template, seed) if kind == "mutation" else _fault(seed, operations)
    tally.add(kind, seed, wrong)
    tally.details[f"{kind}: {detail}"] += 1


if __name__ == "__main__":
    raise SystemExit(main())
