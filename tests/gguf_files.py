"""GGUF files with the weights and the tokenizer of a Llama-class model, as llama.cpp lays them out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from bench.registry import TWINS

TWIN = TWINS / "llama-3.1"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    file: Path,
    stored: str = "F32",
    family: str = "llama",
    file_type: int | None = None,
    parts: int = 1,
    scaled: bool = False,
    splits: str = "llama-bpe",
    folder: Path = TWIN,
    begins: bool | None = None,
) -> Path:
    """A model's folder in a GGUF file, its matrices `stored` as this type."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(file, family)
    writer.add_name("a small model")
    writer.add_license("apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    if file_type is not None:
        writer.add_file_type(file_type)
    if parts > 1:
        writer.add_uint16("split.count", parts)
    if scaled:
        writer.add_tensor("rope_freqs.weight", np.ones(config["head_dim"] // 2, dtype=np.float32))
    if begins is not None:
        writer.add_add_bos_token(begins)
    _add_tokenizer(writer, config, folder, splits)
    for name, weight in load_file(folder / "model.safetensors").items():
        _add_weight(writer, _name(name), _rotated(name, weight.float().numpy(), config), stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: gguf.GGUFWriter, config: dict[str, int], folder: Path, splits: str) -> None:
    """SentencePiece's as tokens with scores, others as byte-level BPE with merges."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text())
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    if tokenizer["model"]["byte_fallback"]:
        _add_pieces(writer, tokenizer)
        return
    tokens = dict(tokenizer["model"]["vocab"])
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens |= special
    ordered = sorted(tokens, key=lambda token: tokens[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splits)
    writer.add_token_list(ordered)
    kinds = gguf.TokenType
    writer.add_token_types([kinds.CONTROL if token in special else kinds.NORMAL for token in ordered])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])


def _add_pieces(writer: gguf.GGUFWriter, tokenizer: dict[str, Any]) -> None:
    """SentencePiece gives the pieces that are merged first the highest scores."""
    vocabulary = tokenizer["model"]["vocab"]
    ranks = {"".join(pair): rank for rank, pair in enumerate(tokenizer["model"]["merges"])}
    special = {token["content"] for token in tokenizer["added_tokens"]}
    ordered = sorted(vocabulary, key=lambda token: vocabulary[token])
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list(ordered)
    writer.add_token_scores([-float(ranks.get(token, len(ranks))) for token in ordered])
    writer.add_token_types(
        [
            kinds.UNKNOWN
            if token == "<unk>"
            else kinds.CONTROL
            if token in special
            else kinds.BYTE
            if re.fullmatch(r"<0x[0-9A-F]{2}>", token)
            else kinds.NORMAL
            for token in ordered
        ]
    )


def _name(name: str) -> str:
    if name.startswith("model.layers."):
        _, _, number, *path, kind = name.split(".")
        return f"blk.{number}.{NAMES['.'.join(path)]}.{kind}"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}.get(
        name, "output.weight"
    )


def _rotated(name: str, weight: NDArray[np.float32], config: dict[str, int]) -> NDArray[np.float32]:
    """llama.cpp pairs neighbouring rows of queries and keys, transformers the two halves of a head."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
    if heads is None:
        return weight
    halves = weight.reshape(config[heads], 2, -1, weight.shape[-1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def _add_weight(writer: gguf.GGUFWriter, name: str, weight: NDArray[np.float32], stored: str) -> None:
    if weight.ndim == 1 or stored == "F32":
        writer.add_tensor(name, weight)
        return
    kind = gguf.GGMLQuantizationType[stored]
    writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
