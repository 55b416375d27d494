"""The shape of a model from the facts of its `config.json`: linear layers, cache, activations.

Families name the same facts differently; here they get one name. Pure arithmetic, without torch, so that a
plan starts at once and needs no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: Bytes of a number, by the name of its type in a configuration.
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Linear:
    """So many linear layers of one name and size."""

    name: str
    inputs: int
    outputs: int
    count: int

    @property
    def weights(self) -> int:
        """Numbers in their matrices."""
        return self.inputs * self.outputs * self.count


@dataclass(frozen=True)
class Shape:
    """What decides memory and time."""

    hidden: int
    #: Of the decoder; the encoder's, where there is one.
    layers: int
    encoder_layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    #: Whether the MLP has a gate beside its way up.
    gated: bool
    #: Whether attention keeps its weights (rows x heads x columns), as GPT-Neo's does.
    eager: bool
    linears: tuple[Linear, ...]

    @property
    def linear(self) -> int:
        """Numbers in the layers that 4 bit stores and adapters stand beside; the head is none of them."""
        return sum(each.weights for each in self.linears)

    @property
    def cache(self) -> int:
        """Numbers that one token leaves in the cache."""
        return 2 * self.kv_heads * self.head_dim * (self.layers + self.layers * (self.encoder_layers > 0))

    @property
    def activations(self) -> int:
        """Numbers that one token leaves in one layer on the way forward."""
        ways = 3 if self.gated else 2
        return 8 * self.hidden + 2 * self.kv_heads * self.head_dim + ways * self.intermediate

    def last_linear(self, blocks: int) -> int:
        """Numbers in the linear layers of the decoder's last blocks."""
        one = sum(
            each.inputs * each.outputs * (each.count - self.encoder_layers) // self.layers
            for each in self.linears
        )
        return blocks * one

    def adapter(self, rank: int, targets: Literal["all-linear"] | Sequence[str]) -> int:
        """Numbers of a LoRA adapter."""
        return sum(
            rank * (each.inputs + each.outputs) * each.count
            for each in self.linears
            if targets == "all-linear" or each.name in targets
        )


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a `config.json` describes; none where it lacks the facts."""

    def fact(*names: str, default: int = 0) -> int:
        return next((int(config[name]) for name in names if config.get(name) is not None), default)

    hidden = fact("hidden_size", "n_embd", "d_model")
    layers = fact("num_hidden_layers", "n_layer", "num_layers", "decoder_layers")
    heads = fact("num_attention_heads", "n_head", "num_heads", "decoder_attention_heads")
    vocabulary = fact("vocab_size")
    if not (hidden and layers and heads and vocabulary):
        return None
    kv_heads = fact("num_key_value_heads", default=heads)
    head_dim = fact("head_dim", default=hidden // heads)
    intermediate = fact("intermediate_size", "n_inner", "decoder_ffn_dim", default=4 * hidden)
    encoder = fact("encoder_layers") if "decoder_layers" in config else 0
    gated = "rms_norm_eps" in config  # every family here that has the one has the other
    if "n_embd" in config:
        linears = _fused(hidden, intermediate, layers)
    else:
        widths = hidden, heads * head_dim, kv_heads * head_dim, intermediate
        linears = _separate(widths, layers, encoder, _names(config, gated))
    return Shape(
        hidden=hidden,
        layers=layers,
        encoder_layers=encoder,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=intermediate,
        vocabulary=vocabulary,
        gated=gated,
        eager="attention_types" in config,
        linears=linears,
    )


def stored_bytes(config: Mapping[str, Any]) -> int:
    """Bytes of a number as the checkpoint is published."""
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return BYTES.get(name.removeprefix("torch."), 4)


def _names(config: Mapping[str, Any], gated: bool) -> tuple[str, str, str]:
    """What a family calls attention's way out and the MLP's ways up and down."""
    if gated:
        return "o_proj", "up_proj", "down_proj"
    if "attention_types" in config:
        return "out_proj", "c_fc", "c_proj"
    return ("out_proj" if "decoder_layers" in config else "dense"), "fc1", "fc2"


def _separate(
    widths: tuple[int, int, int, int], layers: int, encoder: int, names: tuple[str, str, str]
) -> tuple[Linear, ...]:
    """Query, key and value apart; a decoder that has an encoder attends twice."""
    hidden, queries, keys, intermediate = widths
    out, up, down = names
    attending = layers * (2 if encoder else 1) + encoder
    linears = [
        Linear("q_proj", hidden, queries, attending),
        Linear("k_proj", hidden, keys, attending),
        Linear("v_proj", hidden, keys, attending),
        Linear(out, queries, hidden, attending),
        Linear(up, hidden, intermediate, layers + encoder),
        Linear(down, intermediate, hidden, layers + encoder),
    ]
    if up == "up_proj":
        linears.append(Linear("gate_proj", hidden, intermediate, layers))
    return tuple(linears)


def _fused(hidden: int, intermediate: int, layers: int) -> tuple[Linear, ...]:
    """GPT-2's: query, key and value in one, and one name for both ways back."""
    return (
        Linear("c_attn", hidden, 3 * hidden, layers),
        Linear("c_proj", hidden, hidden, layers),
        Linear("c_fc", hidden, intermediate, layers),
        Linear("c_proj", intermediate, hidden, layers),
    )
