"""Metrics that were added to a record after it was sealed: `metrics.json` beside it, and how it is read.

A record is immutable, so what `bench score` computes from its answers is a file of its own. It carries the
digest of the completions that were scored and a digest of itself: scores of edited completions, or of another
record's, are refused. Every metric's name is its identity: short name, version and all that its values depend
on, as in `chrf/2.6.0 nrefs:var|case:mixed|...`. A short name stands for it where there is one such identity.

An example may have no value (a judge that gave no verdict): it is null, and is left out of means and pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, nan

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import RecordError, RequestError, UnknownName
from bench.store import sealed
from bench.store.ledger import Stored
from bench.store.record import COMPLETIONS

FILE = "metrics.json"
#: Short name -> which side is better: 1 more, -1 less, 0 neither. What is not named here is better when more.
DIRECTION = {"em": 1, "f1": 1, "chrf": 1, "length": 0, "runon": -1, "cut": -1, "similarity": 1, "judge": 1}


class AddedColumn(BaseModel):
    """One metric of one row of a record: a value for each example, in the order of the record's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    f: list[float | None]
    #: Precision and recall, where the metric has them; else empty.
    p: list[float | None] = Field(default_factory=list)
    r: list[float | None] = Field(default_factory=list)
    #: Why examples have no value -> how many.
    unscored: dict[str, int] = Field(default_factory=dict)


#: Identity of a metric -> row ("tuned", "base" ...) -> its values.
Added = dict[str, dict[str, AddedColumn]]


class _Content(sealed.Sealed):
    #: SHA-256 of the record's completions.
    completions: str
    metrics: Added


def short(identity: str) -> str:
    """The short name of a metric: all before its version."""
    return identity.partition("/")[0]


def direction(metric: str) -> int:
    """Which side of a metric is better: 1 more, -1 less, 0 neither."""
    return DIRECTION.get(short(metric), 1)


def added(stored: Stored) -> Added:
    """The metrics that were added to a record; empty where there are none.

    Raises `RecordError` where the file was edited, or scores other completions than the record's.
    """
    file = stored.folder / FILE
    content = sealed.read(file, _Content, "a file of metrics")
    if content is None:
        return {}
    stored.part(COMPLETIONS)
    if (content.record, content.completions) != (stored.record.id, stored.record.files[COMPLETIONS]):
        raise RecordError(f"{file}: scores other answers than this record's; run bench score again")
    expected = stored.record.written["tuned"].examples
    columns = [column for rows in content.metrics.values() for column in rows.values()]
    if any(len(values) not in (0, expected) for c in columns for values in (c.p, c.r)) or any(
        len(column.f) != expected for column in columns
    ):
        raise RecordError(f"{file}: its lists have different lengths; {sealed.AGAIN}")
    if stranger := next((name for name in content.metrics if short(name) not in DIRECTION), None):
        raise RecordError(f"{file}: holds a metric that this program does not know: '{stranger[:60]}'")
    return content.metrics


def add(stored: Stored, metrics: Added) -> None:
    """Keep metrics beside a record, with those that are there; equal names are replaced.

    A file that cannot be trusted is written anew.
    """
    try:
        before = added(stored)
    except RecordError:
        before = {}
    content = _Content(
        record=stored.record.id,
        completions=stored.record.files[COMPLETIONS],
        metrics=before | metrics,
    )
    sealed.write(stored.folder / FILE, content)


def column(stored: Stored, metric: str, row: str) -> list[float]:
    """One row's values of an added metric, NaN where an example has none. Raises `RecordError`."""
    rows = added(stored).get(metric)
    if rows is None or row not in rows:
        raise RecordError(
            f"{stored.record.id}: has no metric '{metric}' of '{row}'; "
            f"bench score {stored.record.id} --metrics {short(metric)}"
        )
    values = [nan if value is None else value for value in rows[row].f]
    if not any(map(isfinite, values)):
        raise RecordError(f"{stored.record.id}: no answer of '{row}' has a value of '{metric}'")
    return values


def resolved(metrics: Sequence[str], records: Iterable[Stored]) -> tuple[str, ...]:
    """Metrics by the names that records hold them under: a record's own, or the identity of an added one.

    Raises `UnknownName`, and `RequestError` where a short name stands for several identities or for a metric
    that has to be added first.
    """
    records = list(records)
    own = {metric for stored in records for metric in stored.record.scores.get("tuned", {})}
    if not own or own.issuperset(metrics):
        return tuple(metrics)
    identities = _identities(records)
    return tuple(metric if metric in own else _resolved(metric, own, identities) for metric in metrics)


def _resolved(metric: str, own: Iterable[str], identities: Mapping[str, None]) -> str:
    if metric in identities:
        return metric
    meant = [identity for identity in identities if short(identity) == metric]
    if len(meant) > 1:
        raise RequestError(f"metric '{metric}' has several identities here; name one: {'; '.join(meant)}")
    if not meant and metric in DIRECTION:
        raise RequestError(
            f"metric '{metric}' was added to none of these records; bench score RUN --metrics {metric}"
        )
    if not meant:
        raise UnknownName("metric", metric, {*own, *map(short, identities)})
    return meant[0]


def _identities(records: Iterable[Stored]) -> dict[str, None]:
    """Every metric that was added to one of the records; a damaged file counts for nothing here."""
    found: dict[str, None] = {}
    for stored in records:
        try:
            found.update(dict.fromkeys(added(stored)))
        except RecordError:
            continue
    return found
