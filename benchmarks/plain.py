"""The plain script that `overhead` holds this program against: TRL and PEFT as their guides show them.

It does the same run: the same tokens in the same order, steps, batch, adapter, generation
batch. Nothing of `bench` is used but the encoded examples.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, set_seed
from trl import SFTConfig, SFTTrainer

from datasets import Dataset


class InOrder(SFTTrainer):  # type: ignore[misc]
    """The trainer, taking the examples as they come."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def train(
    folder: Path, recipe: Any, rows: list[dict[str, list[int]]], steps: int, out: Path
) -> tuple[Any, Any, float]:
    """A tuned model, its tokenizer, and the seconds that training took."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    set_seed(0)
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
    arguments = SFTConfig(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=recipe.micro_batch,
        gradient_accumulation_steps=1,
        learning_rate=recipe.learning_rate,
        optim=recipe.optimizer,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
        remove_unused_columns=False,
        max_length=512,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = InOrder(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
        processing_class=tokenizer,
    )
    begin = time.perf_counter()
    trainer.train()
    return model, tokenizer, time.perf_counter() - begin


def answer(
    model: Any, tokenizer: Any, prompts: list[list[int]], batch: int, new_tokens: int
) -> tuple[list[str], float]:
    """Greedy answers in batches as the prompts come, and the seconds that they took."""
    model.eval()
    texts: list[str] = []
    begin = time.perf_counter()
    for start in range(0, len(prompts), batch):
        rows = prompts[start : start + batch]
        inputs = tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                **inputs, do_sample=False, max_new_tokens=new_tokens, pad_token_id=tokenizer.eos_token_id
            )
        texts += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts], time.perf_counter() - begin
