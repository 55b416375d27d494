"""Records become a board: groups of rows that may be ranked together. Pure; rendering is elsewhere.

Decisions that this module owns:

- Rows share a table only under one contract, at one scale and on the same evaluation examples;
  every further table says why it stands apart.
- A row is a model with its seeds pooled, under the versions and recipe that were asked for, else the
  newest. Other sets are counted, not shown: `bench history` and `bench compare` are for those.
- What `--with` tried out is a group of its own, named after the versions, and never first where there
  are runs under the installed ones.
- Per-example scores are read for the newest `READ_AT_MOST` records only (see `pooling`), so a
  board over thousands of records takes seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import RecordError
from bench.judge import pooling
from bench.judge.beside.apart import why
from bench.judge.doubts import Doubt, row_doubts
from bench.judge.intervals import KINDS, Intervals, own_interval, share_seeds
from bench.judge.pooling import RowCost, cost_of
from bench.spec import Contract, Scale
from bench.stats import Interval, rank_ranges
from bench.store.ledger import Stored
from bench.store.record import BASE, BASE_CHAT, Failure, LeftOut, Record
from bench.store.sides import absent, setting, still_failed, trial_of

if TYPE_CHECKING:
    from bench.judge.beside.added import AddedEstimate
    from bench.judge.beside.arms import ArmsEstimate
    from bench.judge.effort.ladder import Ladder

MAIN = KINDS[0]  # ranked by this one
REFERENCES = {"nearest": "answer of the nearest training question", "copy": "copy of the question"}
READ_AT_MOST = 160
#: Contract digest, scale, digest of the evaluation examples, what `--with` tried out.
Key = tuple[str, Scale, str, tuple[str, ...]]


@dataclass(frozen=True)
class BoardRow:
    """One model, its seeds pooled."""

    model: str
    stored: tuple[Stored, ...]
    #: Metric -> estimate over examples and seeds.
    tuned: Mapping[str, Interval]
    base: Mapping[str, Interval]
    #: Of the untuned model in its own chat template; empty where it has none, or was tuned in it.
    chat: Mapping[str, Interval]
    gain: Mapping[str, Interval]  # over the better of the two
    #: Best and worst rank that the data allow.
    rank: tuple[int, int]
    cost: RowCost
    doubts: tuple[Doubt, ...]
    #: Metrics that `bench score` added; empty until `beside.added.with_added` reads them.
    added: tuple[AddedEstimate, ...] = ()
    #: The arms that retrieve; none until `beside.arms.with_arms` reads them, or where there are none.
    arms: ArmsEstimate | None = None

    @property
    def first(self) -> Record:
        """The record of the lowest seed, for what all seeds have in common."""
        return self.stored[0].record

    @property
    def gained_over(self) -> Mapping[str, Interval]:
        """The estimates of the untuned model that `gain` is over."""
        return self.base if self.first.gain_over == BASE else self.chat

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that are pooled in this row."""
        return tuple(stored.record.run.seed for stored in self.stored)


@dataclass(frozen=True)
class CostRow:
    """One model whose weights are random, its seeds pooled: only its cost means anything."""

    model: str
    stored: tuple[Stored, ...]
    cost: RowCost


@dataclass(frozen=True)
class ReferenceRow:
    """A row that needs no training."""

    name: str
    words: str
    scores: Mapping[str, Interval]


@dataclass(frozen=True)
class Group:
    """Rows that may be ranked together."""

    contract: Contract
    scale: Scale
    #: Why these rows stand apart from the first group's; empty for the first.
    apart: str
    rows: tuple[BoardRow, ...]
    references: tuple[ReferenceRow, ...]
    failures: tuple[Failure, ...]
    #: Records of these models under other versions or recipes, which are not shown.
    left_out: int
    #: Whether ranks and intervals come from per-example scores.
    exact: bool
    #: What `--with` asked for; empty under the installed versions.
    trial: tuple[str, ...] = ()
    #: Models without a row that could not be run where `--models all` asked for them.
    missing: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Board:
    """The groups, the newest first."""

    groups: tuple[Group, ...]
    #: What runs of random weights took; they are never ranked.
    costs: tuple[CostRow, ...] = ()
    #: Records that had to be left out because their scores are missing or edited.
    messages: tuple[str, ...] = ()
    #: Groups that differ in the budget alone, together; empty until `ladder.with_ladders` looks for them.
    ladders: tuple[Ladder, ...] = ()

    @property
    def runs(self) -> list[Stored]:
        """Every record that is shown."""
        return [stored_run for group in self.groups for row in group.rows for stored_run in row.stored]


def board(
    stored: Sequence[Stored],
    failures: Sequence[Failure] = (),
    asked: Collection[str] = frozenset(),
    left_out: Sequence[LeftOut] = (),
    measured: Sequence[Stored] = (),
) -> Board:
    """The board of these records; `asked` holds the settings (`setting`) that go before newer ones.

    `measured` are runs of random weights, which stand in a table of their own.
    """
    digests = _ContractDigests()
    together: dict[Key, list[Stored]] = defaultdict(list)
    for stored_run in stored:
        together[digests.key(stored_run)].append(stored_run)
    keys = sorted(
        together, key=lambda key: (not key[3], max(_age(stored) for stored in together[key])), reverse=True
    )
    died: dict[tuple[str, Scale, tuple[str, ...]], list[Failure]] = defaultdict(list)
    for failure in failures:
        died[digests.of(failure.run.contract), failure.run.scale, failure.trial].append(failure)
    intervals = Intervals(stored)
    left, groups = READ_AT_MOST, []
    messages: list[str] = []
    for key in keys:
        newest = _newest(together[key], asked)
        shown = sum(map(len, newest.values()))
        exact, left = (True, left - shown) if shown <= left else (False, left)
        if exact:
            _read(newest, intervals, messages)
            if not newest:
                continue
        sets = list(newest.values())
        groups.append(
            Group(
                contract=sets[0][0].record.run.contract,
                scale=key[1],
                apart="",
                rows=_rows(sets, intervals if exact else None),
                references=_references(sets),
                failures=still_failed(died.pop((key[0], key[1], key[3]), []), newest),
                left_out=len(together[key]) - shown,
                exact=exact,
                trial=key[3],
                missing=absent(left_out, key[0], key[1], newest) if not key[3] else (),
            )
        )
    for only in died.values():
        run = only[0].run
        groups.append(Group(run.contract, run.scale, "", (), (), tuple(only), 0, True, only[0].trial))
    return Board(tuple(_say_why_apart(groups)), _cost_rows(measured), tuple(messages))


def _cost_rows(measured: Sequence[Stored]) -> tuple[CostRow, ...]:
    """A row for each model and setting of random weights, newest last."""
    rows: dict[tuple[str, str, Contract], list[Stored]] = defaultdict(list)
    for stored in sorted(measured, key=_age):
        run = stored.record.run
        rows[run.name, setting(run), run.contract].append(stored)
    return tuple(CostRow(key[0], tuple(runs), cost_of(runs)) for key, runs in rows.items())


class _ContractDigests:
    """Digests of contracts; thousands of records share a few."""

    def __init__(self) -> None:
        self._known: dict[Contract, str] = {}

    def of(self, contract: Contract) -> str:
        if contract not in self._known:
            self._known[contract] = contract.digest
        return self._known[contract]

    def key(self, stored: Stored) -> Key:
        run = stored.record.run
        return self.of(run.contract), run.scale, stored.record.data.eval_digest, trial_of(stored)


def _age(stored: Stored) -> tuple[str, str]:
    return stored.record.provenance.finished, stored.record.id


def _newest(stored: Sequence[Stored], asked: Collection[str]) -> dict[str, list[Stored]]:
    """Model -> the set that was asked for, else the newest, of runs that differ in the seed alone."""
    by_model: dict[str, list[Stored]] = defaultdict(list)
    for record in stored:
        by_model[record.record.run.name].append(record)
    chosen = {}
    for model, runs in sorted(by_model.items()):
        settings = [setting(stored.record.run) for stored in runs]
        shown = max(zip(runs, settings, strict=True), key=lambda pair: (pair[1] in asked, _age(pair[0])))[1]
        same = [stored for stored, its in zip(runs, settings, strict=True) if its == shown]
        chosen[model] = sorted(same, key=lambda stored: stored.record.run.seed)
    return chosen


def _read(newest: dict[str, list[Stored]], intervals: Intervals, messages: list[str]) -> None:
    """Read the scores of every run; a run whose scores cannot be trusted goes from `newest`."""
    for model, runs in list(newest.items()):
        for stored in list(runs):
            try:
                for row in ("tuned", BASE, BASE_CHAT):
                    if row in stored.record.scores:
                        intervals.read(stored, MAIN, row)
            except RecordError as error:
                messages.append(str(error))
                runs.remove(stored)
        if not runs:
            del newest[model]


def _estimates(runs: Sequence[Stored], intervals: Intervals) -> dict[str, dict[str, Interval]]:
    """Tuned, base, chat, gain -> metric -> interval."""
    return {
        **pooling.bases(runs[0].record),
        "tuned": {kind: intervals.of(runs, kind) for kind in KINDS},
        "gain": {kind: intervals.of(runs, kind, "gain") for kind in KINDS},
    }


def _rows(sets: Sequence[Sequence[Stored]], intervals: Intervals | None) -> tuple[BoardRow, ...]:
    """The rows of one group, best first; without `intervals` from the records' own estimates."""
    estimates = [_estimates(runs, intervals) if intervals else pooling.from_estimates(runs) for runs in sets]
    order = sorted(range(len(sets)), key=lambda place: -estimates[place]["tuned"][MAIN].mean)
    if intervals:
        tables = [intervals.table(sets[place]) for place in order]
        ranks = rank_ranges(tables, intervals.clusters(sets[0][0]), common=share_seeds(sets))
    else:
        ranks = pooling.ranks_apart([estimates[place]["tuned"][MAIN] for place in order])
    return tuple(
        BoardRow(
            model=sets[place][0].record.run.name,
            stored=tuple(sets[place]),
            tuned=estimates[place]["tuned"],
            base=estimates[place]["base"],
            chat=estimates[place]["chat"],
            gain=estimates[place]["gain"],
            rank=rank,
            cost=cost_of(sets[place]),
            doubts=row_doubts([stored.record for stored in sets[place]]),
        )
        for place, rank in zip(order, ranks, strict=True)
    )


def _references(sets: Sequence[Sequence[Stored]]) -> tuple[ReferenceRow, ...]:
    """The rows that need no training, best first; equal for every run of a group."""
    record = sets[0][0].record
    rows = [
        ReferenceRow(name, words, {kind: own_interval(record, name, kind) for kind in KINDS})
        for name, words in REFERENCES.items()
        if name in record.scores
    ]
    return tuple(sorted(rows, key=lambda row: -row.scores[MAIN].mean))


def _say_why_apart(groups: Sequence[Group]) -> list[Group]:
    rest = [replace(group, apart=why(groups[0], group)) for group in groups[1:]]
    return [*groups[:1], *rest]
