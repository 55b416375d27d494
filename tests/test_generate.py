"""Generation on the twins: batches change nothing, and a checkpoint's own settings have no say."""

from __future__ import annotations

import pytest
from runs import FAMILIES, course, mini_run, prompts

from bench.run.generate import complete
from bench.train.load import Loaded, load


@pytest.fixture(scope="module", params=FAMILIES)
def twin(request: pytest.FixtureRequest) -> tuple[str, Loaded]:
    run, folder = mini_run(request.param, method="full")
    return request.param, load(run, folder)


def test_a_batch_is_answered_as_its_prompts_one_by_one(twin: tuple[str, Loaded]) -> None:
    name, loaded = twin
    run, _ = mini_run(name, new_tokens=24)
    asked = prompts(run, loaded, course().eval[:12])
    assert len({len(prompt) for prompt in asked}) > 3, "padding must occur"
    decoding, objective = run.contract.decoding, run.model.objective
    together = complete(loaded.model, loaded.tokenizer, asked, decoding, objective)
    alone = [complete(loaded.model, loaded.tokenizer, [prompt], decoding, objective)[0] for prompt in asked]
    assert together == alone


def test_a_shipped_generation_config_is_overridden_and_left_as_it_was() -> None:
    """BART ships beams, a minimum length, blocked n-grams and a forced end token."""
    run, folder = mini_run("bart-large-xsum", new_tokens=24)
    loaded = load(run, folder)
    asked = prompts(run, loaded, course().eval[:6])
    plain = complete(loaded.model, loaded.tokenizer, asked, run.contract.decoding, "seq2seq")
    config = loaded.model.generation_config
    assert config.num_beams > 1, "the twin must ship what its sibling ships"
    for key, value in {"min_length": 20, "no_repeat_ngram_size": 2, "repetition_penalty": 5.0}.items():
        setattr(config, key, value)
    config.forced_bos_token_id = loaded.tokenizer.mask_token_id
    assert complete(loaded.model, loaded.tokenizer, asked, run.contract.decoding, "seq2seq") == plain
    assert loaded.model.generation_config is config


def test_an_answer_that_does_not_end_is_marked_as_cut_off() -> None:
    run, folder = mini_run("gpt2", method="full", new_tokens=2)
    loaded = load(run, folder)
    written = complete(
        loaded.model,
        loaded.tokenizer,
        prompts(run, loaded, course().eval[:8]),
        run.contract.decoding,
        "causal",
    )
    assert all(completion.tokens <= 2 for completion in written)
    assert any(completion.truncated for completion in written)
