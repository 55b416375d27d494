"""The seven families, scaled down: real `transformers` classes, small numbers.

Every quirk that a harness can trip over is kept: which class it is, what is tied, which ids
begin and end a text, which attention is local, how positions are encoded, and what generation
config ships with the checkpoint. Only sizes shrink. Every linear layer's input width is a
multiple of 64, because bitsandbytes' 4-bit layers on a CPU ask for that.

Dropout is 0 where siblings have 0.1: a model of this size does not overfit in the few passes
it is given, and a run on two seeds then differs by its data order alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
)

from bench.twins.tokenizers import VOCABULARY

CONTEXT = 512
WIDTH = 128
LAYERS = 4
HEADS = 4

#: `<|endoftext|>` is the last id of a GPT-2 vocabulary; Phi's added tokens come after it.
END = VOCABULARY - 1
PHI_END = VOCABULARY - 1 - 38
#: Llama-3.1's ten special tokens are the last ten.
BEGIN_OF_TEXT, END_OF_TEXT = VOCABULARY - 10, VOCABULARY - 9


def _gpt2() -> PreTrainedModel:
    """Learned positions, fused Conv1D projections, tied embeddings."""
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=END, eos_token_id=END,
    )  # fmt: skip
    return _with_generation(GPT2LMHeadModel(config), bos_token_id=END, eos_token_id=END)


def _gpt_neo() -> PreTrainedModel:
    """Global and local attention in turn; a local layer sees 64 tokens back; no scaling by 1/sqrt(d)."""
    config = GPTNeoConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=WIDTH, num_layers=LAYERS,
        num_heads=HEADS, attention_types=[[["global", "local"], LAYERS // 2]], window_size=64,
        resid_dropout=0.0, embed_dropout=0.0, attention_dropout=0.0, bos_token_id=END, eos_token_id=END,
    )  # fmt: skip
    return _with_generation(GPTNeoForCausalLM(config), bos_token_id=END, eos_token_id=END)


def _phi() -> PreTrainedModel:
    """Attention and MLP side by side on one norm; half of each head rotates; biased, untied head."""
    config = PhiConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, max_position_embeddings=CONTEXT, resid_pdrop=0.0,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return _with_generation(PhiForCausalLM(config))


def _llama_2() -> PreTrainedModel:
    """One key-value head for each query head, RMS norms, SwiGLU, untied head; samples by default."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return _with_generation(
        LlamaForCausalLM(config), bos_token_id=1, eos_token_id=2, pad_token_id=0,
        do_sample=True, temperature=0.6, top_p=0.9, max_length=CONTEXT,
    )  # fmt: skip


def _mistral() -> PreTrainedModel:
    """Two query heads share a key-value head; a layer sees 128 tokens back; rope base 10^6."""
    config = MistralConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS // 2, head_dim=WIDTH // HEADS,
        max_position_embeddings=CONTEXT, sliding_window=128, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return _with_generation(MistralForCausalLM(config), bos_token_id=1, eos_token_id=2)


def _llama_3() -> PreTrainedModel:
    """Grouped heads and rope type `llama3`: slow rotations stretched 8 times, 64 to 512 positions."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS // 2, max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5, tie_word_embeddings=False,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": CONTEXT // 8,
        },
        bos_token_id=BEGIN_OF_TEXT, eos_token_id=END_OF_TEXT,
    )  # fmt: skip
    return _with_generation(
        LlamaForCausalLM(config), bos_token_id=BEGIN_OF_TEXT, eos_token_id=END_OF_TEXT,
        do_sample=True, temperature=0.6, top_p=0.9,
    )  # fmt: skip


def _bart() -> PreTrainedModel:
    """Encoder and decoder, post-norm, positions offset by 2; decoding starts with `</s>`, ends forced."""
    config = BartConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, d_model=WIDTH,
        encoder_layers=3, decoder_layers=3, encoder_attention_heads=HEADS, decoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=4 * WIDTH, dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, scale_embedding=False, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    return _with_generation(
        BartForConditionalGeneration(config), bos_token_id=0, eos_token_id=2, pad_token_id=1,
        decoder_start_token_id=2, forced_bos_token_id=0, forced_eos_token_id=2, num_beams=6,
        max_length=62, min_length=11, no_repeat_ngram_size=3, length_penalty=1.0, early_stopping=True,
    )  # fmt: skip


def _with_generation(model: PreTrainedModel, **settings: Any) -> PreTrainedModel:
    model.generation_config = GenerationConfig(**settings)
    return model


BUILDERS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama-3.1": _llama_3,
    "gpt2": _gpt2,
    "bart": _bart,
    "llama-2": _llama_2,
    "mistral": _mistral,
    "gpt-neo": _gpt_neo,
    "phi": _phi,
}

FAMILIES = tuple(BUILDERS)


def build(family: str, seed: int) -> PreTrainedModel:
    """A freshly initialised twin in float32.

    An untied head starts as a copy of the embeddings: taking up a word of the question then needs
    no map to be learnt first. It is free to part from them.
    """
    torch.manual_seed(seed)
    model = BUILDERS[family]()
    inputs, head = model.get_input_embeddings(), model.get_output_embeddings()
    if inputs.weight is not head.weight:
        with torch.no_grad():
            head.weight.copy_(inputs.weight)
    return model
