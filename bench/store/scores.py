"""Per-example scores of a record as arrays.

`scores.json` holds precision, recall and F of four metrics for four rows. A board or a comparison over
thousands of records needs a few lists of each, so the file is parsed by `orjson` and only those lists
become arrays.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.errors import RecordError, UnknownName
from bench.store.ledger import Stored
from bench.store.metrics import column
from bench.store.record import SCORES

Floats = NDArray[np.float64]

METRIC = "rougeL"
#: Rows of a record that were generated, and so can be compared; not every record has the last two.
ARMS = ("tuned", "base", "retrieved", "both")


@dataclass(frozen=True)
class Series:
    """One row of one record: a score per example for each metric asked for, in the metric's units."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    values: Mapping[str, Floats]


def series(stored: Stored, metrics: Sequence[str] = (METRIC,), row: str = "tuned") -> Series:
    """The F scores of one row: `tuned`, `base`, `copy` or `nearest`.

    A metric that `bench score` added is named by its identity, and is NaN where an example has no value.
    Raises `RecordError` for a file that is missing, edited or no scores, and for an added metric that the
    record lacks; `UnknownName` for another metric that it does not hold.
    """
    try:
        content = orjson.loads(stored.part(SCORES))
        if row in ARMS and row not in content["rows"]:
            raise RecordError(f"{stored.record.id}: has no arm '{row}'; bench run --arms {row}")
        held = content["rows"][row]
        for metric in metrics:
            if metric not in held and "/" not in metric:
                raise UnknownName("metric", metric, held)
        values = {
            metric: _floats(held[metric]["f"]) if metric in held else np.array(column(stored, metric, row))
            for metric in metrics
        }
        scores = Series(tuple(content["ids"]), tuple(content["groups"]), values)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{stored.folder / SCORES}: is not a file of scores ({error!r})") from None
    counts = {len(scores.ids), len(scores.groups), *(column.size for column in scores.values.values())}
    if len(counts) > 1 or not scores.ids:
        raise RecordError(f"{stored.folder / SCORES}: its lists have different lengths or are empty")
    return scores


def mean_of(stored: Stored, metric: str, row: str = "tuned") -> float | None:
    """A record's own mean of a metric, or that of one that was added; none where it has neither."""
    own = stored.record.scores.get(row, {})
    if metric in own:
        return own[metric].mean
    try:
        return float(np.nanmean(series(stored, (metric,), row).values[metric]))
    except (RecordError, UnknownName):
        return None


def aligned(rows: Sequence[Series], metric: str) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """(records, n) scores on the examples of which all rows have one, with those examples' ids and groups.

    The order is the first row's; n may be 0.
    """
    rows = [_with_values(row, metric) for row in rows]
    first = rows[0]
    if all(row.ids == first.ids for row in rows):
        return np.stack([row.values[metric] for row in rows]), first.ids, first.groups
    common = set(first.ids).intersection(*(row.ids for row in rows[1:]))
    kept = [place for place, id in enumerate(first.ids) if id in common]
    ids = tuple(first.ids[place] for place in kept)
    columns = []
    for row in rows:
        place_of = {id: place for place, id in enumerate(row.ids)}
        columns.append(row.values[metric][[place_of[id] for id in ids]] if ids else np.empty(0))
    return np.stack(columns), ids, tuple(first.groups[place] for place in kept)


def _with_values(row: Series, metric: str) -> Series:
    """The examples that have a value of the metric."""
    held = np.isfinite(row.values[metric])
    if held.all():
        return row
    ids, groups = (tuple(np.array(names)[held].tolist()) for names in (row.ids, row.groups))
    return Series(ids, groups, {metric: row.values[metric][held]})


def units(ids: Iterable[str], groups: Iterable[str]) -> list[Hashable]:
    """The cluster of each example: its group of paraphrases, or itself where it has none."""
    return [group or id for id, group in zip(ids, groups, strict=True)]


def _floats(values: Any) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a score is not finite")
    return array
