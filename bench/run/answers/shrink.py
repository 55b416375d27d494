"""Greedy decoding in a batch that gets smaller as its answers end.

`generate` computes every row until the last of its batch has ended, and on average an answer ends long
before. Here rows that have ended leave the batch with their part of the cache. They leave in steps, so a
batch passes through few shapes and the cache is copied seldom. `generate` prepares everything as usual and
calls this in place of its own loop (`custom_generate`), so the generation config, its processors and its
stopping criteria hold.

In float32 a row's tokens do not depend on who is computed beside it, and the tests hold that for every
family. In smaller types they may, as they do with any other batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

#: Rows leave once so many of a batch have ended: one in eight.
STEP = 8
#: What a model is given anew for each token: (rows, length), by name.
BY_ROW = (
    "attention_mask",
    "decoder_attention_mask",
    "position_ids",
    "decoder_position_ids",
    "token_type_ids",
)
#: What is known not to depend on the rows.
SHARED = ("logits_to_keep", "use_cache")


def decode(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **inputs: Any,
) -> torch.Tensor:
    """The rows of `input_ids` (rows, length) with the most likely tokens behind them, padded to one length.

    A `custom_generate` of transformers, which gives the arguments.
    """
    pad = generation_config.pad_token_id
    finished = list(input_ids)
    places = torch.arange(len(input_ids), device=input_ids.device)
    live = torch.ones_like(places, dtype=torch.bool)
    may_shrink = can_shrink(inputs, len(input_ids))
    given = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **inputs)
    outputs = model(**given, return_dict=True)
    with model._optimize_model_for_decode():  # as `generate` does; no more than a choice of kernels
        while True:
            inputs = model._update_model_kwargs_for_generation(
                outputs, inputs, is_encoder_decoder=model.config.is_encoder_decoder
            )
            scores = logits_processor(input_ids, outputs.logits[:, -1].to(torch.float32, copy=True))
            del outputs  # the first one may hold the logits of whole prompts
            tokens = torch.where(live, scores.argmax(dim=-1), pad)
            input_ids = torch.cat([input_ids, tokens[:, None]], dim=-1)
            live &= ~stopping_criteria(input_ids, None)
            left = int(live.sum())
            if not left:
                break
            if may_shrink and (len(places) - left) * STEP >= len(places):
                for place, row in zip(places[~live].tolist(), input_ids[~live], strict=True):
                    finished[place] = row
                kept = live.nonzero()[:, 0]
                input_ids, places, live = input_ids[kept], places[kept], live[kept]
                inputs = only(inputs, kept)
            given = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **inputs)
            outputs = model(**given, return_dict=True)
    for place, row in zip(places.tolist(), input_ids, strict=True):
        finished[place] = row
    return torch.nn.utils.rnn.pad_sequence(finished, batch_first=True, padding_value=pad)


def can_shrink(inputs: Mapping[str, Any], rows: int) -> bool:
    """Whether every input of a model is one that is known how to be cut to some of its rows."""
    known = (*BY_ROW, *SHARED, "past_key_values", "encoder_outputs")
    return (
        hasattr(inputs.get("past_key_values"), "reorder_cache")
        and all(name in known or value is None for name, value in inputs.items())
        and all(inputs[name].shape[0] == rows for name in BY_ROW if inputs.get(name) is not None)
        and all(tensor.shape[0] == rows for tensor in (inputs.get("encoder_outputs") or {}).values())
    )


def only(inputs: Mapping[str, Any], kept: torch.Tensor) -> dict[str, Any]:
    """The inputs of the `kept` rows; the cache is cut in place."""
    inputs["past_key_values"].reorder_cache(kept)
    cut = {name: inputs[name][kept] for name in BY_ROW if inputs.get(name) is not None}
    encoded = inputs.get("encoder_outputs")
    if encoded is not None:
        cut["encoder_outputs"] = type(encoded)({name: value[kept] for name, value in encoded.items()})
    return {**inputs, **cut}
