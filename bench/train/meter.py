"""What a training run really spends, and the curve that it leaves.

The counts are taken from the batches that reach the model, not derived from the budget, so a
trainer that drops the last batch, skips a step or pads differently is seen. A loss that is not
finite stops the run at once.

The curve has two lines: the training loss of every step, and the loss on a few validation examples
before the first step and at `EVALUATIONS` equal distances after it. The second is the same mean over
supervised tokens for every architecture and trainer, which their own evaluation loops are not (they
average over batches). It is measured apart: its seconds and tokens are no part of what training
spent, it draws no random number, and nothing is chosen by it. So that it costs little beside training, a
small budget follows fewer examples (`affordable`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback

from bench.errors import NotFinite
from bench.spec import Budget
from bench.train import checkpoints, distributed
from bench.train.encoded import IGNORED

#: How often the validation loss is taken, beside once before training.
EVALUATIONS = 6
#: What following the validation loss may cost, of what training costs.
SHARE = 0.03
#: Validation examples that the smallest budget follows.
FEWEST = 4
#: The counts that a checkpoint holds.
KEPT = (
    "examples",
    "supervised_tokens",
    "total_tokens",
    "steps",
    "curve",
    "validation_seconds",
    "seconds",
)
#: One collated micro-batch: `input_ids`, `attention_mask` and `labels`, each (rows, length).
Batch = Mapping[str, torch.Tensor]


class Meter(TrainerCallback):  # type: ignore[misc]
    """Counts examples and tokens, keeps the curve, and reports each step.

    `report(step, steps, loss)` is called after every optimizer step.
    """

    def __init__(self, report: Callable[[int, int, float], None], devices: int = 1) -> None:
        self.report = report
        #: Processes that take equal shares of every step; this one sees its own share alone.
        self.devices = devices
        self.examples = 0
        self.supervised_tokens = 0
        self.total_tokens = 0
        self.steps = 0
        self.curve: list[dict[str, float]] = []
        self.validation_seconds = 0.0
        #: Wall-clock seconds of the training loop up to the checkpoint that it was resumed from.
        self.earlier_seconds = 0.0
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the training loop so far, of earlier tries up to their checkpoint too."""
        return self.earlier_seconds + time.perf_counter() - self._began

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of this try."""
        self._began = time.perf_counter()

    def count(self, batch: dict[str, Any]) -> None:
        """Add one micro-batch: `labels` (rows, length) and `attention_mask` (rows, length)."""
        labels = batch["labels"]
        self.examples += labels.shape[0] * self.devices
        self.supervised_tokens += int((labels != IGNORED).sum())
        self.total_tokens += int(batch["attention_mask"].sum())

    def gather(self) -> None:
        """Count the tokens of all processes that shared the run; each has counted its own."""
        if self.devices > 1:
            counts = distributed.total(self.supervised_tokens, self.total_tokens)
            self.supervised_tokens, self.total_tokens = counts

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Follow the trainer's own count of optimizer steps, and ask for the validation loss where due."""
        self.steps = state.global_step
        control.should_evaluate = state.global_step in evaluation_points(state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Keep one point of the curve. Raises `NotFinite`."""
        logs = logs or {}
        for name, label in (("eval_loss", "validation loss"), ("loss", "loss")):
            if not math.isfinite(float(logs.get(name, 0.0))):
                raise NotFinite(
                    f"{label} became {logs[name]} at step {state.global_step} of {state.max_steps}"
                )
        if "eval_loss" in logs:
            self.curve.append(
                {"step": state.global_step, "examples": self.examples, "eval_loss": logs["eval_loss"]}
            )
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
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
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        checkpoints.mark(checkpoint, {name: getattr(self, name) for name in KEPT})

    def resume(self, counts: Mapping[str, Any]) -> None:
        """Take up the counts that a checkpoint holds."""
        for name in KEPT:
            setattr(self, "earlier_seconds" if name == "seconds" else name, counts[name])


def evaluation_points(steps: int) -> set[int]:
    """The optimizer steps after which the validation loss is taken; the last is among them."""
    return {max(1, round(steps * point / EVALUATIONS)) for point in range(1, EVALUATIONS + 1)}


def affordable(budget: Budget) -> int:
    """How many validation examples may be looked at each time, within `SHARE` of training's cost.

    Training an adapter on an example costs at least two forward passes: one forward, and one backward that
    passes through all weights and computes gradients of few.
    """
    looks = 1 + len(evaluation_points(budget.steps))
    return max(FEWEST, int(SHARE * 2 * budget.examples / looks))


def mean_loss(model: Any, batches: Sequence[Batch]) -> float:
    """Cross-entropy in nats per supervised token over all batches, in the model's inference mode."""
    total, tokens = 0.0, 0
    training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            inputs = {name: value.to(model.device) for name, value in batch.items()}
            count = int((batch["labels"] != IGNORED).sum())
            total += float(model(**inputs).loss) * count  # a model's own loss is the mean of one batch
            tokens += count
    model.train(training)
    return total / tokens


def metered(trainer: type, meter: Meter, validation: Sequence[Batch] = ()) -> type:
    """The trainer class, taking examples in the contract's order and passing each batch to the meter.

    Its evaluation is the mean loss on the validation batches; trackers receive it too.
    """

    class Metered(trainer):  # type: ignore[misc]
        control: Any

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

        def training_step(
            self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any
        ) -> torch.Tensor:
            meter.count(inputs)
            return super().training_step(model, inputs, *args, **kwargs)

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            if not validation:
                return {}
            began = time.perf_counter()
            with self.compute_loss_context_manager():
                metrics = {"eval_loss": mean_loss(self.model, validation)}
            meter.validation_seconds += time.perf_counter() - began
            self.log(metrics)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

    Metered.__name__ = trainer.__name__
    return Metered
