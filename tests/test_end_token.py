"""A tokenizer that ends answers otherwise than its checkpoint's configuration says."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench.registry import TWINS
from bench.train.end_token import reconcile
from bench.train.load import load
from tests.runs import FAMILIES, mini_run

END = 4087
RESERVED = 4088
WORD = 400


@pytest.fixture
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(TWINS / "llama-3.1")


def model(end: Any, generation: Any = None) -> Any:
    """The two configurations that `reconcile` reads of a model."""
    return SimpleNamespace(
        config=SimpleNamespace(eos_token_id=end),
        generation_config=SimpleNamespace(eos_token_id=generation),
    )


def test_a_tokenizer_that_agrees_is_left_alone(tokenizer: Any) -> None:
    assert reconcile(tokenizer, model(END, END)) is None
    assert tokenizer.eos_token_id == END


def test_one_of_several_end_tokens_agrees(tokenizer: Any) -> None:
    assert reconcile(tokenizer, model([RESERVED, END])) is None
    assert reconcile(tokenizer, model(RESERVED, [RESERVED, END])) is None
    assert tokenizer.eos_token_id == END


def test_a_checkpoint_that_names_no_end_token_is_no_disagreement(tokenizer: Any) -> None:
    assert reconcile(tokenizer, model(None)) is None


def test_the_one_special_token_that_the_config_names_is_used(tokenizer: Any) -> None:
    tokenizer.eos_token = "<|begin_of_text|>"
    assert reconcile(tokenizer, model(END, END)) == (
        "the tokenizer's end token was '<|begin_of_text|>'; the checkpoint's config says "
        "'<|end_of_text|>' (id 4087), used instead"
    )
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|end_of_text|>", END)


def test_a_tokenizer_without_an_end_token_gets_the_configs(tokenizer: Any) -> None:
    tokenizer.eos_token = None
    sentence = reconcile(tokenizer, model(END))
    assert sentence is not None
    assert sentence.startswith("the tokenizer had no end token; ")
    assert tokenizer.eos_token_id == END


@pytest.mark.parametrize(
    ("end", "generation"), [([END, RESERVED], None), (END, RESERVED), (WORD, None), (99_999, None)]
)
def test_an_ambiguous_config_changes_nothing_and_is_told(tokenizer: Any, end: Any, generation: Any) -> None:
    """Two candidates, an ordinary word, an id outside the vocabulary."""
    tokenizer.eos_token = "<|begin_of_text|>"
    sentence = reconcile(tokenizer, model(end, generation))
    assert sentence is not None
    assert "left as it is" in sentence
    assert tokenizer.eos_token == "<|begin_of_text|>"


@pytest.mark.parametrize("name", FAMILIES)
def test_the_twins_tokenizers_agree_with_their_configs(name: str) -> None:
    _, folder = mini_run(name)
    config = SimpleNamespace(**json.loads((folder / "config.json").read_text()))
    shipped = SimpleNamespace(**json.loads((folder / "generation_config.json").read_text()))
    found = SimpleNamespace(config=config, generation_config=shipped)
    assert reconcile(AutoTokenizer.from_pretrained(folder), found) is None


def test_a_copied_checkpoint_with_a_wrong_tokenizer_is_repaired_when_loaded(tmp_path: Any) -> None:
    import shutil

    run, folder = mini_run("llama-3.1-8b")
    copy = shutil.copytree(folder, tmp_path / "copy")
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": "<|begin_of_text|>"}))
    loaded = load(run, copy)
    assert loaded.tokenizer.eos_token_id == END
    assert loaded.backend.end_token is not None
    assert load(run, folder).backend.end_token is None
