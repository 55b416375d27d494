"""Which models have no row in a table: their run died, or they could not be run where all were asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bench.spec import Scale
from bench.store.ledger import Stored
from bench.store.record import Failure, LeftOut


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
