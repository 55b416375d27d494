"""What the command line gives, from Python: run, board, compare, and a tuned model to ask.

`bench` itself imports nothing of this until it is used (`import bench` loads no torch). Every function does
what its verb does, by the same code, and returns objects that show themselves in a notebook and become
pandas frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.judge import compare as comparing
from bench.judge.board import Board
from bench.judge.board import board as board_of
from bench.judge.verdicts import THRESHOLD
from bench.judge.verification import Verification
from bench.store.ledger import Ledger
from bench.store.lookup import find_newest
from bench.store.names import select_both
from bench.store.record import Record
from bench.store.scores import METRIC

if TYPE_CHECKING:
    import pandas as pd

    from bench.serve.engine import Engine, Side

#: Columns of a board that a notebook shows; `to_pandas` has all.
SHOWN = ("rank", "model", "rougeL", "rougeL_low", "rougeL_high", "rougeL_gain", "method", "seeds", "notes")


@dataclass(frozen=True)
class Leaderboard:
    """A board: ranked rows by contract, with intervals, reference rows and failures.

    >>> import bench
    >>> board = bench.board("reports/twins")
    >>> board.best
    'gpt2'
    >>> float(board.to_pandas().set_index("model").loc["gpt2", "rougeL"]) > 0.16
    True
    """

    board: Board
    #: What was left out and why.
    messages: tuple[str, ...] = ()
    #: Runs of this call that died: id -> reason.
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The model with the highest score of the first table. Raises `RequestError` without rows."""
        rows = [row for group in self.board.groups[:1] for row in group.rows]
        if not rows:
            raise RequestError("the board has no rows")
        return rows[0].model

    def to_pandas(self) -> pd.DataFrame:
        """One row for each model and reference row; scores, intervals, costs and versions as columns."""
        import pandas as pd

        from bench.render import export

        return pd.DataFrame(export.rows(self.board)).convert_dtypes()

    def __str__(self) -> str:
        from bench.render.text import leaderboard

        return leaderboard.terminal(self.board)

    def _repr_html_(self) -> str:
        """The chart and the table, for a notebook."""
        import pandas as pd

        from bench.render import export, facts, words
        from bench.render.chart import svg

        ranked = [group for group in self.board.groups if group.rows]
        if not ranked:
            return "<p>The board has no rows.</p>"
        rows = [
            {**row, "rank": words.rank((row["rank_low"], row["rank_high"])) if "rank_low" in row else ""}
            for row in export.rows(self.board)
        ]
        shown = pd.DataFrame(rows).reindex(columns=list(SHOWN))
        table = shown.to_html(index=False, na_rep="", float_format=lambda value: f"{value:.3f}")
        return f"<p><b>{escape(facts.headline(ranked[0]))}</b></p>{svg(self.board)}{table}"


@dataclass(frozen=True)
class Compared:
    """What changed from A to B, and whether it is real.

    >>> import bench
    >>> same = bench.compare("reports/twins", "reports/twins")
    >>> same.verdict
    'Safe'
    """

    comparison: comparing.Comparison

    @property
    def verdict(self) -> str:
        """`Regressed`, `Improved`, `Safe` or `Undecided`; "on this seed" where there is only one."""
        from bench.render.text.verdict import parts

        return parts(self.comparison)[0]

    def to_pandas(self) -> pd.DataFrame:
        """One row for each model and metric: both means, the paired difference with its interval, p."""
        import pandas as pd

        rows = []
        for row in self.comparison.rows:
            ends = row.difference
            rows.append(
                {
                    "model": row.model,
                    "scale": row.scale,
                    "metric": row.metric,
                    "finding": str(row.finding),
                    "a": row.a,
                    "b": row.b,
                    "difference": ends.mean if ends else None,
                    "low": ends.low if ends else None,
                    "high": ends.high if ends else None,
                    "p": row.p,
                    "p_adjusted": row.p_adjusted,
                    "reason": row.reason,
                }
            )
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        from bench.render.text.comparison import terminal

        return terminal(self.comparison)

    def _repr_html_(self) -> str:
        """The verdict and the rows, for a notebook."""
        from bench.render.text.verdict import verdict

        table = self.to_pandas().to_html(index=False, na_rep="", float_format=lambda value: f"{value:.3f}")
        return f"<p><b>{escape(verdict(self.comparison))}</b></p>{table}"


class TunedModel:
    """A run's weights, loaded, answering as the run was scored.

    >>> import bench
    >>> model = bench.load("gpt2")                             # doctest: +SKIP
    >>> model.ask("What is linear regression?")                # doctest: +SKIP
    'A linear regression is ...'
    >>> model.base.ask("What is linear regression?")           # doctest: +SKIP
    'The ...'
    """

    def __init__(self, engine: Engine, side: Side = "tuned") -> None:
        self._engine = engine
        self.side: Side = side

    @property
    def record(self) -> Record:
        """The run's record."""
        return self._engine.stored.record

    @property
    def base(self) -> TunedModel:
        """The same model as it was before tuning; it shares the weights."""
        return TunedModel(self._engine, "base")

    def ask(self, question: str, context: str = "") -> str:
        """The answer to one question, greedy, word for word as the run would have given it."""
        return self.ask_all([question], context)[0]

    def ask_all(self, questions: Iterable[str], context: str = "") -> list[str]:
        """The answers to many questions, in batches."""
        pairs = [(question, context) for question in questions]
        return [completion.text for completion in self._engine.answer(pairs, self.side)] if pairs else []

    def stream(self, question: str, context: str = "") -> Iterator[str]:
        """The answer in pieces as it is written; decoding ends when the iterator is closed."""
        return self._engine.stream(question, context, self.side)

    def to_pandas(self) -> pd.DataFrame:
        """The test questions with references, both recorded answers and their ROUGE-L."""
        import pandas as pd

        from bench.render.text.run import answers

        return pd.DataFrame([vars(answer) for answer in answers(self._engine.stored)]).drop(columns="why")

    def __repr__(self) -> str:
        return f"<{self._engine.id}, {self.side}>"

    def _repr_html_(self) -> str:
        """What this is, for a notebook."""
        record = self.record
        score = record.scores[self.side][METRIC]
        value = f"ROUGE-L {score.mean:.3f} ({score.low:.3f} to {score.high:.3f})"
        facts = escape(f"{value}. {record.run.contract.in_words()}")
        return f"<p><b>{escape(record.id)}</b>, {self.side}</p><p>{facts}</p>"


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
    shown = board_of(stored, ledger.failed())
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
    left, right = select_both(str(a), str(b), Ledger(Path(out)))
    return Compared(comparing.compare(left, right, tuple(metrics), threshold))


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
