"""Small random checkpoints and data sets under the true names of the registry, for the stand-in hub.

Each checkpoint has its model's true class, its real tokenizer and vocabulary, its published data type and
its layout of files; only width and depth are small, so that a hidden width is a multiple of 64 as 4-bit
layers need it. Data sets have the true columns, formats and file names, with rows of Dolly.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hub import Hub
from hub_repositories import Content, Repository

ROOT = Path(__file__).parent.parent
CARD = "---\nlicense: {licence}\nlibrary_name: transformers\n---\n# {name}\n"


@dataclass(frozen=True)
class Published:
    """How one checkpoint of the registry is built small."""

    architecture: str
    tokenizer: str
    dtype: str
    config: Mapping[str, Any]
    #: The largest weights file; a checkpoint above it is split, with an index.
    shard: str = "5GB"
    #: Weights in another format beside the safetensors, which nobody should download.
    extra: tuple[str, ...] = ()


_LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
_NEO = {
    "hidden_size": 64,
    "num_layers": 2,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1]],
    "max_position_embeddings": 2048,
}
#: Registry name -> what is published under its checkpoint's name.
CHECKPOINTS = {
    "bart-large-xsum": Published(
        "BartForConditionalGeneration",
        "bart-large-xsum",
        "float32",
        {
            "vocab_size": 50_264,  # the mask token of the tokenizer has no embedding
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "forced_eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
        extra=("pytorch_model.bin",),
    ),
    "gpt-neo-1.3b": Published("GPTNeoForCausalLM", "gpt2", "float32", _NEO, extra=("pytorch_model.bin",)),
    "gpt-neo-125m": Published("GPTNeoForCausalLM", "gpt2", "float32", _NEO, extra=("pytorch_model.bin",)),
    "gpt2": Published(
        "GPT2LMHeadModel",
        "gpt2",
        "float32",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 1024},
        extra=("pytorch_model.bin",),
    ),
    "llama-2-7b": Published(
        "LlamaForCausalLM",
        "mistral-7b-v0.3",
        "float16",
        {**_LLAMA, "max_position_embeddings": 4096},
        shard="3MB",
        extra=("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"),
    ),
    "llama-3.1-8b": Published(
        "LlamaForCausalLM",
        "llama-3.1-8b",
        "bfloat16",
        {
            **_LLAMA,
            "num_key_value_heads": 2,
            "max_position_embeddings": 131_072,
            "rope_parameters": _LLAMA_3_ROPE,
        },
        shard="20MB",
        extra=("original/consolidated.00.pth",),
    ),
    "mistral-7b-v0.3": Published(
        "MistralForCausalLM",
        "mistral-7b-v0.3",
        "bfloat16",
        {**_LLAMA, "num_key_value_heads": 2, "max_position_embeddings": 32_768},
        shard="3MB",
        extra=("consolidated.safetensors",),
    ),
    "phi-1.5": Published(
        "PhiForCausalLM",
        "gpt2",
        "float16",
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 2048,
            "vocab_size": 51_200,
        },
    ),
}


@cache
def spec(folder: str, name: str) -> dict[str, Any]:
    """A file of the registry, as written."""
    return tomllib.loads((ROOT / folder / f"{name}.toml").read_text())


def make_checkpoint(name: str, folder: Path, tokenizers: Path, *, seed: int = 0) -> None:
    """Write the small checkpoint of a registry entry: config, random weights, tokenizer, card."""
    import torch  # here: a test of the hub alone needs no torch
    import transformers

    published = CHECKPOINTS[name]
    for file in (tokenizers / published.tokenizer).glob("*.json"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    architecture: Any = getattr(transformers, published.architecture)
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = architecture.config_class(**{"vocab_size": len(tokenizer), **special, **published.config})
    torch.manual_seed(seed)
    model = architecture(config).to(getattr(torch, published.dtype))
    model.save_pretrained(folder, max_shard_size=published.shard)
    for extra in published.extra:
        (folder / extra).parent.mkdir(exist_ok=True)
        (folder / extra).write_bytes(b"weights in a format that nobody asked for")
    licence = str(spec("models", name)["licence"]).lower()
    (folder / "README.md").write_text(CARD.format(licence=licence, name=name))


def files_of(folder: Path) -> dict[str, Content]:
    """Every file below a folder, by its path in a repository; the content stays on disk."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): Content(file) for file in files}


def publish_model(hub: Hub, name: str, folder: Path, readers: Iterable[str] = ()) -> Repository:
    """Put a checkpoint on the hub under its registry's repository name, commit and gate."""
    entry = spec("models", name)
    return hub.create(
        entry["checkpoint"],
        files_of(folder),
        gated="manual" if entry.get("gated") else False,
        readers=tuple(readers),
        sha=entry.get("revision"),
    )


def publish_dataset(hub: Hub, name: str, dolly: Path, *, rows: int = 160) -> Repository:
    """Put a small data set on the hub under its registry's repository name and commit."""
    entry = spec("datasets", name)
    lines = dolly.read_text().splitlines()[:rows]
    files = LAYOUTS[name]([json.loads(line) for line in lines])
    pinned = entry.get("revision")
    return hub.create(
        entry["hub"], files, kind="datasets", sha=pinned if pinned and pinned != "main" else None
    )


def _dolly(rows: list[dict[str, str]]) -> dict[str, bytes | str]:
    return {
        "README.md": "---\nlicense: cc-by-sa-3.0\n---\n# databricks-dolly-15k\n",
        "databricks-dolly-15k.jsonl": _json_lines(rows),
    }


def _guanaco(rows: list[dict[str, str]]) -> dict[str, bytes | str]:
    """Conversations in one string: turns follow each other without a line break."""
    texts: list[str] = []
    for row, later in zip(rows, rows[1:] + rows[:1], strict=True):
        turns = [row] if len(texts) % 2 else [row, later]
        texts.append("".join(f"### Human: {t['instruction']}### Assistant: {t['response']}" for t in turns))
    lines, held_out = [{"text": text} for text in texts], max(1, len(texts) // 20)
    return {
        "README.md": "# openassistant-guanaco\n",
        "openassistant_best_replies_train.jsonl": _json_lines(lines[held_out:]),
        "openassistant_best_replies_eval.jsonl": _json_lines(lines[:held_out]),
    }


def _open_orca(rows: list[dict[str, str]]) -> dict[str, bytes | str]:
    """Two Parquet files of one split; ids name the collection, and a system prompt may be empty."""
    prompts = ["", "You are an AI assistant. You will be given a task. You must generate a detailed answer."]
    table = [
        {
            "id": f"{('niv', 'flan', 't0', 'cot')[number % 4]}.{number}",
            "system_prompt": prompts[number % 2],
            "question": row["instruction"],
            "response": row["response"],
        }
        for number, row in enumerate(rows)
    ]
    half = len(table) // 2
    return {
        "README.md": "---\nlicense: mit\n---\n# OpenOrca\n",
        "1M-GPT4-Augmented.parquet": _parquet(table[:half]),
        "3_5M-GPT3_5-Augmented.parquet": _parquet(table[half:]),
    }


def _json_lines(rows: Iterable[Mapping[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(rows: list[dict[str, str]]) -> bytes:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_pylist(rows), sink, row_group_size=32)
    return bytes(sink.getvalue())


LAYOUTS: dict[str, Callable[[list[dict[str, str]]], dict[str, bytes | str]]] = {
    "dolly": _dolly,
    "guanaco": _guanaco,
    "openorca": _open_orca,
}
