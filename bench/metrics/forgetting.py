"""Forgetting: the loss on a fixed text before and after tuning, from a run's stored weights.

The text is a page of plain English on sixteen everyday subjects, written for this project, which no data
set holds (`prose.txt`; its digest is part of the column's name). A model that was tuned on one subject and
lost its English has a higher loss on it. Both sides are loaded as the run loaded them, adapter off and on,
and read one paragraph at a time, so that nothing is padded. The loss is on all tokens of a paragraph but
the first.

Sequence to sequence models write one text from another and have no such loss.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from bench.digest import digest
from bench.errors import RequestError
from bench.store.forgetting import Forgetting, weights_digest
from bench.store.ledger import Stored

NAME = "forgetting"
#: Raised when any value changes.
VERSION = 1
PROSE = Path(__file__).with_name("prose.txt")
DECIMALS = 6


@cache
def paragraphs() -> tuple[str, ...]:
    """The text."""
    return tuple(part.strip() for part in PROSE.read_text(encoding="utf-8").split("\n\n") if part.strip())


def identity() -> str:
    """The column's name."""
    return f"{NAME}/{VERSION} text=prose@{digest(list(paragraphs()))[:8]} nats/token"


def unfit(stored: Stored) -> str:
    """Why a record's model has no such loss; "" where it has."""
    run = stored.record.run
    if not run.trained:
        return f"{stored.record.id}: was not trained, so nothing was forgotten"
    if run.model.objective == "causal":
        return ""
    return f"{stored.record.id}: '{run.name}' writes one text from another and has no loss on text alone"


def measure(stored: Stored, base: Path | None = None) -> Forgetting:
    """The losses of a record's model; `base` says where a local checkpoint lies.

    Raises `RequestError` where the weights were not kept or the checkpoint is out of reach, and for a model
    that is `unfit`.
    """
    if reason := unfit(stored):
        raise RequestError(reason)
    from bench.serve.engine import Engine  # here: loads the libraries

    engine = Engine.load(stored, base, stored.record.provenance.threads)
    try:
        losses = {}
        for side in ("base", "tuned"):
            with engine.on(side) as loaded:
                losses[side] = [_loss(loaded.model, loaded.tokenizer, each) for each in paragraphs()]
    finally:
        engine.close()
    return Forgetting(
        record=stored.record.id,
        weights=weights_digest(stored),
        metric=identity(),
        before=losses["base"],
        after=losses["tuned"],
    )


def _loss(model: Any, tokenizer: Any, text: str) -> float:
    """Cross-entropy in nats a token, of all tokens that have one before them."""
    import torch

    ids = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0, :-1].float()
    return round(float(torch.nn.functional.cross_entropy(logits, ids[0, 1:])), DECIMALS)
