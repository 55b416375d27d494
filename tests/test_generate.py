"""Generation on the twins: batches change nothing, and a checkpoint's own settings have no say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import FAMILIES, course, mini_run, prompts, trained
from transformers import DynamicCache

from bench.run.answers.generate import complete, computing_in
from bench.run.answers.shrink import can_shrink
from bench.train.load import Loaded, load


@pytest.fixture(scope="module", params=FAMILIES)
def twin(request: pytest.FixtureRequest) -> tuple[str, Loaded]:
    run, folder = mini_run(request.param, method="full")
    return request.param, load(run, folder)


def test_a_batch_is_answered_as_its_prompts_one_by_one(twin: tuple[str, Loaded]) -> None:
    name, loaded = twin
    run, _ = mini_run(name, new_tokens=24)
    inputs = prompts(run, loaded, course().eval[:12])
    assert len({len(prompt) for prompt in inputs}) > 3, "padding must occur"
    decoding, objective = run.contract.decoding, run.model.objective
    together = complete(loaded.model, loaded.tokenizer, inputs, decoding, objective)
    alone = [complete(loaded.model, loaded.tokenizer, [prompt], decoding, objective)[0] for prompt in inputs]
    assert together == alone


def often_written(loaded: Loaded, texts: list[str]) -> int:
    """A token that stands in many texts, so that as an end token it ends them early."""
    special = set(loaded.tokenizer.all_special_ids)
    tokens = [set(loaded.tokenizer(text)["input_ids"]) - special for text in texts]
    return Counter(token for row in tokens for token in row).most_common(1)[0][0]


@contextmanager
def ending_with(tokenizer: Any, token: int) -> Iterator[None]:
    """Another end token, while this lasts."""
    shipped = tokenizer.eos_token_id
    tokenizer.eos_token_id = token
    try:
        yield
    finally:
        tokenizer.eos_token_id = shipped


def test_answers_that_have_ended_leave_their_batch_and_no_token_changes(twin: tuple[str, Loaded]) -> None:
    name, loaded = twin
    run, _ = mini_run(name, new_tokens=24)
    inputs = prompts(run, loaded, course().eval[:16])
    parts = loaded.model, loaded.tokenizer, inputs, run.contract.decoding, run.model.objective
    end = often_written(loaded, [completion.text for completion in complete(*parts)])
    rows: list[int] = []
    hook = loaded.model.register_forward_pre_hook(
        lambda _, args, given: rows.append(len(given.get("decoder_input_ids", given.get("input_ids")))),
        with_kwargs=True,
    )
    with ending_with(loaded.tokenizer, end):
        shrunk = complete(*parts)
        hook.remove()
        whole = complete(*parts, shrinks=False)
    assert len({completion.tokens for completion in whole}) > 3, "answers must end at different times"
    assert shrunk == whole
    assert rows[0] == 16
    assert rows == sorted(rows, reverse=True)
    assert sum(rows) <= 1.3 * sum(completion.tokens for completion in whole), "few are computed in vain"


def test_a_batch_with_an_input_that_cannot_be_cut_stays_whole() -> None:
    cache, mask = DynamicCache(), torch.ones(3, 5)
    assert can_shrink({"past_key_values": cache, "attention_mask": mask, "logits_to_keep": 1}, 3)
    assert not can_shrink({"past_key_values": cache, "attention_mask": mask, "pixel_values": mask}, 3)
    assert not can_shrink({"past_key_values": cache, "position_ids": torch.ones(4, 3, 5)}, 3)
    assert not can_shrink({"attention_mask": mask}, 3)


def test_a_shipped_generation_config_is_overridden_and_left_as_it_was() -> None:
    """BART ships beams, a minimum length, blocked n-grams and a forced end token."""
    run, folder = mini_run("bart-large-xsum", new_tokens=24)
    loaded = load(run, folder)
    inputs = prompts(run, loaded, course().eval[:6])
    config = loaded.model.generation_config
    beams = config.num_beams
    assert beams > 1, "the twin must ship what its sibling ships"
    config.num_beams = 1
    plain = complete(loaded.model, loaded.tokenizer, inputs, run.contract.decoding, "seq2seq")
    config.num_beams = beams
    for key, value in {"min_length": 20, "no_repeat_ngram_size": 2, "repetition_penalty": 5.0}.items():
        setattr(config, key, value)
    config.forced_bos_token_id = loaded.tokenizer.mask_token_id
    assert complete(loaded.model, loaded.tokenizer, inputs, run.contract.decoding, "seq2seq") == plain
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


class SmallMemory:
    """Lets a model generate for at most so many prompts at once, and counts the prompts of each batch."""

    def __init__(self, model: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.widths: list[int] = []
        generate = model.generate

        def limited(input_ids: torch.Tensor, **options: Any) -> Any:
            self.rows.append(len(input_ids))
            self.widths.append(input_ids.shape[1])
            if len(input_ids) > most:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 69.00 GiB")
            return generate(input_ids=input_ids, **options)

        monkeypatch.setattr(model, "generate", limited)


def test_a_batch_that_does_not_fit_is_halved_and_the_answers_are_the_same(
    twin: tuple[str, Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32; what a smaller batch changes in bfloat16 only a GPU can show."""
    name, loaded = twin
    run, _ = mini_run(name, new_tokens=12)
    inputs = prompts(run, loaded, course().eval[:12])
    decoding, objective = run.contract.decoding, run.model.objective
    whole = complete(loaded.model, loaded.tokenizer, inputs, decoding, objective)
    memory = SmallMemory(loaded.model, 3, monkeypatch)
    halved = complete(loaded.model, loaded.tokenizer, inputs, decoding, objective)
    assert halved == whole
    assert memory.rows == [12, 6, 3, 3, 3, 3]
    assert {completion.batch for completion in halved} == {3}
    assert {completion.batch for completion in whole} == {decoding.batch}


def test_the_longest_prompts_come_first_so_that_memory_runs_out_at_once(
    twin: tuple[str, Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, loaded = twin
    run, _ = mini_run(name, new_tokens=1)
    inputs = prompts(run, loaded, course().eval[:12])
    memory = SmallMemory(loaded.model, 12, monkeypatch)
    decoding = run.contract.decoding.model_copy(update={"batch": 3})
    complete(loaded.model, loaded.tokenizer, inputs, decoding, run.model.objective)
    assert memory.widths == sorted(memory.widths, reverse=True)
    assert memory.widths[0] == max(map(len, inputs))


def test_a_single_prompt_that_does_not_fit_is_the_runs_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = mini_run("gpt2", method="full")
    loaded = load(run, folder)
    memory = SmallMemory(loaded.model, 0, monkeypatch)
    inputs = prompts(run, loaded, course().eval[:2])
    with pytest.raises(torch.cuda.OutOfMemoryError):
        complete(loaded.model, loaded.tokenizer, inputs, run.contract.decoding, "causal")
    assert memory.rows == [2, 1]


def test_an_error_that_is_not_about_memory_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = mini_run("gpt2", method="full")
    loaded = load(run, folder)
    tries = []

    def broken(**options: Any) -> Any:
        tries.append(1)
        raise RuntimeError("device-side assert triggered")

    monkeypatch.setattr(loaded.model, "generate", broken)
    with pytest.raises(RuntimeError, match="assert"):
        complete(loaded.model, loaded.tokenizer, [[1, 2]], run.contract.decoding, "causal")
    assert len(tries) == 1


def test_every_method_answers_in_one_type_and_is_left_as_it_was(tmp_path: Path) -> None:
    """Keys and values of the cache would otherwise be float32, and take twice the memory."""
    for model, method in (("gpt2", "full"), ("gpt2", "lora"), ("llama-3.1-8b", "qlora")):
        run, folder = mini_run(model, steps=1, method=method)
        loaded, _ = trained(run, folder, tmp_path / f"{model}-{method}")
        before = {name: p.detach().clone() for name, p in loaded.model.named_parameters()}
        ids = torch.tensor(prompts(run, loaded, course().eval[:1]))
        loaded.model.eval()
        with computing_in(loaded.model, torch.bfloat16), torch.inference_mode():
            cache = loaded.model(ids, use_cache=True).past_key_values
        assert {layer.keys.dtype for layer in cache.layers} == {torch.bfloat16}, method
        for name, parameter in loaded.model.named_parameters():
            assert torch.equal(parameter, before[name]), name
