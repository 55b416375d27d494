"""Records become a board: groups of rows that may be ranked together. Pure; rendering is elsewhere.

Decisions that this module owns:

- Rows share a table only under one contract, at one scale and on the same evaluation examples;
  every further table says why it stands apart.
- A row is a model with its seeds pooled, as its newest set of versions and recipe left it. Older
  sets are counted, not shown: `bench history` and `bench compare` are for those.
- Training noise is pooled over the models of a group (three seeds of one model alone say little),
  so a one-seed row shares in it where another row has several seeds.
- Per-example scores are read for the newest `READ_AT_MOST` records only. Beyond, an interval comes
  from the records' own estimates and ranks from intervals that do not overlap: wider, never
  narrower. So a board over thousands of records takes seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from bench.digest import digest
from bench.errors import RecordError
from bench.ledger import Stored
from bench.record import Failure, Record
from bench.report.badges import Badge, badges
from bench.report.examples import Series, series, units
from bench.spec import Contract, Scale
from bench.stats import Interval, Noise, mean_interval, rank_ranges, seed_noise

KINDS = ("rougeL", "rouge1", "rouge2", "rougeLsum")
#: Ranked by this one.
MAIN = KINDS[0]
REFERENCES = {"nearest": "answer of the nearest training question", "copy": "copy of the question"}
READ_AT_MOST = 400
#: Contract digest, scale, digest of the evaluation examples.
Key = tuple[str, Scale, str]
Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
#: Run id -> "tuned", "base" -> scores per example.
Scores = dict[str, dict[str, Series]]


@dataclass(frozen=True)
class Cost:
    """What one run of a row took, averaged over its seeds; peaks are the highest."""

    trainable_parameters: int
    parameters: int
    tokens_per_second: float
    peak_memory: int
    peak_gpu_memory: int | None
    #: Of all stages together.
    seconds: float

    @property
    def memory(self) -> int:
        """Peak memory where the model lived: the GPU's if there was one."""
        return self.peak_gpu_memory if self.peak_gpu_memory is not None else self.peak_memory


@dataclass(frozen=True)
class Row:
    """One model, its seeds pooled."""

    model: str
    stored: tuple[Stored, ...]
    #: Metric -> estimate over examples and seeds.
    tuned: Mapping[str, Interval]
    base: Mapping[str, Interval]
    gain: Mapping[str, Interval]
    #: Best and worst rank that the data allow.
    rank: tuple[int, int]
    cost: Cost
    badges: tuple[Badge, ...]

    @property
    def first(self) -> Record:
        """The record of the lowest seed, for what all seeds have in common."""
        return self.stored[0].record

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that are pooled in this row."""
        return tuple(one.record.run.seed for one in self.stored)


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
    rows: tuple[Row, ...]
    references: tuple[ReferenceRow, ...]
    failures: tuple[Failure, ...]
    #: Records of these models under older versions or recipes, which are not shown.
    left_out: int
    #: Whether ranks and intervals come from per-example scores.
    exact: bool


@dataclass(frozen=True)
class Board:
    """The groups, the newest first."""

    groups: tuple[Group, ...]
    #: Records that had to be left out because their scores are missing or edited.
    messages: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Stored]:
        """Every record that is shown."""
        return [one for group in self.groups for row in group.rows for one in row.stored]


def board(stored: Sequence[Stored], failures: Sequence[Failure] = ()) -> Board:
    """The board of these records."""
    digests = _ContractDigests()
    together: dict[Key, list[Stored]] = defaultdict(list)
    for one in stored:
        together[digests.key(one)].append(one)
    keys = sorted(together, key=lambda key: max(_age(one) for one in together[key]), reverse=True)
    died: dict[tuple[str, Scale], list[Failure]] = defaultdict(list)
    for failure in failures:
        died[digests.of(failure.run.contract), failure.run.scale].append(failure)
    left, groups = READ_AT_MOST, []
    messages: list[str] = []
    for key in keys:
        newest = _newest(together[key])
        shown = sum(map(len, newest.values()))
        exact, left = (True, left - shown) if shown <= left else (False, left)
        scores: Scores = {}
        if exact:
            scores = _read(newest, messages)
            if not newest:
                continue
        sets = list(newest.values())
        groups.append(
            Group(
                contract=sets[0][0].record.run.contract,
                scale=key[1],
                apart="",
                rows=_rows(sets, scores),
                references=_references(sets),
                failures=_still_failed(died.pop(key[:2], []), newest),
                left_out=len(together[key]) - shown,
                exact=exact,
            )
        )
    for only in died.values():
        run = only[0].run
        groups.append(Group(run.contract, run.scale, "", (), (), tuple(only), 0, True))
    return Board(tuple(_say_why_apart(groups)), tuple(messages))


def _read(newest: dict[str, list[Stored]], messages: list[str]) -> Scores:
    """Per-example scores of every run; a run whose scores cannot be trusted goes from `newest`."""
    found: Scores = {}
    for model, runs in list(newest.items()):
        for one in list(runs):
            try:
                found[one.record.id] = {row: series(one, KINDS, row) for row in ("tuned", "base")}
            except RecordError as error:
                messages.append(str(error))
                runs.remove(one)
        if not runs:
            del newest[model]
    return found


class _ContractDigests:
    """Digests of contracts; thousands of records share a few."""

    def __init__(self) -> None:
        self._known: dict[Contract, str] = {}

    def of(self, contract: Contract) -> str:
        if contract not in self._known:
            self._known[contract] = contract.digest
        return self._known[contract]

    def key(self, one: Stored) -> Key:
        run = one.record.run
        return self.of(run.contract), run.scale, one.record.data.eval_digest


def _age(one: Stored) -> tuple[str, str]:
    return one.record.provenance.finished, one.record.id


def _newest(stored: Sequence[Stored]) -> dict[str, list[Stored]]:
    """Model -> its newest set of runs that differ in the seed alone, by seed."""
    by_model: dict[str, list[Stored]] = defaultdict(list)
    for one in stored:
        by_model[one.record.run.name].append(one)
    chosen = {}
    for model, runs in sorted(by_model.items()):
        latest = _but_for_the_seed(max(runs, key=_age).record)
        same = [one for one in runs if _but_for_the_seed(one.record) == latest]
        chosen[model] = sorted(same, key=lambda one: one.record.run.seed)
    return chosen


def _but_for_the_seed(record: Record) -> str:
    run = record.run
    return digest(
        [
            run.model_dump(mode="json", include={"recipe", "device", "backend", "versions"}),
            run.checkpoint.revision,
            run.template,
        ]
    )


def _rows(sets: Sequence[Sequence[Stored]], scores: Scores) -> tuple[Row, ...]:
    """The rows of one group, best first."""
    estimates = _pooled(sets, scores) if scores else [_from_estimates(runs) for runs in sets]
    order = sorted(range(len(sets)), key=lambda place: -estimates[place]["tuned"][MAIN].mean)
    if scores:
        tables = [_table(sets[place], scores, "tuned", MAIN) for place in order]
        ranks = rank_ranges(tables, _units(sets[0], scores))
    else:
        ranks = _ranks_apart([estimates[place]["tuned"][MAIN] for place in order])
    return tuple(
        Row(
            model=sets[place][0].record.run.name,
            stored=tuple(sets[place]),
            **estimates[place],
            rank=rank,
            cost=_cost(sets[place]),
            badges=badges([one.record for one in sets[place]]),
        )
        for place, rank in zip(order, ranks, strict=True)
    )


def _pooled(sets: Sequence[Sequence[Stored]], scores: Scores) -> list[dict[str, dict[str, Interval]]]:
    """Per row: tuned, base, gain -> metric -> interval over examples and seeds."""
    several = any(len(runs) > 1 for runs in sets)
    if not several:  # the records hold exactly this already
        return [_from_estimates(runs) for runs in sets]
    labels = _units(sets[0], scores)
    found: list[dict[str, dict[str, Interval]]] = [{"tuned": {}, "base": {}, "gain": {}} for _ in sets]
    for kind in KINDS:
        tuned = [_table(runs, scores, "tuned", kind) for runs in sets]
        gains = [one - _table(runs, scores, "base", kind) for one, runs in zip(tuned, sets, strict=True)]
        for name, values in (("tuned", tuned), ("gain", gains)):
            noise = _noise(values, labels)
            for place, one in enumerate(values):
                found[place][name][kind] = mean_interval(one, groups=labels, noise=noise)
        for place, runs in enumerate(sets):  # nothing was trained, so every seed's record says the same
            found[place]["base"][kind] = _interval(runs[0].record, "base", kind)
    return found


def _noise(values: Sequence[Floats], labels: Labels) -> Noise | None:
    return seed_noise(values, labels) if any(len(one) > 1 for one in values) else None


def _table(runs: Sequence[Stored], scores: Scores, row: str, kind: str) -> Floats:
    """(seeds, examples) F values, examples in the order of their ids."""
    found = [scores[one.record.id][row] for one in runs]
    return np.stack([one.values[kind][_by_id(one)] for one in found])


def _units(runs: Sequence[Stored], scores: Scores) -> Labels:
    """What counts as one witness, in the order of the examples' ids."""
    found = scores[runs[0].record.id]["tuned"]
    return np.asarray(units(found.ids, found.groups))[_by_id(found)]


def _by_id(found: Series) -> list[int]:
    return sorted(range(len(found.ids)), key=found.ids.__getitem__)


def _from_estimates(runs: Sequence[Stored]) -> dict[str, dict[str, Interval]]:
    """Intervals from the records' own: half widths of examples and of seeds, added as variances.

    Averaging seeds narrows the examples' part as well; that is given away, so this is too wide.
    """
    records = [one.record for one in runs]
    return {
        "tuned": {kind: _wide([_interval(one, "tuned", kind) for one in records]) for kind in KINDS},
        "base": {kind: _interval(records[0], "base", kind) for kind in KINDS},
        "gain": {kind: _wide([Interval(**one.gain[kind].model_dump()) for one in records]) for kind in KINDS},
    }


def _wide(parts: Sequence[Interval]) -> Interval:
    if len(parts) == 1:
        return parts[0]
    mean = fmean(one.mean for one in parts)
    seeds = variance(one.mean for one in parts) / len(parts) * 1.96**2
    below = fmean((one.mean - one.low) ** 2 for one in parts)
    above = fmean((one.high - one.mean) ** 2 for one in parts)
    return Interval(mean, mean - sqrt(below + seeds), mean + sqrt(above + seeds))


def _ranks_apart(intervals: Sequence[Interval]) -> list[tuple[int, int]]:
    """Rank ranges by intervals that do not overlap, for too many rows to compare example by example."""
    lows, highs = np.sort([one.low for one in intervals]), np.sort([one.high for one in intervals])
    count = len(intervals)
    return [
        (
            1 + count - int(np.searchsorted(lows, one.high, side="right")),
            count - int(np.searchsorted(highs, one.low, side="left")),
        )
        for one in intervals
    ]


def _interval(record: Record, row: str, kind: str) -> Interval:
    return Interval(**record.scores[row][kind].model_dump())


def _cost(runs: Sequence[Stored]) -> Cost:
    spent = [one.record.spent for one in runs]
    gpu = [one.peak_gpu_memory for one in spent if one.peak_gpu_memory is not None]
    return Cost(
        trainable_parameters=spent[0].trainable_parameters,
        parameters=spent[0].parameters,
        tokens_per_second=fmean(one.tokens_per_second for one in spent),
        peak_memory=max(one.peak_memory for one in spent),
        peak_gpu_memory=max(gpu) if gpu else None,
        seconds=fmean(sum(one.seconds.values()) for one in spent),
    )


def _references(sets: Sequence[Sequence[Stored]]) -> tuple[ReferenceRow, ...]:
    """The rows that need no training, best first; equal for every run of a group."""
    record = sets[0][0].record
    rows = [
        ReferenceRow(name, words, {kind: _interval(record, name, kind) for kind in KINDS})
        for name, words in REFERENCES.items()
        if name in record.scores
    ]
    return tuple(sorted(rows, key=lambda row: -row.scores[MAIN].mean))


def _still_failed(died: Sequence[Failure], newest: Mapping[str, Sequence[Stored]]) -> tuple[Failure, ...]:
    """Failures that no later success of the same model and seed has made good."""
    done = {
        (model, one.record.run.seed): one.record.provenance.finished
        for model, runs in newest.items()
        for one in runs
    }
    return tuple(one for one in died if done.get((one.run.name, one.run.seed), "") < one.when)


def _say_why_apart(groups: Sequence[Group]) -> list[Group]:
    rest = [replace(group, apart=_why(groups[0], group)) for group in groups[1:]]
    return [*groups[:1], *rest]


def _why(first: Group, other: Group) -> str:
    reasons = [] if first.scale == other.scale else [f"scale {other.scale}, not {first.scale}"]
    for field, (left, right) in first.contract.differences(other.contract).items():
        reasons.append(f"{field} {_short(right)}, not {_short(left)}")
    return "; ".join(reasons) or "scored on other evaluation examples"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text[:8] if len(text) == 64 else text


def finite(interval: Interval) -> bool:
    """Whether an interval has two ends; one test example alone leaves its spread unknown."""
    return isfinite(interval.low) and isfinite(interval.high)
