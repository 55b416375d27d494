"""Doubts that need scores per example: rows against their reference rows, and neighbours on a board.

Records whose scores cannot be read are passed over; `bench check` names them as mistakes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from bench import stats
from bench.errors import RecordError, UnknownName
from bench.judge.doubts import LEAKED_SCORE, LEAKED_WORDS, THRESHOLDS, Code, Doubt, row_doubts
from bench.spec import called
from bench.store.ledger import Stored
from bench.store.record import BASE, BASE_CHAT, Record
from bench.store.scores import METRIC, Floats, aligned, series, units
from bench.store.sides import Slot, newest

#: Rows that a tuned model is held against; a reference row is not trained.
REFERENCES = (BASE, BASE_CHAT, "copy", "nearest")
#: The chance that a smaller difference than the rows' own would come out by luck alone.
ALPHA = 0.05


@dataclass(frozen=True)
class _Scores:
    """A model's seeds under one scale and contract, with row -> scores (seeds, examples)."""

    model: str
    seeds: tuple[int, ...]
    scores: dict[str, Floats]
    groups: tuple[str, ...]

    @property
    def tuned(self) -> Floats:
        return self.scores["tuned"]


def doubts(stored: Iterable[Stored], metric: str = METRIC) -> tuple[Doubt, ...]:
    """Every doubt about these records, the newest of each run."""
    tables: dict[tuple[str, object], list[tuple[Slot, list[Stored]]]] = defaultdict(list)
    for slot, seeds in newest(stored).items():
        runs = [run for _, run in sorted(seeds.items()) if isinstance(run, Stored)]
        tables[slot[1], slot[2]].append((slot, runs))
    raised: list[Doubt] = []
    for members in tables.values():
        for _, runs in members:
            raised += row_doubts([run.record for run in runs])
        raised += table_doubts({slot[0]: runs for slot, runs in members}, metric)
    return tuple(dict.fromkeys(raised))


def table_doubts(rows: dict[str, list[Stored]], metric: str = METRIC) -> list[Doubt]:
    """The doubts about one table, model -> its runs, beyond those of each row alone."""
    raised: list[Doubt] = []
    for first in [runs[0].record for runs in rows.values()][:1]:
        raised += _overlap(first)
    raised += _unequal({model: [run.record for run in runs] for model, runs in rows.items()})
    scored = [scores for model, runs in rows.items() if (scores := _read(model, runs, metric))]
    raised += _leak([runs[0].record for runs in rows.values()], scored, metric)
    effects = _training_noise(scored)
    for row in scored:
        raised += _against_references(row, effects, metric)
    raised += _too_few_examples(scored, effects, metric)
    return raised


def clearly_above(rows: dict[str, list[Stored]], reference: str, metric: str = METRIC) -> set[str]:
    """The models of a table that are better than a reference row by a paired test."""
    scored = [scores for model, runs in rows.items() if (scores := _read(model, runs, metric))]
    effects = _training_noise(scored)
    results = {row.model: _against(row, reference, effects) for row in scored}
    return {
        model
        for model, result in results.items()
        if result is not None and result.p <= ALPHA and result.interval.mean > 0
    }


def _overlap(record: Record) -> Iterator[Doubt]:
    """Test questions that were also among the training rows, by the reasons that preparation counted."""
    contract = record.run.contract
    names = " and ".join(dict.fromkeys((contract.train.name, contract.eval.name)))
    for name, counts in (*record.data.prepared.items(), (names, record.data.selected)):
        parts = tuple(
            (reason, rows)
            for reason, rows in counts.items()
            if rows and any(part in reason for part in ("held-out part", "test part"))
        )
        if parts:
            yield Doubt(Code.OVERLAP, count=sum(rows for _, rows in parts), names=(name,), parts=parts)


def _unequal(rows: dict[str, list[Record]]) -> Iterator[Doubt]:
    """Recipes that were tuned in unequally many trials, and records of unlike machines."""
    first = {model: records[0].run for model, records in rows.items()}
    trials = tuple((called(model, run.scale), run.tuned_in or 0) for model, run in first.items())
    if len({count for _, count in trials}) > 1:
        yield Doubt(Code.UNEQUAL_EFFORT, parts=trials)
    origins = [record.provenance for records in rows.values() for record in records]
    places = dict.fromkeys(origin.machine for origin in origins)
    if len(places) > 1:
        yield Doubt(Code.MIXED_HARDWARE, names=tuple(places))


def _leak(records: Sequence[Record], rows: Sequence[_Scores], metric: str) -> Iterator[Doubt]:
    """Test questions whose answer stands among the training answers, by the score of the nearest one.

    All rows of a table share the reference rows, so that the first that has them speaks for all.
    """
    if not records or not metric.startswith("rouge") or records[0].data.reference_words < LEAKED_WORDS:
        return
    nearest = next((row.scores["nearest"][0] for row in rows if "nearest" in row.scores), None)
    if nearest is None:
        return
    leaked = int((nearest >= LEAKED_SCORE).sum())
    if leaked > THRESHOLDS[Code.LEAK] * len(nearest):
        name = records[0].run.contract.train.name
        values = float(nearest.mean()), LEAKED_SCORE
        yield Doubt(Code.LEAK, count=leaked, total=len(nearest), names=(name,), metric=metric, values=values)


def _read(model: str, runs: Sequence[Stored], metric: str) -> _Scores | None:
    scores: dict[str, Floats] = {}
    groups: tuple[str, ...] = ()
    references = [row for row in REFERENCES if row not in (BASE, BASE_CHAT) or runs[0].record.run.trained]
    for row in ("tuned", *references):
        try:
            scores[row], ids, labels = aligned([series(run, (metric,), row) for run in runs], metric)
        except (RecordError, UnknownName):
            continue
        groups = tuple(map(str, units(ids, labels)))
    seeds = tuple(run.record.run.seed for run in runs)
    return _Scores(model, seeds, scores, groups) if "tuned" in scores and groups else None


def _training_noise(rows: Sequence[_Scores]) -> stats.SeedEffects | None:
    """Training noise of one run, pooled over the models of a table that share their examples."""
    several = [row for row in rows if len(row.tuned) > 1 and row.groups == rows[0].groups]
    if not several or len(set(rows[0].groups)) < 2:
        return None
    tables = [row.tuned for row in several]
    return stats.seed_effects(tables, np.asarray(rows[0].groups), _common(several))


def _common(rows: Sequence[_Scores]) -> bool:
    """Whether all rows of several seeds ran the same ones."""
    seeds = [row.seeds for row in rows if len(row.seeds) > 1]
    return len(seeds) > 1 and len(set(seeds)) == 1


def _against(row: _Scores, name: str, effects: stats.SeedEffects | None) -> stats.PairedDifference | None:
    """A row against one of its reference rows, which no training moves; none where that cannot be read."""
    if name not in row.scores or row.scores[name].shape != row.tuned.shape:
        return None
    groups, half = np.asarray(row.groups), None
    noise = stats.noise_of_row(row.tuned, effects.total if effects else None, groups)
    if noise:
        half = stats.Noise(noise.variance / 2, noise.spread / 2)  # `compare` adds that of two sides
    return stats.compare(row.scores[name], row.tuned, groups=groups, noise=half)


def _against_references(row: _Scores, effects: stats.SeedEffects | None, metric: str) -> Iterator[Doubt]:
    for name in REFERENCES:
        result = _against(row, name, effects)
        if result is None:
            continue
        if result.p > ALPHA:
            code = Code.EQUALS_REFERENCE
        elif result.interval.mean < 0:
            code = Code.BELOW_REFERENCE
        else:
            continue
        values = float(row.tuned.mean()), float(row.scores[name].mean())
        yield Doubt(code, row.model, names=(name,), metric=metric, values=values, difference=result.interval)


def _too_few_examples(
    rows: Sequence[_Scores], effects: stats.SeedEffects | None, metric: str
) -> Iterator[Doubt]:
    """Neighbours on the board that are nearer to each other than these test examples can show.

    Neighbours whose ranks the board tells apart are shown to differ, however near they are.
    """
    ordered = sorted(rows, key=lambda row: -float(row.tuned.mean()))
    if not ordered or any(row.groups != ordered[0].groups for row in ordered):
        return
    groups, noise = np.asarray(ordered[0].groups), effects.own if effects else None
    ranks = stats.rank_ranges([row.tuned for row in ordered], groups, common=_common(ordered))
    gaps, detectable, hidden = [], [], 0
    for place, (better, worse) in enumerate(pairwise(ordered)):
        result = stats.compare(better.tuned, worse.tuned, groups=groups, noise=noise)
        gaps.append(abs(result.interval.mean))
        detectable.append(result.smallest_detectable())
        apart = ranks[place][1] < ranks[place + 1][0]
        hidden += not apart and gaps[-1] < detectable[-1]
    if hidden:
        yield Doubt(
            Code.FEW_EXAMPLES,
            count=hidden,
            total=len(gaps),
            parts=(("test examples", len(groups)),),
            metric=metric,
            values=(median(gaps), median(detectable)),
        )
