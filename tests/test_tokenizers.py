"""Real tokenizers and small random models of the real classes: what is supervised, token by token.

The batches are caught where they enter the model, after the real trainer and collator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from bench import registry
from bench.data import prepare, sources
from bench.prompt import render
from bench.run.answers.generate import complete
from bench.run.encode import encode_all, encode_prompt
from bench.run.identity import Backend, Checkpoint, Run
from bench.run.plan import plan
from bench.spec import Budget, Contract, Decoding, Example
from bench.train.encoded import IGNORED
from bench.train.fit import fit
from bench.train.load import Loaded

SMALL = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
#: registered model -> (tokenizer folder, class, configuration)
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("gpt2", "GPT2LMHeadModel", {"n_embd": 64, "n_layer": 1, "n_head": 2}),
    "gpt-neo-125m": (
        "gpt2",
        "GPTNeoForCausalLM",
        {"hidden_size": 64, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    ),
    "phi-1.5": ("gpt2", "PhiForCausalLM", SMALL),
    "llama-2-7b": ("mistral-7b-v0.3", "LlamaForCausalLM", SMALL),
    "mistral-7b-v0.3": ("mistral-7b-v0.3", "MistralForCausalLM", {**SMALL, "num_key_value_heads": 1}),
    "llama-3.1-8b": ("llama-3.1-8b", "LlamaForCausalLM", {**SMALL, "num_key_value_heads": 1}),
    "bart-large-xsum": (
        "bart-large-xsum",
        "BartForConditionalGeneration",
        {
            "d_model": 64,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
        },
    ),
}


@dataclass
class Case:
    run: Run
    loaded: Loaded
    examples: list[Example]


@pytest.fixture(scope="module")
def dolly(shared: Path) -> list[Example]:
    spec = registry.find_dataset("dolly")
    columns = spec.columns
    from bench.data.shape import to_example

    local = sources.from_file(spec, shared / "data/dolly/databricks-dolly-15k.jsonl")
    found = []
    for row in sources.rows(local):
        example = to_example(row, local, columns)
        if isinstance(example, Example):
            found.append(example)
        if len(found) == 400:
            break
    return found


@pytest.fixture(params=FAMILIES)
def case(request: pytest.FixtureRequest, shared: Path, dolly: list[Example]) -> Case:
    folder, architecture, configuration = FAMILIES[request.param]
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / folder)
    torch.manual_seed(0)
    kind = getattr(transformers, architecture)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if kind.config_class.model_type == "bart":
        ids |= {"pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": tokenizer.eos_token_id}
    model = kind(kind.config_class(vocab_size=len(tokenizer), **configuration, **ids))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    spec = registry.find_model(request.param)
    spec = spec.model_copy(
        update={"recipe": spec.recipe.model_copy(update={"method": "full", "micro_batch": 4})}
    )
    spec = spec.model_copy(
        update={"recipe_mini": {}, "recipe": spec.recipe.model_copy(update={"optimizer": "adamw_torch"})}
    )
    ref = prepare.DataRef(name="dolly", digest="0")
    contract = Contract(
        train=ref, eval=ref, budget=Budget(steps=1, effective_batch=4), scorer="rouge", max_length=96
    )
    origin = Checkpoint(source="random", revision="0", kind="folder")
    (run,) = plan([(spec, origin)], [0], contract, "mini", "cpu", {})
    backend = Backend(name="transformers", reason="test", precision="float32")
    return Case(run, Loaded(model, tokenizer, backend, adapter=False), dolly)


def test_the_prompts_tokens_begin_the_tokens_of_prompt_and_answer(case: Case) -> None:
    """Of an encoder-decoder the prompt is the encoder's and the answer the decoder's."""
    tokenizer, objective = case.loaded.tokenizer, case.run.model.objective
    for example in case.examples:
        prompt = tokenizer(render(example, "qa"))["input_ids"]
        if objective == "seq2seq":
            (encoded,) = encode_all([example], tokenizer, "qa", 10_000, objective)
            assert encoded.input_ids == prompt
            assert tokenizer.decode(encoded.labels, skip_special_tokens=True) == example.answers[0]
            continue
        whole = tokenizer(render(example, "qa") + example.answers[0])["input_ids"]
        assert whole[: len(prompt)] == prompt


def test_examples_are_encoded_together_as_they_are_alone(case: Case) -> None:
    tokenizer, objective = case.loaded.tokenizer, case.run.model.objective
    for longest in (512, 48):
        together = encode_all(case.examples, tokenizer, "qa", longest, objective)
        alone = [encode_all([example], tokenizer, "qa", longest, objective)[0] for example in case.examples]
        assert together == alone
    assert encode_all([], tokenizer, "qa", 512, objective) == []


def test_only_the_answer_and_its_end_token_have_a_loss(case: Case, tmp_path: Path) -> None:
    tokenizer, run = case.loaded.tokenizer, case.run
    chosen = [
        example
        for example in case.examples
        if 3 < len(example.answers[0].split()) < 25 and not example.context
    ][:4]
    encoded = encode_all(chosen, tokenizer, "qa", run.contract.max_length, run.model.objective)
    caught: list[dict[str, torch.Tensor]] = []
    case.loaded.model.register_forward_pre_hook(
        lambda module, args, kwargs: caught.append({k: v for k, v in kwargs.items() if torch.is_tensor(v)}),
        with_kwargs=True,
    )
    labels_given: list[torch.Tensor] = []
    original = transformers.Trainer.training_step

    def spying(self: Any, model: Any, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        labels_given.append(inputs["labels"].clone())
        return original(self, model, inputs, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.Trainer, "training_step", spying)
        fit(run, case.loaded, encoded, tmp_path, report=lambda *_: None)
    batch, (labels,) = caught[-1], labels_given  # a look at the loss comes before the training step
    assert len({len(answer_ids) for answer_ids in (e.labels for e in encoded)}) > 1, "padding must occur"
    for row, example in enumerate(chosen):
        supervised = labels[row][labels[row] != IGNORED].tolist()
        answer = tokenizer.decode(supervised, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert answer.strip() == example.answers[0]
        assert supervised[-1] == tokenizer.eos_token_id
        assert supervised.count(tokenizer.eos_token_id) == 1 + (supervised[0] == tokenizer.eos_token_id)
        real = batch["attention_mask"][row].bool()
        text = tokenizer.decode(
            batch["input_ids"][row][real], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert text.startswith(render(example, "qa"))
        if run.model.objective == "causal":
            assert (labels[row][~real] == IGNORED).all()


def test_too_long_a_prompt_keeps_the_question_and_the_whole_answer(case: Case) -> None:
    tokenizer, run = case.loaded.tokenizer, case.run
    example = Example(
        "1", "What is the colour of the sky?", ("Blue, on most days.",), context="far away " * 200
    )
    (encoded,) = encode_all([example], tokenizer, "qa", run.contract.max_length, run.model.objective)
    assert encoded.truncated
    assert len(encoded.input_ids) <= run.contract.max_length
    text = tokenizer.decode(encoded.input_ids)
    assert "What is the colour of the sky?\nAnswer:\n" in text
    assert encoded.labels[-1] == tokenizer.eos_token_id
    if tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id:
        assert encoded.input_ids[0] == tokenizer.bos_token_id


def test_too_long_an_answer_has_no_end_token(case: Case) -> None:
    tokenizer, run = case.loaded.tokenizer, case.run
    example = Example("1", "Why?", ("because of that " * 100,))
    (encoded,) = encode_all([example], tokenizer, "qa", run.contract.max_length, run.model.objective)
    assert encoded.truncated
    assert encoded.labels[-1] != tokenizer.eos_token_id


def test_the_answer_is_cut_from_the_prompt_by_position(case: Case) -> None:
    """Against a greedy loop of our own that never pads and never leaves token ids."""
    tokenizer, run, model = case.loaded.tokenizer, case.run, case.loaded.model.eval()
    decoding = Decoding(max_new_tokens=6, batch=4)
    prompts = [
        encode_prompt(example, tokenizer, "qa", 96, decoding, run.model.objective)
        for example in case.examples[:4]
    ]
    written = complete(model, tokenizer, prompts, decoding, run.model.objective)
    for prompt, completion in zip(prompts, written, strict=True):
        expected = greedy_loop(model, prompt, 6, tokenizer.eos_token_id)
        kept = [token for token in expected if token != tokenizer.eos_token_id]
        text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert completion.text == text.strip()
        assert completion.tokens == len(expected)


@torch.no_grad()
def greedy_loop(model: Any, prompt: list[int], limit: int, end: int) -> list[int]:
    new: list[int] = []
    while len(new) < limit and end not in new:
        if model.config.is_encoder_decoder:
            start = [model.config.decoder_start_token_id, *new]
            logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([start])).logits
        else:
            logits = model(input_ids=torch.tensor([prompt + new])).logits
        new.append(int(logits[0, -1].argmax()))
    return new
