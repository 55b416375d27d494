"""Pretraining of one twin: optimizers, schedule, checkpoints.

Owns how a twin learns: Muon on the inner matrices and AdamW on the rest (0.3 nats less
loss at equal tokens than AdamW alone), bfloat16 arithmetic over float32 weights, a rate that holds
and then falls, and `torch.compile` where a C++ compiler is there. All families see the same number of tokens.

An interrupted pretraining goes on from its last checkpoint and gives the same weights as one
that was not interrupted. Not here: what is read (`corpus`, `batches`) and what is written (`build`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench.twins.batches import Batch, batches
from bench.twins.corpus import Document
from bench.twins.guidance import guide
from bench.twins.loss import validation, weighted_loss

MUON_RATE, ADAM_RATE = 5e-3, 3e-3
#: Steps of warm-up, share of the tokens after which the rate falls in a line, and the share of
#: the peak that it falls to. Until the fall begins, nothing depends on how many tokens are planned.
WARMUP, HOLD, LAST = 100, 0.6, 0.03
#: The validation loss is taken every so many tokens, and at the end.
CHECK = 600_000


@dataclass
class Progress:
    """How far a pretraining is; what a checkpoint keeps beside the weights."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    #: (tokens seen, loss on all tokens, loss on the answers' tokens)
    curve: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What to spend, and where to keep a checkpoint."""

    tokens: int
    seed: int
    checkpoint: Path | None = None
    checkpoint_seconds: float = 240.0
    compile: bool = True


def pretrain(
    model: PreTrainedModel,
    train: Sequence[Document],
    held_out: Sequence[Document],
    plan: Plan,
    say: Callable[[str], None],
    at_check: Callable[[PreTrainedModel, Progress], None] = lambda model, progress: None,
) -> Progress:
    """Trains `model` in place until `plan.tokens` are seen; `at_check` is called after each check."""
    progress, chosen = Progress(), optimizers(model)
    if plan.checkpoint is not None and plan.checkpoint.is_file():
        progress = _resume(plan.checkpoint, model, chosen)
        say(f"goes on from {progress.tokens:,} tokens")
    else:

        def step(loss: Tensor, rate: float) -> None:
            loss.backward()
            update(model, chosen, rate)

        began = time.monotonic()
        progress.tokens = guide(model, train, plan.seed, step, say)
        progress.seconds = time.monotonic() - began
    stream = batches(model.config, train, plan.seed)
    for _ in range(progress.step):
        next(stream)
    if plan.compile:
        _compile(model)
    started = kept = time.monotonic()
    before = progress.seconds
    while progress.tokens < plan.tokens:
        rate = _rate(progress, plan)
        micro = next(stream)
        loss = accumulate(model, micro)
        update(model, chosen, rate)
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss is {loss} at step {progress.step}")
        past = progress.tokens // CHECK
        progress.step += 1
        progress.tokens += sum(batch.tokens for batch in micro)
        now = time.monotonic()
        progress.seconds = before + now - started
        if progress.step % 25 == 0:
            say(f"step {progress.step} tokens {progress.tokens:,} rate {rate:.3f} loss {loss:.3f} "
                f"{progress.seconds:.0f} s")  # fmt: skip
        if progress.tokens // CHECK > past or progress.tokens >= plan.tokens:
            losses = validation(model, held_out)
            progress.curve.append((progress.tokens, losses["all"], losses["answer"]))
            say(f"validation at {progress.tokens:,}: {losses['all']:.4f}, answers {losses['answer']:.4f}")
            at_check(model, progress)
        if plan.checkpoint is not None and now - kept > plan.checkpoint_seconds:
            _keep(plan.checkpoint, model, chosen, progress)
            kept = now
    return progress


def accumulate(model: PreTrainedModel, micro: Sequence[Batch]) -> float:
    """Adds the gradient of one step's micro-batches; returns their mean weighted loss."""
    share = sum(float(batch.weight.sum()) for batch in micro)
    total = 0.0
    body, head = model.base_model, model.get_output_embeddings()
    for batch in micro:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = body(**batch.inputs, use_cache=False).last_hidden_state.bfloat16()
            loss = weighted_loss(hidden, head, batch.target, batch.weight / share)
        loss.backward()
        total += float(loss.detach())
    return total


def update(model: PreTrainedModel, optimizers: Sequence[Any], rate: float) -> None:
    """One step at a share of the peak rates, and gradients at zero again."""
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _rate(progress: Progress, plan: Plan) -> float:
    """Share of the peak learning rate: a short rise, level for `HOLD` of the tokens, then down to `LAST`."""
    fall = max(0.0, (min(1.0, progress.tokens / plan.tokens) - HOLD) / (1 - HOLD))
    return (1 - (1 - LAST) * fall) * min(1.0, (progress.step + 1) / WARMUP)


def optimizers(model: PreTrainedModel) -> list[Any]:
    """Muon for the inner matrices, AdamW for all else; a group's `peak` is its highest rate."""
    outer = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    outer.add(id(model.get_output_embeddings().weight))
    inner = [p for p in model.parameters() if p.ndim == 2 and id(p) not in outer]
    chosen = set(map(id, inner))
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(
            [{"params": inner, "peak": MUON_RATE}], lr=MUON_RATE, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(
            [{"params": rest, "peak": ADAM_RATE}],
            lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True,
        ),
    ]  # fmt: skip


def _compile(model: PreTrainedModel) -> None:
    """Compiles one layer, whose code the others share: a minute less than the whole model takes."""
    if model.config.is_encoder_decoder:
        return  # its batches have too many shapes for static graphs to pay
    for module in model.base_model.children():
        for layer in module if isinstance(module, nn.ModuleList) else ():
            layer.compile(dynamic=False)


def _keep(file: Path, model: PreTrainedModel, optimizers: Sequence[Any], progress: Progress) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".tmp")
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": states, "progress": vars(progress)}, fresh)
    fresh.replace(file)


def _resume(file: Path, model: PreTrainedModel, optimizers: Sequence[Any]) -> Progress:
    states = torch.load(file, weights_only=True)
    model.load_state_dict(states["model"])
    for optimizer, state in zip(optimizers, states["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    return Progress(**states["progress"])
