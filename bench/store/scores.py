"""Per-example scores of a record as arrays, read sparingly.

`scores.json` holds precision, recall and F of four metrics for four rows; a comparison needs one list of
them. Parsing a whole file of 250 examples takes 8 ms, so 5,000 records would take 40 s; the digest of the
file's bytes is checked, and then only the lists asked for are parsed (0.5 ms). A key can be told from a
value by the colon behind it, which makes the search exact; a layout that it does not expect is parsed whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import RecordError, UnknownName
from bench.store.ledger import Stored
from bench.store.record import SCORES

Floats = NDArray[np.float64]

METRIC = "rougeL"
_DECODER = json.JSONDecoder()
_END_OF_ROW = re.compile(r"\}\s*\}")


@dataclass(frozen=True)
class Series:
    """One row of one record: a score per example for each metric asked for, in the metric's units."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    values: Mapping[str, Floats]


def series(stored: Stored, metrics: Sequence[str] = (METRIC,), row: str = "tuned") -> Series:
    """The F scores of one row: `tuned`, `base`, `copy` or `nearest`.

    Raises `RecordError` for a file that is missing, edited or no scores, `UnknownName` for a metric that the
    record does not hold.
    """
    text = _text(stored)
    try:
        found = _sparing(text, row, metrics) or _whole(text, row, metrics)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{stored.folder / SCORES}: is not a file of scores ({error!r})") from None
    counts = {len(found.ids), len(found.groups), *(values.size for values in found.values.values())}
    if len(counts) > 1 or not found.ids:
        raise RecordError(f"{stored.folder / SCORES}: its lists have different lengths or are empty")
    return found


def aligned(all_series: Sequence[Series], metric: str) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """(records, n) scores on the examples that all share, with those examples' ids and groups.

    The order is the first record's; n may be 0.
    """
    first = all_series[0]
    if all(one.ids == first.ids for one in all_series):
        return np.stack([one.values[metric] for one in all_series]), first.ids, first.groups
    common = set(first.ids).intersection(*(one.ids for one in all_series[1:]))
    kept = [place for place, id in enumerate(first.ids) if id in common]
    ids = tuple(first.ids[place] for place in kept)
    rows = []
    for one in all_series:
        place_of = {id: place for place, id in enumerate(one.ids)}
        rows.append(one.values[metric][[place_of[id] for id in ids]] if ids else np.empty(0))
    return np.stack(rows), ids, tuple(first.groups[place] for place in kept)


def units(ids: Iterable[str], groups: Iterable[str]) -> list[Hashable]:
    """What counts as one witness: the group of paraphrases, or the example where it has none."""
    return [group or id for id, group in zip(ids, groups, strict=True)]


def _text(stored: Stored) -> str:
    file = stored.folder / SCORES
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != stored.record.files.get(SCORES):
        raise RecordError(f"{file}: missing, edited or cut short; run it again")
    return content.decode()


def _key(text: str, key: str, start: int = 0, end: int | None = None) -> int | None:
    """Where the value of the first such key begins."""
    pattern = re.compile(rf'"{re.escape(key)}"\s*:\s*')
    found = pattern.search(text, start, len(text) if end is None else end)
    return found.end() if found else None


def _sparing(text: str, row: str, metrics: Sequence[str]) -> Series | None:
    lists = [_key(text, key) for key in ("ids", "groups")]
    begin = _key(text, "rows")
    begin = _key(text, row, begin) if begin else None
    close = _END_OF_ROW.search(text, begin) if begin else None
    if close is None or begin is None or None in lists:
        return None
    values = {}
    for metric in metrics:
        place = _key(text, metric, begin, close.end())
        place = _key(text, "f", place, close.end()) if place else None
        if place is None:
            return None
        values[metric] = _floats(_DECODER.raw_decode(text, place)[0])
    ids, groups = (tuple(_DECODER.raw_decode(text, place)[0]) for place in lists if place is not None)
    return Series(ids, groups, values)


def _whole(text: str, row: str, metrics: Sequence[str]) -> Series:
    raw: dict[str, Any] = json.loads(text)
    held = raw["rows"][row]
    for metric in metrics:
        if metric not in held:
            raise UnknownName("metric", metric, held)
    return Series(
        tuple(raw["ids"]), tuple(raw["groups"]), {metric: _floats(held[metric]["f"]) for metric in metrics}
    )


def _floats(values: Any) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a score is not finite")
    return array
