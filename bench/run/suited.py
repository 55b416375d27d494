"""Which models can be trained on what a contract trains on, and how one that cannot run is told.

A sequence to sequence model learns to write one text from another, so text alone teaches it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from bench.errors import Gated, NotEnough, RequestError, Unreachable, UnsafeRequest, Unsuited
from bench.spec import Contract, ModelSpec, Scale
from bench.store.record import LeftOut

#: In this order: the first that an error is of.
WHY: dict[type[Exception], Literal["gated", "out of reach", "too large", "refused", "unsuited"]] = {
    Gated: "gated",
    Unreachable: "out of reach",
    NotEnough: "too large",
    UnsafeRequest: "refused",
    Unsuited: "unsuited",
}


def suited(
    models: Sequence[tuple[ModelSpec, Scale]], contract: Contract, by_name: bool
) -> tuple[list[tuple[ModelSpec, Scale]], list[LeftOut]]:
    """The models that can be trained on what the contract trains on, and the others with the reason.

    Raises `Unsuited` for one that was asked for by name.
    """
    kept: list[tuple[ModelSpec, Scale]] = []
    left_out: list[LeftOut] = []
    for spec, scale in models:
        if contract.loss == "answer" or spec.objective == "causal":
            kept.append((spec, scale))
            continue
        error = Unsuited(
            f"model '{spec.name}' writes one text from another, and '{contract.train.name}' is text alone, "
            "trained on whole; use causal models, or question-answer pairs: bench data make"
        )
        if by_name:
            raise error
        left_out.append(left_out_for(spec, scale, contract, error))
    return kept, left_out


def left_out_for(spec: ModelSpec, scale: Scale, contract: Contract, error: RequestError) -> LeftOut:
    """What is kept of a model that cannot run, for an error of a kind in `WHY`."""
    return LeftOut(
        model=spec.name,
        scale=scale,
        contract=contract.digest,
        why=next(why for kind, why in WHY.items() if isinstance(error, kind)),
        reason=str(error),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )
