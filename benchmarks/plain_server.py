"""The service that is written by hand: FastAPI, one model, `generate` for each request. Nothing of `bench`.

`python -m benchmarks.plain_server BASE WEIGHTS PROMPT TOKENS` loads a checkpoint with its adapter, or a tuned
model alone where both are one folder, and answers `POST /` with `{"question": ...}` on a free port of the
loopback. One lock keeps threads from working against each other.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import Body, FastAPI
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Serve until a signal."""
    base, weights, prompt, tokens = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if (Path(weights) / "adapter_config.json").is_file():
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, weights)
    model.eval()
    app, lock = FastAPI(), threading.Lock()

    @app.post("/")
    def answer(question: str = Body(embed=True)) -> dict[str, str]:
        with lock, torch.inference_mode():
            return {"answer": written(model, tokenizer, prompt.format(question=question), int(tokens))}

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def written(model: Any, tokenizer: Any, prompt: str, tokens: int) -> str:
    """The greedy answer to one prompt."""
    inputs = tokenizer(prompt, return_tensors="pt")
    output = model.generate(
        **inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id
    )
    return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


if __name__ == "__main__":
    main()
