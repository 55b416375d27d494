"""A page that answers questions with a tuned model, as it was scored.

This file is copied into a Space as it stands, so it needs nothing of the program that wrote it. `space.json`
beside it names the model and its prompt; the model's own generation settings and chat template are in force.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

SETTINGS = Path(__file__).parent / "space.json"


@cache
def settings() -> dict[str, Any]:
    """What `space.json` says."""
    return dict(json.loads(SETTINGS.read_text(encoding="utf-8")))


@cache
def load() -> tuple[Any, Any]:
    """Tokenizer and model: a repository of the hub, or a folder beside this file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    name = settings()["model"]
    beside = SETTINGS.parent / name
    place = str(beside) if beside.is_dir() else name
    kind = AutoModelForCausalLM if settings()["objective"] == "causal" else AutoModelForSeq2SeqLM
    model = kind.from_pretrained(place, use_safetensors=True, trust_remote_code=False, dtype="auto")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return AutoTokenizer.from_pretrained(place, trust_remote_code=False), model.to(device).eval()


def answer(question: str, context: str = "") -> str:
    """The model's answer, greedy, as the test questions were answered."""
    import torch

    if not question.strip():
        return "Ask a question."
    tokenizer, model = load()
    causal = settings()["objective"] == "causal"
    ids = _fitting(_prompt(tokenizer, question, context, causal), tokenizer)
    inputs = torch.tensor([ids], device=model.device)
    with torch.inference_mode():
        (row,) = model.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs)).tolist()
    written = row[len(ids) :] if causal else row[1:]
    if tokenizer.eos_token_id in written:
        written = written[: written.index(tokenizer.eos_token_id)]
    text = tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text).strip()


def _prompt(tokenizer: Any, question: str, context: str, causal: bool) -> list[int]:
    if causal and tokenizer.chat_template:
        messages = [{"role": "system", "content": context}] if context else []
        messages.append({"role": "user", "content": question})
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    with_context, without = settings()["template"]
    head, tail = (with_context if context else without).split("{question}")
    text = head.replace("{context}", context) + question + tail.replace("{context}", context)
    ids = list(tokenizer(text)["input_ids"])
    return ids[:-1] if causal and ids and ids[-1] == tokenizer.eos_token_id else ids


def _fitting(ids: list[int], tokenizer: Any) -> list[int]:
    """The last tokens that leave room for an answer, after the beginning token where there is one."""
    room = settings()["room"]
    if len(ids) <= room:
        return ids
    first = [ids[0]] if ids[0] == tokenizer.bos_token_id else []
    return [*first, *ids[len(ids) - room + len(first) :]]


def page() -> Any:
    """The page."""
    import gradio

    return gradio.Interface(
        fn=answer,
        inputs=[
            gradio.Textbox(label="Question", lines=2),
            gradio.Textbox(label="Context (may be empty)", lines=4),
        ],
        outputs=gradio.Textbox(label="Answer", lines=6),
        title=settings()["title"],
        description=settings()["facts"],
        flagging_mode="never",
    )


if __name__ == "__main__":
    page().launch()
