"""Metrics that were added to records become estimates of a row: tuned, untuned, and the paired gain.

A metric is a row's only where every one of its seeds holds it, under one identity. An answer that has no
value in one seed is left out in all, and counted. Forgetting is among them, of paragraphs instead of answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from bench.errors import RecordError
from bench.judge.board import Board, BoardRow
from bench.judge.intervals import Labels
from bench.stats import Interval, mean_interval
from bench.store.forgetting import Forgetting, measured
from bench.store.ledger import Stored
from bench.store.metrics import Added, added
from bench.store.scores import Floats


@dataclass(frozen=True)
class AddedEstimate:
    """One added metric of one model, over its seeds."""

    metric: str
    #: Answers; of forgetting, paragraphs.
    examples: int
    #: Row ("tuned", "base", "copy" ...) -> mean with its 95% interval.
    rows: Mapping[str, Interval]
    #: Tuned minus untuned, paired; none where no example has both.
    gain: Interval | None
    #: Row -> part ("precision", "recall") -> mean, of metrics that have them.
    parts: Mapping[str, Mapping[str, float]]
    #: Row -> why answers have no value -> how many, over all seeds.
    unscored: Mapping[str, Mapping[str, int]]


def estimates(runs: Sequence[Stored], messages: list[str] | None = None) -> list[AddedEstimate]:
    """The metrics that all runs of one row hold, in the order of their addition.

    Files that cannot be trusted are told in `messages`; without such a list they raise `RecordError`.
    """
    held: list[Added] = []
    lost: list[Forgetting | None] = []
    for stored in runs:
        try:
            held.append(added(stored))
            lost.append(measured(stored))
        except RecordError as error:
            if messages is None:
                raise
            messages.append(str(error))
            return []
    names = [name for name in held[0] if all(name in other for other in held)] if held else []
    return [*(_estimate(name, runs, held) for name in names), *_forgotten(lost)]


def with_added(board: Board, messages: list[str]) -> Board:
    """The board with each row's added metrics."""

    def extended(row: BoardRow) -> BoardRow:
        return replace(row, added=tuple(estimates(row.stored, messages)))

    groups = [replace(group, rows=tuple(map(extended, group.rows))) for group in board.groups]
    return replace(board, groups=tuple(groups))


def _estimate(name: str, runs: Sequence[Stored], held: Sequence[Added]) -> AddedEstimate:
    ids = runs[0].scores["ids"]
    labels = np.asarray([group or id for group, id in zip(runs[0].scores["groups"], ids, strict=True)])
    places = [{id: place for place, id in enumerate(stored.scores["ids"])} for stored in runs]
    columns = [other[name] for other in held]
    rows = [row for row in columns[0] if all(row in column for column in columns)]
    tables: dict[str, Floats] = {}
    for row in rows:
        values = [
            [column[row].f[place[id]] for id in ids] for column, place in zip(columns, places, strict=True)
        ]
        tables[row] = np.array(values, dtype=np.float64)
    found = {row: value for row in rows if (value := _mean(tables[row], labels)) is not None}
    both = {"tuned", "base"} <= tables.keys()
    unscored: dict[str, dict[str, int]] = {}
    for column in columns:
        for row in rows:
            for why, count in column[row].unscored.items():
                reasons = unscored.setdefault(row, {})
                reasons[why] = reasons.get(why, 0) + count
    parts = {
        row: {"precision": _plain([c[row].p for c in columns]), "recall": _plain([c[row].r for c in columns])}
        for row in rows
        if columns[0][row].p
    }
    gain = _mean(tables["tuned"] - tables["base"], labels) if both else None
    return AddedEstimate(name, len(ids), found, gain, parts, unscored)


def _forgotten(lost: Sequence[Forgetting | None]) -> list[AddedEstimate]:
    """The loss on the fixed text, where every seed has it on the same one; its units are the paragraphs."""
    whole = [each for each in lost if each is not None]
    if not whole or len(whole) < len(lost) or len({each.metric for each in whole}) > 1:
        return []
    after, before = (np.array([getattr(each, side) for each in whole]) for side in ("after", "before"))
    rows = {"tuned": mean_interval(after), "base": mean_interval(before)}
    change = mean_interval(after - before)
    return [AddedEstimate(whole[0].metric, after.shape[1], rows, change, {}, {})]


def _plain(lists: Sequence[Sequence[float | None]]) -> float:
    return fmean(value for values in lists for value in values if value is not None)


def _mean(table: Floats, labels: Labels) -> Interval | None:
    whole = np.isfinite(table).all(axis=0)
    return mean_interval(table[:, whole], groups=labels[whole]) if whole.any() else None
