"""The plain scripts that `overhead` holds this program against: trainers as their guides show them.

They do the same run: the same tokens in the same order, steps, batch, adapter, generation batch. Nothing of
`bench` is used but the encoded examples and the run's settings.
"""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from bench.run.identity import Run
from bench.spec import Decoding
from datasets import Dataset

#: What a checkpoint may ship and greedy decoding does without.
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "length_penalty": 1.0,
    "early_stopping": False,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
}


class _InOrder:
    """A trainer that takes the examples as they come."""

    train_dataset: Any

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class CausalInOrder(_InOrder, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer."""


class Seq2SeqInOrder(_InOrder, Seq2SeqTrainer):  # type: ignore[misc]
    """The trainer of encoder-decoders."""


def train(
    folder: Path, run: Run, rows: list[dict[str, list[int]]], tokenizer: Any, out: Path
) -> tuple[Any, float]:
    """A tuned model, and the processor seconds that training took."""
    recipe, seq2seq = run.recipe, run.model.objective == "seq2seq"
    auto = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
    model = auto.from_pretrained(folder, dtype=torch.float32)
    set_seed(run.seed)
    if recipe.method != "full":
        model = get_peft_model(
            model,
            LoraConfig(
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                target_modules=recipe.targets,
                task_type="CAUSAL_LM",
            ),
        )
    set_seed(run.seed)
    settings: dict[str, Any] = {
        "output_dir": str(out),
        "max_steps": run.contract.budget.steps,
        "per_device_train_batch_size": recipe.micro_batch,
        "gradient_accumulation_steps": run.accumulation,
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "optim": recipe.optimizer,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        "remove_unused_columns": False,
        "seed": run.seed,
    }
    parts: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_list(rows),
        "data_collator": DataCollatorForSeq2Seq(
            tokenizer, model=model if seq2seq else None, label_pad_token_id=-100
        ),
        "processing_class": tokenizer,
    }
    trainer: Any
    if seq2seq:
        trainer = Seq2SeqInOrder(args=Seq2SeqTrainingArguments(**settings), **parts)
    else:
        config = SFTConfig(
            **settings,
            max_length=run.contract.max_length,
            loss_type="nll",
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = CausalInOrder(args=config, **parts)
    begin = process_time()
    trainer.train()
    return model, process_time() - begin


def answer(
    model: Any, tokenizer: Any, prompts: list[list[int]], decoding: Decoding
) -> tuple[list[str], float]:
    """Greedy answers in batches as the prompts come, and the processor seconds that they took."""
    model.eval()
    causal = not model.config.is_encoder_decoder
    texts: list[str] = []
    begin = process_time()
    for start in range(0, len(prompts), decoding.batch):
        rows = prompts[start : start + decoding.batch]
        inputs = tokenizer.pad(
            {"input_ids": rows}, padding_side="left" if causal else "right", return_tensors="pt"
        )
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                **GREEDY,
                max_new_tokens=decoding.max_new_tokens,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        skipped = inputs["input_ids"].shape[1] if causal else 1
        texts += tokenizer.batch_decode(
            output[:, skipped:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    return [text.strip() for text in texts], process_time() - begin
