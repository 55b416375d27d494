"""A side: a named set of records and failures, and the newest run of each row in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.digest import digest
from bench.errors import Incomparable
from bench.run.identity import Run
from bench.spec import Contract, Scale
from bench.store.ledger import Stored
from bench.store.record import Failure, LeftOut

#: One row of a table: model, scale, contract.
Slot = tuple[str, str, Contract]
Runs = dict[Slot, dict[int, "Stored | Failure"]]


@dataclass(frozen=True)
class Side:
    """One of the two sets that are compared; `messages` tell what could not be read."""

    name: str
    records: tuple[Stored, ...]
    failures: tuple[Failure, ...] = ()
    messages: tuple[str, ...] = ()
    #: Of a baseline: beginnings of the digests of all records that were there when it was saved.
    known: frozenset[str] = frozenset()


def moment(run: Stored | Failure) -> datetime:
    """When a run finished or died."""
    text = run.when if isinstance(run, Failure) else run.record.provenance.finished
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def trial_of(run: Stored | Failure) -> tuple[str, ...]:
    """What `--with` asked for; empty for a run under the installed versions."""
    return run.trial if isinstance(run, Failure) else run.record.provenance.trial


def setting(run: Run) -> str:
    """A digest of all that tells the runs of one model and contract apart, but for the seed."""
    return digest(
        [
            run.model_dump(mode="json", exclude={"model", "checkpoint", "scale", "contract", "seed"}),
            run.checkpoint.revision,
            run.template,
        ]
    )


def slot(run: Stored | Failure) -> Slot:
    """The row that a run belongs to."""
    planned = run.run if isinstance(run, Failure) else run.record.run
    return planned.name, planned.scale, planned.contract


def newest(runs: Iterable[Stored | Failure]) -> Runs:
    """Row -> seed -> the run that finished or died last."""
    rows: Runs = defaultdict(dict)
    for run in runs:
        seed = (run.run if isinstance(run, Failure) else run.record.run).seed
        seeds = rows[slot(run)]
        if seed not in seeds or moment(seeds[seed]) <= moment(run):
            seeds[seed] = run
    return dict(rows)


def side_of(
    name: str, records: Iterable[Stored], failures: Iterable[Failure], messages: Iterable[str]
) -> Side:
    """A side that holds something. Raises `Incomparable` where nothing could be read."""
    messages = list(messages)
    side = Side(name, tuple(records), tuple(failures), tuple(messages))
    if not side.records and not side.failures:
        why = f": {messages[0]}" if messages else ""
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        raise Incomparable(f"'{name}' holds no record that can be read{why}{more}")
    return side


def still_failed(died: Sequence[Failure], newest: Mapping[str, Sequence[Stored]]) -> tuple[Failure, ...]:
    """Failures that no later success of the same model and seed has made good."""
    done = {
        (model, stored.record.run.seed): stored.record.provenance.finished
        for model, runs in newest.items()
        for stored in runs
    }
    return tuple(
        failure for failure in died if done.get((failure.run.name, failure.run.seed), "") < failure.when
    )


def absent(
    left_out: Sequence[LeftOut], contract: str, scale: Scale, rows: Collection[str]
) -> tuple[LeftOut, ...]:
    """Models that were left out of a contract (its digest) at a scale and have no row there all the same."""
    return tuple(
        model
        for model in left_out
        if (model.contract, model.scale) == (contract, scale) and model.model not in rows
    )
