"""What the command line gives, from Python: run, board, compare, and a tuned model to ask.

`bench` itself imports nothing of this until it is used (`import bench` loads no torch). Every function does
what its verb does, by the same code, and returns objects that show themselves in a notebook and become
pandas frames (`shown`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.api.shown import Compared, Leaderboard, TunedModel
from bench.errors import RequestError
from bench.judge import compare as comparing
from bench.judge.beside.added import with_added
from bench.judge.beside.arms import with_arms
from bench.judge.board import board as board_of
from bench.judge.intervals import Intervals
from bench.judge.verdicts import THRESHOLD
from bench.judge.verification import Verification
from bench.store.ledger import Ledger
from bench.store.lookup import find_newest
from bench.store.names import ReadOnce, select_both
from bench.store.scores import METRIC

__all__ = ["Compared", "Leaderboard", "TunedModel", "board", "compare", "load", "run", "verify"]


def run(
    models: str | Sequence[str] = "all",
    train: str | Path = "course-qa",
    budget: str = "short",
    seeds: Sequence[int] = (0,),
    out: str | Path = "reports",
    **options: Any,
) -> Leaderboard:
    """Train and score models under one budget; what is finished already is not run again.

    `options` are those of `bench run`: `eval="dolly"`, `max_new_tokens=64`, `jobs=2`, `scale="mini"`.
    Raises `RequestError` for what `bench run` would refuse.

    >>> import bench
    >>> bench.run(models=["gpt2"], budget="smoke").best        # doctest: +SKIP
    'gpt2'
    """
    verb = import_module("bench.verbs.run")
    names = models if isinstance(models, str) else ",".join(models)
    words = ["--models", names, "--train", str(train), "--budget", budget, "--out", str(out)]
    words += ["--seeds", ",".join(map(str, seeds)), *_words(options)]
    args = _parsed(verb, words)
    requested = verb.request.resolve(args)
    ledger = Ledger(Path(out))
    failures = verb.carry_out(args, requested, ledger, verb.environment.solve(args.packages))
    stored, messages = ledger.load()
    contract = requested.contract.digest
    shown = board_of(
        [item for item in stored if item.record.run.contract.digest == contract],
        [item for item in ledger.failed() if item.run.contract.digest == contract],
        [verb.setting(run) for run in requested.runs],
    )
    died = {failure.id: failure.reason for failure in failures}
    return Leaderboard(shown, (*messages, *shown.messages), died)


def board(out: str | Path = "reports") -> Leaderboard:
    """The board of all records under a folder, without training anything.

    >>> import bench
    >>> len(bench.board("reports/twins").to_pandas())
    10
    """
    ledger = Ledger(Path(out))
    if not ledger.out.is_dir():
        raise RequestError(f"{out}: there is no such folder")
    stored, messages = ledger.load()
    shown = with_arms(with_added(board_of(stored, ledger.failed()), messages), messages)
    return Leaderboard(shown, (*messages, *shown.messages))


def compare(
    a: str | Path,
    b: str | Path,
    out: str | Path = "reports",
    metrics: Sequence[str] = (METRIC,),
    threshold: float = THRESHOLD,
) -> Compared:
    """B against A: run ids, baselines, environments, folders, backends or commits, as `bench compare`.

    Raises `UnknownName` and `Incomparable`.

    >>> import bench
    >>> bench.compare("reports/twins", "reports/twins").to_pandas()["finding"].unique().tolist()
    ['unchanged']
    """
    ledger = ReadOnce(Path(out))
    left, right = select_both(str(a), str(b), ledger)
    intervals = Intervals((*ledger.load()[0], *left.records, *right.records))
    return Compared(comparing.compare(left, right, tuple(metrics), threshold, intervals=intervals))


def load(
    run: str | Path, out: str | Path = "reports", base: str | Path | None = None, threads: int | None = None
) -> TunedModel:
    """The weights of a run: its id, its beginning, its folder, or a model's name for its newest run.

    `base` says where a local checkpoint lies that the run was tuned from. Raises `UnknownName`, and
    `RequestError` where weights or checkpoint cannot be had.

    >>> import bench
    >>> for piece in bench.load("gpt2").stream("What is a mean?"):   # doctest: +SKIP
    ...     print(piece, end="")
    """
    stored = find_newest(str(run), Ledger(Path(out)))
    from bench.serve.engine import Engine

    return TunedModel(Engine.load(stored, Path(base) if base is not None else None, threads))


def verify(run: str | Path, out: str | Path = "reports", sample: int | None = None) -> Verification:
    """Make a run's row again from its weights; `.reproduces` says whether it came out the same.

    >>> import bench
    >>> bench.verify("gpt2", sample=20).reproduces             # doctest: +SKIP
    True
    """
    stored = find_newest(str(run), Ledger(Path(out)))
    from bench.serve import verify as verifying

    return verifying.verify(stored, sample)


def _words(options: Mapping[str, Any]) -> list[str]:
    """Keyword arguments as options of the command line."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            words += [option, text]
    return words


def _parsed(verb: Any, words: list[str]) -> argparse.Namespace:
    """Options as the verb itself reads them. Raises `RequestError`."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise RequestError(f"bench.run: {message}")

    parser = Parser(prog="bench.run", add_help=False, allow_abbrev=False)
    verb.configure(parser)
    return parser.parse_args(words)
