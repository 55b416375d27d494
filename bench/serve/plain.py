"""A model folder answers as anybody would load it: transformers (and PEFT), without this program's loader.

Runs in a process of its own: a task as JSON on standard input, the texts as JSON on standard output. The
folder's tokenizer, its chat template and, where the task says so, its generation settings are in force, so
what is wrong with them shows in the answers. A GGUF file is the exception: it is loaded by this program's
loader, as `bench run` loads it, and expanded into a cache that is gone afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.errors import RecordError
from bench.run.identity import Run
from bench.spec import Decoding, Device, Objective

MODULE = "bench.serve.plain"
ADAPTER_CONFIG = "adapter_config.json"


class PlainTask(BaseModel):
    """A folder and what it is to answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    objective: Objective
    #: How a GGUF file is loaded that is named by the run's checkpoint; none for safetensors.
    run: Run | None = None
    #: Where an adapter's base is, and its commit on the hub; none for merged weights.
    base: str | None = None
    revision: str | None = None
    #: Whether the base is loaded in 4 bit (NF4, double quantisation), and the type that it computes in.
    four_bit: bool = False
    dtype: str = "auto"
    device: Device
    threads: int
    #: Question, context and the prompt as the record's template renders it.
    questions: tuple[tuple[str, str, str], ...]
    #: The recorded answers.
    recorded: tuple[str, ...]
    #: Most tokens of a prompt.
    room: int
    decoding: Decoding
    #: Whether the folder's own generation settings are in force, rather than `decoding`.
    shipped_settings: bool = True


class PlainAnswers(BaseModel):
    """What a folder answered."""

    texts: list[str]
    #: `bench.serve.agreement` with the recorded answers; none where the texts are equal anyway.
    agreement: float | None = None


def answers(task: PlainTask) -> PlainAnswers:
    """What a folder answers in a fresh process. Raises `RecordError` with why it cannot be loaded."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(task.threads), "TOKENIZERS_PARALLELISM": "false"}
    if task.run is None:
        return _answers(task, environment)
    beside = Path(task.folder).parent  # where a file of this size has room
    with tempfile.TemporaryDirectory(prefix=".expanded-", dir=beside) as cache:
        return _answers(task, {**environment, "BENCH_CACHE": cache})


def _answers(task: PlainTask, environment: dict[str, str]) -> PlainAnswers:
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=task.model_dump_json(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return PlainAnswers.model_validate_json(done.stdout)
    except ValueError:
        complaints = [line for line in done.stderr.strip().splitlines() if line.strip()]
        why = complaints[-1][:300] if complaints else f"exit status {done.returncode}"
        raise RecordError(f"cannot be loaded: {why}") from None


def main() -> None:
    """Reply the task on standard input."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    out.write(texts_of(PlainTask.model_validate_json(sys.stdin.read())).model_dump_json())
    out.flush()


def texts_of(task: PlainTask) -> PlainAnswers:
    """Load the folder and answer the questions, longest prompts first, in the record's batches."""
    import torch
    from transformers import GenerationConfig

    from bench.run.answers.generate import greedy, padded
    from bench.run.encode import cut_front
    from bench.serve.agreement import agreement

    torch.set_num_threads(task.threads)
    tokenizer, model = _loaded(task)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if task.shipped_settings and (Path(task.folder) / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(task.folder)
    else:
        model.generation_config = greedy(model, tokenizer, task.decoding, pad)
    causal = task.objective == "causal"
    prompts = [cut_front(_prompt(tokenizer, q, causal), task.room, tokenizer) for q in task.questions]
    order = sorted(range(len(prompts)), key=lambda place: (-len(prompts[place]), place))
    texts = [""] * len(prompts)
    for start in range(0, len(order), task.decoding.batch):
        places = order[start : start + task.decoding.batch]
        ids, mask = padded([prompts[place] for place in places], pad, left=causal)
        with torch.inference_mode():
            output = model.generate(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
        for place, row in zip(places, output[:, ids.shape[1] if causal else 1 :].tolist(), strict=True):
            kept = row[: row.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in row else row
            text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            texts[place] = text.strip()
    if texts == list(task.recorded):
        return PlainAnswers(texts=texts)
    agreeing = agreement(model, tokenizer, prompts, task.recorded, task.objective)
    return PlainAnswers(texts=texts, agreement=agreeing)


def _prompt(tokenizer: Any, question: tuple[str, str, str], causal: bool) -> list[int]:
    """By the folder's chat template where it has one, else the prompt as the record renders it."""
    asked, context, rendered = question
    if causal and tokenizer.chat_template:
        messages = [{"role": "system", "content": context}] if context else []
        messages.append({"role": "user", "content": asked})
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    ids = list(tokenizer(rendered)["input_ids"])
    return ids[:-1] if causal and ids and ids[-1] == tokenizer.eos_token_id else ids


def _loaded(task: PlainTask) -> tuple[Any, Any]:
    """Tokenizer and model."""
    if task.run is None:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(task.folder, trust_remote_code=False), _model(task).eval()
    from bench.train.load import load

    loaded = load(task.run, Path(task.folder) / task.run.checkpoint.source)
    return loaded.tokenizer, loaded.model.eval()


def _model(task: PlainTask) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BitsAndBytesConfig

    auto = AutoModelForCausalLM if task.objective == "causal" else AutoModelForSeq2SeqLM
    dtype = "auto" if task.dtype == "auto" else getattr(torch, task.dtype)
    quantised = None
    if task.four_bit:
        quantised = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    placed = task.four_bit or task.device != "cpu"
    model = auto.from_pretrained(
        task.base or task.folder,
        revision=task.revision,
        dtype=dtype,
        quantization_config=quantised,
        use_safetensors=True,
        trust_remote_code=False,
        device_map={"": task.device} if placed else None,
    )
    if task.base is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, task.folder)


if __name__ == "__main__":
    main()
