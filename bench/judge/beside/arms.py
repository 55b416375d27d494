"""To tune or to retrieve: the arms of a row side by side, and their differences on the same questions.

Every difference is paired by example and pooled over the row's seeds. The untuned model reads the same
prompts whatever the seed, so its arms have no training noise; the tuned ones have that of the row's own
seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from bench.errors import RecordError
from bench.judge.board import MAIN, Board, BoardRow
from bench.stats import Interval, mean_interval, paired_interval
from bench.store.ledger import Stored
from bench.store.record import Retrieved
from bench.store.scores import aligned, series, units

#: What is held against what: (row, the row that it is compared with).
PAIRS = (("tuned", "retrieved"), ("both", "tuned"), ("both", "retrieved"), ("retrieved", "base"))
ROWS = ("base", "tuned", "retrieved", "both")


@dataclass(frozen=True)
class ArmsEstimate:
    """The arms of one model, its seeds pooled, in the board's main metric."""

    examples: int
    #: "base", "tuned" and the arms that were asked for -> mean with its 95% interval.
    means: Mapping[str, Interval]
    #: (row, other) -> row minus other, paired.
    differences: Mapping[tuple[str, str], Interval]
    #: Rows that are put into a context at most, and by what they are found.
    rows: int
    retriever: str
    #: What was found and its price, averaged over the seeds where these can differ.
    facts: Retrieved


def with_arms(board: Board, messages: list[str]) -> Board:
    """The board with the arms of each row that has them; `messages` get what could not be read."""

    def extended(row: BoardRow) -> BoardRow:
        try:
            arms = arms_of(row.stored)
        except RecordError as error:
            messages.append(str(error))
            return row
        own = {"base": row.base[MAIN], "tuned": row.tuned[MAIN]}  # one row has one interval on a board
        return replace(row, arms=arms and replace(arms, means={**arms.means, **own}))

    groups = [
        replace(group, rows=tuple(map(extended, group.rows))) if group.contract.retrieval else group
        for group in board.groups
    ]
    return replace(board, groups=tuple(groups))


def arms_of(runs: Sequence[Stored]) -> ArmsEstimate | None:
    """The arms of one row; none where its contract asks for none. Raises `RecordError`."""
    asked = runs[0].record.run.contract.retrieval
    facts = [stored.record.retrieved for stored in runs]
    if asked is None or None in facts:
        return None
    names = [row for row in ROWS if row in ("base", "tuned") or row in asked.arms]
    tables = {}
    for row in names:
        tables[row], ids, groups = aligned([series(stored, (MAIN,), row) for stored in runs], MAIN)
    labels = np.asarray(units(ids, groups))
    return ArmsEstimate(
        examples=len(ids),
        means={row: mean_interval(table, groups=labels).within(0, 1) for row, table in tables.items()},
        differences={
            (row, other): paired_interval(tables[other], tables[row], groups=labels)
            for row, other in PAIRS
            if row in tables and other in tables
        },
        rows=asked.rows,
        retriever=asked.retriever,
        facts=_averaged([each for each in facts if each is not None]),
    )


def _averaged(facts: Sequence[Retrieved]) -> Retrieved:
    """One seed's facts with the mean times of all; the rest is equal, as no seed is involved."""
    return facts[0].model_copy(
        update={
            "index_seconds": fmean(each.index_seconds for each in facts),
            "search_seconds": fmean(each.search_seconds for each in facts),
        }
    )
