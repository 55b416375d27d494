"""What the Python API returns: a board, a comparison and a tuned model, each of which a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from bench.errors import RequestError
from bench.judge.board import Board
from bench.judge.compare import Comparison
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

    comparison: Comparison

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
