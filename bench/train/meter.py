"""What a training run really spends, and the curve that it leaves.

The counts are taken from the batches that reach the model, not derived from the budget, so a
trainer that drops the last batch, skips a step or pads differently is seen. A loss that is not
finite stops the run at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback

from bench.encode import IGNORED
from bench.errors import NotFinite

STATE = "meter.json"


class Meter(TrainerCallback):  # type: ignore[misc]
    """Counts examples and tokens, keeps the curve, and reports each step.

    `report(step, steps, loss)` is called after every optimizer step.
    """

    def __init__(self, report: Callable[[int, int, float], None]) -> None:
        self.report = report
        self.examples = 0
        self.supervised_tokens = 0
        self.total_tokens = 0
        self.steps = 0
        self.curve: list[dict[str, float]] = []

    def count(self, batch: dict[str, Any]) -> None:
        """Add one micro-batch: `labels` (rows, length) and `attention_mask` (rows, length)."""
        labels = batch["labels"]
        self.examples += labels.shape[0]
        self.supervised_tokens += int((labels != IGNORED).sum())
        self.total_tokens += int(batch["attention_mask"].sum())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Follow the trainer's own count of optimizer steps."""
        self.steps = state.global_step

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Keep one point of the curve. Raises `NotFinite`."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise NotFinite(f"loss became {loss} at step {state.global_step} of {state.max_steps}")
        self.curve.append(
            {
                "step": state.global_step,
                "examples": self.examples,
                "loss": loss,
                "learning_rate": float(logs.get("learning_rate", 0.0)),
                "grad_norm": float(logs.get("grad_norm", 0.0)),
            }
        )
        self.report(state.global_step, state.max_steps, loss)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the counts in the checkpoint, so that a resumed run reports the whole."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        kept = {key: value for key, value in vars(self).items() if key != "report"}
        (folder / STATE).write_text(json.dumps(kept))

    def resume(self, checkpoint: Path) -> None:
        """Take up the counts that a checkpoint holds."""
        for key, value in json.loads((checkpoint / STATE).read_text()).items():
            setattr(self, key, value)


def metered(trainer: type, meter: Meter) -> type:
    """The trainer class, taking examples in the contract's order and telling the meter of each batch."""

    class Metered(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

        def training_step(
            self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any
        ) -> torch.Tensor:
            meter.count(inputs)
            return super().training_step(model, inputs, *args, **kwargs)

    Metered.__name__ = trainer.__name__
    return Metered
