"""The shipped twins: they load, they are small, they keep their families' quirks, they are as told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from bench.twins import architectures, build, card, tokenizers, unlikelihood, verify

TWINS = Path(__file__).parent.parent / "models" / "twins"
FAMILIES = architectures.FAMILIES


@cache
def twin(family: str) -> Any:
    """A twin in float32, loaded once."""
    return build.load(TWINS / family)


@cache
def tokenizer(family: str) -> Any:
    """A twin's tokenizer, loaded once."""
    return build.tokenizer_of(TWINS / family)


def tensors(family: str) -> dict[str, Any]:
    """The stored tensors by name, unread."""
    with safe_open(TWINS / family / "model.safetensors", "pt") as file:
        return {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("family", FAMILIES)
def test_a_twin_has_one_to_two_and_a_half_million_parameters(family: str) -> None:
    """Small enough for a laptop, large enough to learn."""
    assert 1.0e6 <= twin(family).num_parameters() <= 2.5e6


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_stored_in_bfloat16(family: str) -> None:
    """Half the size of a clone, and what big checkpoints are stored in."""
    assert {part.get_dtype() for part in tensors(family).values()} == {"BF16"}


def test_all_twins_together_take_at_most_32_megabytes() -> None:
    """A fresh clone stays small."""
    assert sum(file.stat().st_size for file in TWINS.rglob("*") if file.is_file()) <= 32e6


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_layer_takes_a_multiple_of_64_inputs(family: str) -> None:
    """Or bitsandbytes cannot run its 4-bit layers on a CPU."""
    widths = {m.in_features for m in twin(family).modules() if isinstance(m, torch.nn.Linear)}
    assert widths
    assert not {width for width in widths if width % 64}


@pytest.mark.parametrize("family", FAMILIES)
def test_vocabulary_and_context_are_small(family: str) -> None:
    """4,096 tokens and 512 positions, in tokenizer and config alike."""
    config = twin(family).config
    assert len(tokenizer(family)) == config.vocab_size == tokenizers.VOCABULARY
    assert config.max_position_embeddings == 512


@pytest.mark.parametrize("family", FAMILIES)
def test_only_bart_has_a_pad_token(family: str) -> None:
    """A harness must cope with the absence, so the twins have it too."""
    assert (tokenizer(family).pad_token is not None) == (family == "bart")


@pytest.mark.parametrize("family", FAMILIES)
def test_special_ids_of_config_and_tokenizer_agree(family: str) -> None:
    """Phi-1.5's config names no special id at all, and so does its twin's."""
    config, tokens = twin(family).config, tokenizer(family)
    told = (config.bos_token_id, config.eos_token_id)
    assert told == ((None, None) if family == "phi" else (tokens.bos_token_id, tokens.eos_token_id))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompts_tokens_begin_the_tokens_of_prompt_and_answer(family: str) -> None:
    """So the cut between prompt and answer is exact; and text survives the round trip."""
    tokens = tokenizer(family)
    prompt = "Question: What is a naïve 漢字?\nAnswer:\n"
    whole = tokens(prompt + "It is  odd.")["input_ids"]
    alone = tokens(prompt)["input_ids"]
    alone = alone[:-1] if family == "bart" else alone
    assert whole[: len(alone)] == alone
    assert tokens.decode(whole, skip_special_tokens=True) == prompt + "It is  odd."


@pytest.mark.parametrize(
    ("family", "first"),
    [("bart", "<s>"), ("llama-2", "<s>"), ("mistral", "<s>"), ("llama-3.1", "<|begin_of_text|>"),
     ("gpt2", "Q"), ("gpt-neo", "Q"), ("phi", "Q")],
)  # fmt: skip
def test_a_text_begins_with_bos_where_the_siblings_does(family: str, first: str) -> None:
    """GPT-2, GPT-Neo and Phi put nothing in front."""
    assert tokenizer(family).convert_ids_to_tokens(tokenizer(family)("Q")["input_ids"])[0] == first


@pytest.mark.parametrize("family", ["llama-2", "mistral"])
def test_sentencepiece_tokenizers_spell_unknown_characters_in_bytes(family: str) -> None:
    """Byte fallback, not an unknown token."""
    assert tokenizer(family).tokenize("漢")[-3:] == ["<0xE6>", "<0xBC>", "<0xA2>"]


def test_bart_keeps_its_special_tokens_places() -> None:
    """At 0, 1, 2, 3 and last, as published."""
    tokens = tokenizer("bart")
    assert tokens.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, 4095]


def test_bart_keeps_its_start_its_forced_tokens_and_its_beams() -> None:
    """What bart-large-xsum ships is what a contract has to override."""
    assert twin("bart").config.decoder_start_token_id == 2
    shipped = json.loads((TWINS / "bart" / "generation_config.json").read_text())
    wanted = {
        "decoder_start_token_id": 2, "forced_bos_token_id": 0, "forced_eos_token_id": 2, "num_beams": 6,
        "max_length": 62, "min_length": 11, "no_repeat_ngram_size": 3, "early_stopping": True,
    }  # fmt: skip
    assert wanted.items() <= shipped.items()


def test_gpt2_keeps_conv1d_and_its_tied_head() -> None:
    """Transposed weights, and one matrix for embeddings and head."""
    model = twin("gpt2")
    assert type(model.transformer.h[0].attn.c_attn).__name__ == "Conv1D"
    assert model.lm_head.weight is model.transformer.wte.weight


def test_gpt_neo_attends_globally_and_locally_in_turn() -> None:
    """The local window is shorter than the context, so it matters."""
    config = twin("gpt-neo").config
    assert config.attention_layers == ["global", "local", "global", "local"]
    assert config.window_size == 64 < config.max_position_embeddings


def test_phi_rotates_half_of_a_head_and_carries_white_space_tokens() -> None:
    """Half of 32 dimensions; a biased head; indentation in one token."""
    assert twin("phi").model.layers[0].self_attn.rotary_ndims == 16
    assert twin("phi").lm_head.bias is not None
    assert tokenizer("phi").tokenize("x" + " " * 8 + "y") == ["x", " " * 8, "y"]


def test_llama_2_has_a_key_value_head_for_every_query_head_and_samples_by_default() -> None:
    """No grouping; and a shipped config that is not greedy."""
    config = twin("llama-2").config
    assert config.num_key_value_heads == config.num_attention_heads
    assert twin("llama-2").generation_config.do_sample


def test_mistral_groups_its_heads_and_sees_through_a_window() -> None:
    """The window is shorter than the context, so it matters."""
    config = twin("mistral").config
    assert (config.num_attention_heads, config.num_key_value_heads) == (4, 2)
    assert config.sliding_window == 128 < config.max_position_embeddings


def test_llama_3_groups_its_heads_and_scales_its_rotations() -> None:
    """Rope type llama3, two query heads to a key-value head."""
    config = twin("llama-3.1").config
    assert (config.num_attention_heads, config.num_key_value_heads) == (4, 2)
    assert config.rope_parameters["rope_type"] == "llama3"


def test_files_are_as_the_cards_say_and_all_load() -> None:
    """Digests and loading, without any data."""
    assert verify.verify(TWINS) == []


@pytest.mark.slow
def test_validation_losses_are_as_the_cards_say(shared: Path) -> None:
    """The weights mean under these versions what they meant when saved."""
    assert verify.verify(TWINS, shared / "data" / "dolly" / "databricks-dolly-15k.jsonl") == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_validation_loss_fell_to_the_end(family: str) -> None:
    """No twin was trained past its best."""
    curve = [point["loss"] for point in card.read(TWINS / family)["validation_curve"]]
    assert curve[-1] == min(curve)


def test_a_token_that_completes_a_trigram_again_is_repeated() -> None:
    answers = torch.tensor([[5, 6, 7, 5, 6, 7, 5], [1, 2, 1, 2, 3, 4, 2]])
    assert unlikelihood.repeats(answers).long().tolist() == [[0, 0, 0, 0, 0, 1, 1], [0] * 7]


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_what_an_answer_repeats_is_made_less_likely(family: str) -> None:
    """Nothing else is told; and the twin's own generation config is as it was."""
    model = build.load(TWINS / family)
    tokenizer = build.tokenizer_of(TWINS / family)
    shipped = model.generation_config.to_dict()
    prompts = torch.tensor([tokenizer("Question: What is a model?\nAnswer:\n")["input_ids"]] * 2)
    said = unlikelihood.sample_answers(model, prompts, tokenizer.eos_token_id)
    said = replace(said, repeated=torch.zeros_like(said.repeated))
    said.repeated[:, 3] = True

    def likely() -> float:
        with torch.no_grad():
            logits = model(**said.inputs, use_cache=False).logits[:, -said.answers.shape[1] :]
        return float(logits.softmax(-1).gather(2, said.answers[..., None])[:, 3].mean())

    before = likely()
    unlikelihood.accumulate(model, said)
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    assert likely() < before
    assert model.generation_config.to_dict() == shipped


@pytest.mark.slow
def test_a_provisional_folder_at_the_end_of_its_pretraining_is_only_finished(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a build that was interrupted there does not pretrain again; pretraining would raise here."""
    shutil.copytree(TWINS / "gpt2", tmp_path / "gpt2")
    facts = card.read(tmp_path / "gpt2")
    (tmp_path / "gpt2" / "card.json").write_text(json.dumps({**facts, "final": False}))
    monkeypatch.setattr(unlikelihood, "TOKENS", 1)
    monkeypatch.setattr(build.pretrain, "pretrain", None)
    build.build(["gpt2"], tmp_path, shared / "data" / "dolly" / "databricks-dolly-15k.jsonl")
    finished = card.read(tmp_path / "gpt2")
    assert finished["final"]
    assert finished["unlikelihood"]["steps"] == 1
    assert finished["validation_curve"] == facts["validation_curve"]
    assert finished["sha256"]["tokenizer.json"] == facts["sha256"]["tokenizer.json"]
    assert finished["sha256"]["model.safetensors"] != facts["sha256"]["model.safetensors"]


def test_a_twin_that_hears_itself_repeats_itself_less() -> None:
    """And a card tells by how much."""
    for family in FAMILIES:
        facts = card.read(TWINS / family)["unlikelihood"]
        assert facts["repeated_after"] < 2 / 3 * facts["repeated_before"], family


@pytest.mark.parametrize("family", FAMILIES)
def test_a_card_tells_the_sibling_the_licence_and_the_command(family: str) -> None:
    """What a reader of the folder needs."""
    text = (TWINS / family / "README.md").read_text()
    sibling = card.read(TWINS / family)["sibling"]
    for needed in (sibling, "CC BY-SA 3.0", "bench twins build", "validation loss"):
        assert needed in text


def test_an_edited_a_missing_and_an_added_file_are_found(tmp_path: Path) -> None:
    """Each with its family and its name; nothing else is reported."""
    shutil.copytree(TWINS, tmp_path / "twins")
    config = tmp_path / "twins" / "gpt2" / "config.json"
    config.write_text(config.read_text().replace("gelu_new", "relu"))
    (tmp_path / "twins" / "phi" / "tokenizer.json").unlink()
    (tmp_path / "twins" / "bart" / "weights.bin").write_text("")
    found = {(finding.family, finding.where, finding.what) for finding in verify.verify(tmp_path / "twins")}
    assert found == {
        ("gpt2", "config.json", "differs from its digest in card.json"),
        ("phi", "tokenizer.json", "is missing"),
        ("bart", "weights.bin", "is not named in card.json"),
    }
