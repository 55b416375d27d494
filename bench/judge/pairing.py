"""Which runs of two sets of records belong together, and why others do not.

Runs pair by model, scale, contract and seed; of several versions of one run on a side the newest counts,
and a failure that is newer than the record stands for the run. A model that is on both sides under other
contracts is incomparable, with the first part in which the two differ. Device, recipe, checkpoint and
package versions do not keep runs apart: they are what a comparison is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np

from bench.errors import RecordError, UnknownName
from bench.stats.pivot import by_group
from bench.store.ledger import Stored
from bench.store.record import Failure
from bench.store.scores import Floats, Series, aligned, series, units
from bench.store.sides import Side, Slot, moment, newest, slot


class Finding(StrEnum):
    """The verdict on one row."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    #: Of a metric that has no better side.
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNCERTAIN = "too uncertain to tell"
    INCOMPARABLE = "incomparable"
    NEWLY_FAILING = "newly failing"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True)
class Match:
    """The runs of one row on both sides, seed by seed; or why there is nothing to compare.

    `finding` is none where the scores decide. Seeds whose record is the same on both sides are left out where
    others were run again: they would only dilute the difference.
    """

    model: str
    scale: str
    seeds: tuple[int, ...] = ()
    a: tuple[Stored, ...] = ()
    b: tuple[Stored, ...] = ()
    finding: Finding | None = None
    reason: str = ""

    @property
    def same_records(self) -> bool:
        """Whether both sides hold the very same records; an equal run id does not make them so."""
        return bool(self.a) and all(x.record == y.record for x, y in zip(self.a, self.b, strict=True))


def since(baseline: Side, current: Side) -> Side:
    """What of `current` came after the baseline; where a model has nothing new, its baseline runs.

    So a contract that was changed after the baseline was saved comes out as incomparable instead of as
    the baseline's own old records. A record is new if it was not there when the baseline was saved,
    whatever its clock said. Failures, and records beside a baseline that does not know what was there,
    are new by their time.
    """
    before = newest(baseline.records)
    latest: dict[tuple[str, str], datetime] = {}
    for (model, scale, _), seeds in before.items():
        when = max(moment(run) for run in seeds.values())
        latest[model, scale] = max(when, latest.get((model, scale), when))

    def is_newer(run: Stored | Failure) -> bool:
        if baseline.known and isinstance(run, Stored):
            return run.digest[: len(next(iter(baseline.known)))] not in baseline.known
        model, scale, contract = slot(run)
        seed = (run.run if isinstance(run, Failure) else run.record.run).seed
        match = before.get((model, scale, contract), {}).get(seed)
        limit = moment(match) if match else latest.get((model, scale))
        return limit is None or moment(run) > limit

    records = tuple(record for record in current.records if is_newer(record))
    failures = tuple(failure for failure in current.failures if is_newer(failure))
    renewed = {slot(record)[:2] for record in records} | {slot(failure)[:2] for failure in failures}
    here = {stored.record.id for stored in current.records}
    kept = tuple(
        stored for stored in baseline.records if slot(stored)[:2] not in renewed and stored.record.id in here
    )
    return Side(current.name, records + kept, failures, current.messages)


def pair(a: Side, b: Side) -> list[Match]:
    """Every row of either side, by model name: paired seed by seed, or with what stands in the way."""
    left, right = newest([*a.records, *a.failures]), newest([*b.records, *b.failures])
    matches = [match for key in left if key in right for match in _paired(key, left[key], right[key])]
    alone_left = [key for key in left if key not in right]
    alone_right = [key for key in right if key not in left]
    rivals = set()
    for key in alone_left:
        others = [other for other in alone_right if other[0] == key[0]]
        if others:
            rival = min(others, key=lambda other: (other[1] != key[1], len(key[2].differences(other[2]))))
            rivals.add(rival)
            matches.append(_match(key, Finding.INCOMPARABLE, _difference(key, rival)))
        else:
            matches.append(_match(key, Finding.GONE, f"only in {a.name}"))
    for key in alone_right:
        if key not in rivals:
            failed = [run for run in right[key].values() if isinstance(run, Failure)]
            why = f"; fails: {_why(failed[0])}" if len(failed) == len(right[key]) else ""
            matches.append(_match(key, Finding.NEW, f"only in {b.name}{why}"))
    return sorted(matches, key=lambda match: (match.model, match.scale, match.finding or ""))


def shown(value: Any) -> str:
    """A value of a contract or recipe, short enough for a table."""
    text = str(value)
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:8] if is_digest else text


def _paired(key: Slot, left: dict[int, Stored | Failure], right: dict[int, Stored | Failure]) -> list[Match]:
    common = sorted(left.keys() & right.keys())
    if not common:
        seeds = " | ".join(", ".join(map(str, sorted(side))) for side in (left, right))
        return [_match(key, Finding.INCOMPARABLE, f"no seed in common: {seeds}")]
    matches = []
    broken = [s for s in common if isinstance(left[s], Stored) and isinstance(right[s], Failure)]
    if broken:
        first = right[broken[0]]
        assert isinstance(first, Failure)
        matches.append(_match(key, Finding.NEWLY_FAILING, f"{_seeds(broken)}: {_why(first)}"))
    both = [
        (seed, x, y)
        for seed in common
        if isinstance(x := left[seed], Stored) and isinstance(y := right[seed], Stored)
    ]
    if both:
        rerun = [(seed, x, y) for seed, x, y in both if x.record != y.record]
        same = [seed for seed, x, y in both if x.record == y.record] if rerun else []
        seeds_of, first_side, second_side = zip(*(rerun or both), strict=True)
        unpaired = sorted((left.keys() | right.keys()) - {seed for seed, _, _ in both} - set(broken))
        notes = [f"{_seeds(unpaired)} on one side only"] if unpaired else []
        notes += [f"{_seeds(same)} the same record on both sides, left out"] if same else []
        matches.append(Match(key[0], key[1], seeds_of, first_side, second_side, None, "; ".join(notes)))
    elif not broken:
        repaired = any(isinstance(run, Stored) for run in right.values())
        word = Finding.NEW if repaired else Finding.INCOMPARABLE
        matches.append(_match(key, word, "failed before" if repaired else "failed on both sides"))
    return matches


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _match(key: Slot, finding: Finding, reason: str) -> Match:
    return Match(key[0], key[1], finding=finding, reason=reason)


def _difference(key: Slot, other: Slot) -> str:
    if key[1] != other[1]:
        return f"scale: {key[1]} | {other[1]}"
    (first, values), *more = key[2].differences(other[2]).items()
    rest = f" (and {len(more)} more)" if more else ""
    return f"{first}: {shown(values[0])} | {shown(values[1])}{rest}"


def _why(failure: Failure) -> str:
    reason = failure.reason.strip().splitlines()
    return f"{failure.stage}: {reason[0] if reason else 'no reason given'}"


@dataclass(frozen=True)
class Scored:
    """A match with its scores of one metric on common examples, (seeds, n) each."""

    match: Match
    metric: str
    a: Floats
    b: Floats
    ids: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def clusters(self) -> Floats:
        """Differences, (seeds, groups), whose means over groups are the differences of means."""
        groups = None if len(set(self.groups)) < 2 else np.asarray(units(self.ids, self.groups))
        return by_group(self.b - self.a, groups)

    @property
    def changed(self) -> int:
        """How many clusters hold an example whose mean score differs."""
        moved = (self.b - self.a).mean(axis=0) != 0
        return len(set(np.asarray(units(self.ids, self.groups))[moved].tolist()))


def read(
    match: Match, metrics: Sequence[str], messages: list[str], arm: str = "tuned"
) -> tuple[Match, list[tuple[Series, Series]]]:
    """The match without the seeds whose scores cannot be trusted, and the scores of the others."""
    kept, pairs = [], []
    for seed, a, b in zip(match.seeds, match.a, match.b, strict=True):
        try:
            pairs.append((series(a, metrics, arm), series(b, metrics, arm)))
        except (RecordError, UnknownName) as error:
            messages.append(str(error))
        else:
            kept.append((seed, a, b))
    if not kept:
        reason = f"its scores cannot be read: {messages[-1]}"
        return replace(match, finding=Finding.INCOMPARABLE, reason=reason), []
    if any(_regrouped(a, b) for a, b in pairs):
        reason = "its groups of paraphrases changed, by which every interval resamples"
        return replace(match, finding=Finding.INCOMPARABLE, reason=reason), []
    seeds, first, second = zip(*kept, strict=True)
    return replace(match, seeds=seeds, a=first, b=second), pairs


def _regrouped(a: Series, b: Series) -> bool:
    """Whether an example that both hold belongs to another group."""
    if (a.ids, a.groups) == (b.ids, b.groups):
        return False
    before = dict(zip(a.ids, a.groups, strict=True))
    return any(before.get(id, group) != group for id, group in zip(b.ids, b.groups, strict=True))


def align(match: Match, both_sides: list[tuple[Series, Series]], metric: str) -> Scored:
    """One metric's scores as two tables (seeds, n); n is 0 where no example is shared."""
    values, ids, groups = aligned([row for both in zip(*both_sides, strict=True) for row in both], metric)
    return Scored(match, metric, values[: len(both_sides)], values[len(both_sides) :], ids, groups)


def nothing_in_common(
    a: Side, b: Side, said: Sequence[tuple[str, Finding, str]], messages: Sequence[str]
) -> str:
    """Why nothing of two sides can be compared; `said` is what was found of each model, and why."""
    for side in (a, b):
        if not side.records and not side.failures:
            unread = f"; {len(side.messages)} could not be read: {side.messages[0]}" if side.messages else ""
            return f"nothing to compare: '{side.name}' holds no records{unread}"
    for model, finding, reason in said:
        if finding == Finding.INCOMPARABLE:
            others = len({other for other, _, _ in said} - {model})
            more = f" (and {others} more model{'s' * (others > 1)})" if others else ""
            why = f"{model}: {reason}{more}"
            return f"'{a.name}' and '{b.name}' have nothing in common that can be compared: {why}"
    held = [
        ", ".join(sorted({model for model, finding, _ in said if finding == word}))
        for word in (Finding.GONE, Finding.NEW)
    ]
    return f"'{a.name}' and '{b.name}' have no run in common: {held[0] or 'none'} | {held[1] or 'none'}"
