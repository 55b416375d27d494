"""Which trainer fits a model, with arguments that are the same for all, and a check of the spending.

`Seq2SeqTrainer` for encoder-decoders, TRL's `SFTTrainer` for causal models (patched by Unsloth
where that loaded the model). Every default of the two that could differ between versions is
pinned here. Examples arrive encoded and in the contract's order, so no trainer tokenizes,
shuffles, packs or truncates anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed

from bench.errors import BudgetMismatch, LossMisplaced, NotFinite
from bench.run.identity import Run
from bench.train import checkpoints, distributed
from bench.train.encoded import IGNORED, Encoded
from bench.train.load import Loaded
from bench.train.meter import Meter, metered
from bench.train.numerics import keep_trained_weights_in_float32, optimizer, precision, types
from datasets import Dataset


@dataclass(frozen=True)
class Fitted:
    """What training left beside the model, which was changed in place."""

    meter: Meter
    flops: float
    #: None where nothing was trained.
    final_loss: float | None


def fit(
    run: Run,
    loaded: Loaded,
    examples: Sequence[Encoded],
    folder: Path,
    report: Callable[[int, int, float], None],
    checkpoint_every: int = 200,
    trackers: Sequence[str] = (),
    validation: Sequence[Encoded] = (),
) -> Fitted:
    """Train on the examples, once each and in order; resumes from the newest whole checkpoint in `folder`.

    The loss on `validation` is followed; nothing depends on it.

    Raises `LossMisplaced` where the labels are not what the contract says, end token included,
    `BudgetMismatch` where the spending differs from it, `NotFinite` for a loss that is NaN or infinite.
    """
    check_supervision(run, loaded.tokenizer.eos_token_id, examples)
    meter = Meter(report, run.recipe.devices)
    set_seed(run.seed)
    dtype = precision(run)
    shared = arguments(run, folder, checkpoint_every, trackers, dtype)
    trainer = _trainer(run, loaded, examples, shared, meter, validation)
    if dtype is torch.float16:
        keep_trained_weights_in_float32(loaded.model)
    loaded.backend = loaded.backend.model_copy(update=types(loaded.model, loaded.adapter)._asdict())
    resumed = checkpoints.newest_whole(folder, run.contract.budget.effective_batch)
    if resumed:
        meter.resume(resumed[1])
    trainer.args.eval_on_start = resumed is None
    result = trainer.train(resume_from_checkpoint=str(resumed[0]) if resumed else None)
    meter.gather()
    check_spending(run, meter, trainer.state.global_step)
    losses = [point["loss"] for point in meter.curve if "loss" in point]
    last = losses[-1] if losses else float(result.training_loss)
    if last != last:
        raise NotFinite("loss became NaN")
    return Fitted(meter=meter, flops=float(trainer.state.total_flos), final_loss=last)


def check_supervision(run: Run, end: int, examples: Sequence[Encoded]) -> None:
    """Refuse labels that are shifted, cover the prompt, or leave the end token or any of a text out."""
    if run.contract.loss == "text" and run.model.objective != "causal":
        raise LossMisplaced("a sequence to sequence model has no loss on all tokens of a text")
    for number, example in enumerate(examples):
        labels = example.labels
        if run.model.objective == "causal":
            pairs = zip(example.input_ids, labels, strict=True)
            if any(label not in (IGNORED, token) for token, label in pairs):
                raise LossMisplaced(f"example {number}: labels are not the tokens at their own places")
            if labels[0] != IGNORED:
                raise LossMisplaced(f"example {number}: the loss falls on the prompt too")
            if run.contract.loss == "text" and IGNORED in labels[1:]:
                raise LossMisplaced(f"example {number}: tokens of the text have no loss")
        if labels[-1] != end and not example.truncated:
            raise LossMisplaced(f"example {number}: the answer's end token has no loss")


def check_spending(run: Run, meter: Meter, steps: int) -> None:
    """Refuse a run that did not see what its contract says."""
    budget = run.contract.budget
    spent = {"optimizer steps": (steps, budget.steps), "examples": (meter.examples, budget.examples)}
    for what, (real, promised) in spent.items():
        if real != promised:
            raise BudgetMismatch(f"spent {real} {what} where the budget {budget} says {promised}")


def honours_token_count(model: Any, collator: Any, examples: Sequence[Encoded]) -> bool:
    """Whether the model's own loss is divided by the number of tokens that it is told.

    Asked of the model itself: some forwards accept the count and ignore it (BART in
    transformers 5.17), and their losses would then grow with the number of micro-batches.
    """
    batch = {k: v.to(model.device) for k, v in collator([e.features for e in examples]).items()}
    count = int((batch["labels"] != IGNORED).sum())
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            once, twice = (
                float(model(**batch, num_items_in_batch=torch.tensor(n, device=model.device)).loss)
                for n in (count, 2 * count)
            )
    except TypeError:  # a forward that takes no such argument
        return False
    finally:
        model.train(training)
    return abs(twice - once / 2) < 0.01 * abs(once)


def token_mean_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Cross-entropy per supervised token over the whole effective batch.

    For architectures whose own loss ignores how many tokens the effective batch holds
    (transformers#34191): micro-batches with few answer tokens would weigh too much, or losses add up.
    `labels` (rows, length) are already shifted for encoder-decoders and not for causal models.
    """
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
    if not _is_encoder_decoder(outputs):
        logits, labels = logits[:, :-1], labels[:, 1:]
    total = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(),
        labels.reshape(-1).to(logits.device),
        ignore_index=IGNORED,
        reduction="sum",
    )
    return total / (num_items_in_batch if num_items_in_batch is not None else (labels != IGNORED).sum())


def _is_encoder_decoder(outputs: Any) -> bool:
    return "encoder_last_hidden_state" in outputs


def arguments(
    run: Run, folder: Path, checkpoint_every: int, trackers: Sequence[str], dtype: torch.dtype
) -> dict[str, Any]:
    """What every trainer is given; each default that could differ between libraries is pinned."""
    recipe, budget = run.recipe, run.contract.budget
    return {
        "output_dir": str(folder),
        "max_steps": budget.steps,
        "per_device_train_batch_size": recipe.micro_batch,
        "gradient_accumulation_steps": run.accumulation,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": round(recipe.warmup * budget.steps),
        "weight_decay": recipe.weight_decay,
        "optim": optimizer(run)[0],
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "max_grad_norm": recipe.max_grad_norm,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "bf16": dtype is torch.bfloat16,
        "fp16": dtype is torch.float16,  # with loss scaling
        "seed": run.seed,
        "data_seed": run.seed,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": run.device == "cuda",
        "remove_unused_columns": False,
        "use_cpu": run.device == "cpu",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": list(trackers) or "none",
        "run_name": run.id,
        "save_strategy": "steps" if budget.steps > checkpoint_every else "no",
        "save_steps": checkpoint_every,
        "save_total_limit": None,  # `checkpoints.mark` removes the older ones once the newest is whole
        **distributed.arguments(run),
    }


def _trainer(
    run: Run,
    loaded: Loaded,
    examples: Sequence[Encoded],
    shared: dict[str, Any],
    meter: Meter,
    validation: Sequence[Encoded],
) -> Any:
    seq2seq = run.model.objective == "seq2seq"
    collator = DataCollatorForSeq2Seq(
        loaded.tokenizer, model=loaded.model if seq2seq else None, label_pad_token_id=IGNORED
    )
    size = 2 * run.recipe.micro_batch  # no activations are kept for gradients, so these fit
    by_length = sorted(validation, key=lambda example: len(example.input_ids))
    batches = [
        collator([example.features for example in by_length[start : start + size]])
        for start in range(0, len(by_length), size)
    ]
    parts = {
        "model": loaded.model,
        "train_dataset": Dataset.from_list([example.features for example in examples]),
        "data_collator": collator,
        "processing_class": loaded.tokenizer,
        "callbacks": [meter],
    }
    if seq2seq:
        trainer = metered(Seq2SeqTrainer, meter, batches)(args=Seq2SeqTrainingArguments(**shared), **parts)
    else:
        from trl import SFTConfig, SFTTrainer  # after Unsloth, which replaces both when it is imported

        config = SFTConfig(
            **shared,
            max_length=run.contract.max_length,
            packing=False,
            loss_type="nll",
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = metered(SFTTrainer, meter, batches)(args=config, **parts)
    if loaded.backend.name != "unsloth" and not honours_token_count(loaded.model, collator, examples[:2]):
        trainer.compute_loss_func = token_mean_loss
    return trainer
