"""Boards that differ in the budget alone: scores against examples seen, and which models change order.

A pair of models changes order along a ladder if one is ahead at some budget and the other at another. That
is a claim about both budgets at once, so it is as sure as the weaker of its two ends (intersection-union
test; Berger 1982): for each direction the smallest one-sided p over the budgets, times their number
(Bonferroni, because the budget is chosen by its p), then the larger of the two directions. Over the pairs
the p are Holm's. A pair whose means cross without that being shown is named as such: most do, where models
are close.

A model is compared only where it was run at every budget under one recipe and one set of versions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from bench import stats
from bench.digest import digest
from bench.errors import RecordError
from bench.judge.board import MAIN, Board, BoardRow, Group
from bench.spec import Budget, Contract, Scale
from bench.stats import Interval
from bench.store.scores import Floats, aligned, series, units
from bench.store.sides import setting

ALPHA = 0.05
#: Pairs grow with the square of the models; the best at the largest budget are compared.
MOST = 24


@dataclass(frozen=True)
class Rung:
    """One budget of a ladder."""

    budget: Budget
    #: Model -> its score.
    tuned: Mapping[str, Interval]


@dataclass(frozen=True)
class Crossing:
    """Two models whose order at the smaller budget is not that at the larger one."""

    ahead: str
    behind: str
    small: Budget
    large: Budget
    #: `ahead` minus `behind` at the two budgets: above zero, then below.
    before: Interval
    after: Interval
    #: Of the change of order, adjusted over all pairs.
    p: float

    @property
    def clear(self) -> bool:
        """Whether the data show that the order changes."""
        return self.p <= ALPHA


@dataclass(frozen=True)
class Ladder:
    """The boards of one contract at several budgets, the smallest first."""

    contract: Contract
    scale: Scale
    trial: tuple[str, ...]
    rungs: tuple[Rung, ...]
    #: Models that are compared, the best at the largest budget first, and the pairs of them.
    models: tuple[str, ...]
    pairs: int
    #: Pairs whose means cross, the surest first.
    crossings: tuple[Crossing, ...]
    #: Models with other recipes or versions at some budgets, or not run at all of them.
    left_out: tuple[str, ...]
    #: Models below the best `MOST` at the largest budget.
    further: tuple[str, ...]
    #: Whether training noise is part of what is said: at every budget a compared model has several seeds.
    seeds: bool
    #: Whether the models are twins.
    rows: tuple[BoardRow, ...]


def with_ladders(board: Board) -> Board:
    """The board with a ladder for every contract that it has at several budgets."""
    together: dict[str, list[Group]] = defaultdict(list)
    for group in board.groups:
        if group.rows and group.exact:
            neutral = group.contract.model_dump(mode="json", exclude={"budget"})
            seen = group.rows[0].first.data.eval_digest
            together[digest([neutral, group.scale, group.trial, seen])].append(group)
    made = [_ladder(groups) for groups in together.values() if len(groups) > 1]
    return replace(board, ladders=tuple(ladder for ladder in made if ladder))


def _ladder(groups: Sequence[Group]) -> Ladder | None:
    ordered = sorted(groups, key=lambda group: (group.contract.budget.examples, group.contract.budget.steps))
    last = ordered[-1]
    rows = {
        model: [row for group in ordered for row in group.rows if row.model == model]
        for model in _names(ordered)
    }
    whole = {model for model, its in rows.items() if len(its) == len(ordered) and _alike(its)}
    models = tuple(row.model for row in last.rows if row.model in whole)[:MOST]
    if not models:
        return None
    try:
        crossings = _crossings(ordered, models)
    except RecordError:  # named where the board reads the same scores
        return None
    return Ladder(
        contract=last.contract,
        scale=last.scale,
        trial=last.trial,
        rungs=tuple(
            Rung(
                group.contract.budget,
                {row.model: row.tuned[MAIN] for row in group.rows if row.model in models},
            )
            for group in ordered
        ),
        models=models,
        pairs=len(models) * (len(models) - 1) // 2,
        crossings=tuple(crossings),
        left_out=tuple(sorted(set(rows) - whole)),
        further=tuple(sorted(whole - set(models))),
        seeds=all(any(len(row.stored) > 1 for row in group.rows if row.model in models) for group in ordered),
        rows=tuple(row for row in last.rows if row.model in models),
    )


def _names(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(row.model for group in groups for row in group.rows))


def _alike(rows: Sequence[BoardRow]) -> bool:
    """Whether one model's rows have one recipe, one set of versions and one code."""
    return len({setting(row.first.run) for row in rows}) == 1


def _crossings(groups: Sequence[Group], models: Sequence[str]) -> list[Crossing]:
    """Every pair whose means cross, with Holm's p over all pairs."""
    tables = [_Table(group, models) for group in groups]
    tested: list[tuple[float, Crossing | None]] = []
    for first, second in combinations(models, 2):
        differences = [table.difference(first, second) for table in tables]
        tested.append(_crossing(first, second, differences, [group.contract.budget for group in groups]))
    adjusted = stats.holm([p for p, _ in tested])
    crossings = [
        replace(crossing, p=float(p)) for (_, crossing), p in zip(tested, adjusted, strict=True) if crossing
    ]
    return sorted(crossings, key=lambda crossing: crossing.p)


class _Table:
    """The scores of one budget: (seeds, examples) for each model, examples in one order."""

    def __init__(self, group: Group, models: Sequence[str]) -> None:
        rows = {row.model: row for row in group.rows}
        read = [(model, series(stored, (MAIN,))) for model in models for stored in rows[model].stored]
        table, ids, groups = aligned([scores for _, scores in read], MAIN)
        names = np.array([model for model, _ in read])
        self.scores: dict[str, Floats] = {model: table[names == model] for model in models}
        self.units = np.asarray([str(unit) for unit in units(ids, groups)])
        several = [scores for scores in self.scores.values() if len(scores) > 1]
        self.noise = stats.seed_noise(several, self.units) if several and len(ids) > 1 else None

    def difference(self, first: str, second: str) -> tuple[Interval, float, float]:
        """`first` minus `second`, and the one-sided p that `first` is ahead, and that `second` is."""
        result = stats.compare(self.scores[second], self.scores[first], self.units, noise=self.noise)
        above = result.p / 2 if result.interval.mean > 0 else 1 - result.p / 2
        return result.interval, above, 1 - above


def _crossing(
    first: str,
    second: str,
    differences: Sequence[tuple[Interval, float, float]],
    budgets: Sequence[Budget],
) -> tuple[float, Crossing | None]:
    """The p of a change of order, and where it shows best; none where the means keep their order."""
    count = len(budgets)
    up = min(range(count), key=lambda place: differences[place][1])
    down = min(range(count), key=lambda place: differences[place][2])
    p = min(1.0, count * max(differences[up][1], differences[down][2]))
    if not (differences[up][0].mean > 0 > differences[down][0].mean):
        return p, None
    small, large = sorted((up, down))
    ahead, behind = (first, second) if small == up else (second, first)
    before, after = (
        value if small == up else Interval(-value.mean, -value.high, -value.low)
        for value in (differences[small][0], differences[large][0])
    )
    return p, Crossing(ahead, behind, budgets[small], budgets[large], before, after, p)
