"""The cost law: shapes from published configs, memory and time beside published figures, and `bench plan`."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest
from conftest import ROOT

from bench import devices, registry
from bench.cli import run_verb
from bench.devices import Devices, Gpu
from bench.errors import NotEnough
from bench.launch import preflight
from bench.run import cost
from bench.run.cost import CARDS, EXPECTED_ERROR, GIB
from bench.run.shape import shape_of, stored_bytes
from bench.spec import Contract, DataRef
from bench.verbs.options import PRESETS

LLAMA, MISTRAL = registry.find_model("llama-3.1-8b"), registry.find_model("mistral-7b-v0.3")
MODELS = sorted(registry.models())
ANY = DataRef(name="any", digest="0")
CONTRACT = Contract(train=ANY, eval=ANY, budget=PRESETS["short"], scorer="rouge")


@pytest.fixture(scope="module")
def empty() -> Any:
    """Every registered architecture as published, without memory for its weights."""
    import torch
    import transformers

    models = {}
    for name in MODELS:
        spec = registry.find_model(name)
        architecture = getattr(transformers, spec.architecture)
        with torch.device("meta"):
            models[name] = architecture(architecture.config_class(**spec.config))
    return models


@pytest.mark.parametrize("name", MODELS)
def test_the_config_of_a_spec_gives_the_published_number_of_parameters(empty: Any, name: str) -> None:
    count = sum(parameter.numel() for parameter in empty[name].parameters())
    assert count == registry.find_model(name).parameters


@pytest.mark.parametrize("name", MODELS)
def test_the_linear_layers_of_a_shape_are_those_of_the_model(empty: Any, name: str) -> None:
    """All but the head, which no adapter stands beside and 4 bit leaves alone."""
    kinds = ("Linear", "Conv1D")
    head = empty[name].get_output_embeddings()
    layers = [m for m in empty[name].modules() if type(m).__name__ in kinds and m is not head]
    shape = shape_of(registry.find_model(name).config)
    assert shape is not None
    assert shape.linear == sum(layer.weight.numel() for layer in layers)


@pytest.mark.parametrize("name", ["gpt2", "gpt-neo-125m", "llama-3.1-8b", "phi-1.5"])
def test_an_adapter_has_as_many_numbers_as_peft_makes(empty: Any, name: str) -> None:
    from peft import LoraConfig, get_peft_model

    spec = registry.find_model(name)
    shape = shape_of(spec.config)
    assert shape is not None
    recipe = spec.recipe
    config = LoraConfig(r=recipe.rank, target_modules=recipe.targets, task_type="CAUSAL_LM")
    tuned = get_peft_model(empty[name], config)
    trained = sum(parameter.numel() for parameter in tuned.parameters() if parameter.requires_grad)
    tuned.unload()
    assert shape.adapter(recipe.rank, recipe.targets) == trained


@pytest.mark.parametrize("name", ["gpt2", "bart-large-xsum", "llama-3.1-8b"])
def test_freezing_costs_whole_weights_and_trains_the_last_blocks_and_the_head(empty: Any, name: str) -> None:
    from bench.train.freeze import freeze

    spec = registry.find_model(name)
    shape = shape_of(spec.config)
    assert shape is not None
    recipe = spec.recipe.model_copy(update={"method": "freeze", "last_blocks": 2})
    freeze(empty[name], 2, encoder_decoder=spec.objective == "seq2seq")
    trained = sum(parameter.numel() for parameter in empty[name].parameters() if parameter.requires_grad)
    empty[name].requires_grad_(True)
    setting = cost.Setting(shape, spec.parameters, recipe, "transformers", "cpu")
    assert setting.trained == pytest.approx(trained, rel=0.01)
    assert setting.weights() == 4 * spec.parameters


def test_a_config_without_the_facts_has_no_shape() -> None:
    assert shape_of({"model_type": "mamba", "hidden_size": 768}) is None


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("llama-3.1-8b", 16.06), ("llama-2-7b", 13.48), ("gpt2", 0.498), ("phi-1.5", 2.84)],
)
def test_a_download_has_the_size_of_the_published_weights(name: str, gigabytes: float) -> None:
    spec = registry.find_model(name)
    assert spec.parameters * stored_bytes(spec.config) / 1e9 == pytest.approx(gigabytes, rel=0.01)


# Published figures


@pytest.mark.parametrize("gigabytes", [8, 12, 16, 24, 40, 48, 80])
@pytest.mark.parametrize(
    ("backend", "fixed", "a_token"), [("unsloth", 7.37, 0.212e-3), ("transformers", 9.70, 2.47e-3)]
)
def test_memory_by_tokens_is_that_of_the_published_table(
    backend: Any, fixed: float, a_token: float, gigabytes: int
) -> None:
    """Unsloth's table for Llama-3.1-8B in 4 bit, rank 32, batch 1: the tokens that fit into each memory."""
    tokens = int((gigabytes - fixed) / a_token)
    if tokens <= 0:
        return  # in the table as out of memory
    recipe = LLAMA.recipe.model_copy(update={"rank": 32, "micro_batch": 1})
    what = cost.setting(LLAMA, recipe, backend, "cuda")
    assert what is not None
    assert what.training(tokens, tokens) / GIB == pytest.approx(gigabytes, rel=EXPECTED_ERROR)


def test_what_the_published_table_has_as_out_of_memory_does_not_fit() -> None:
    recipe = LLAMA.recipe.model_copy(update={"rank": 32, "micro_batch": 1})
    what = cost.setting(LLAMA, recipe, "transformers", "cuda")
    assert what is not None
    assert what.training(32, 32) > 8 * GIB


@pytest.mark.parametrize(
    ("spec", "gigabytes"), [(LLAMA, 7.92), (MISTRAL, 5.84)], ids=lambda value: str(value)[:12]
)
def test_memory_on_a_t4_is_that_of_the_published_notebooks(spec: Any, gigabytes: float) -> None:
    """60 steps of 2x4 at rank 16 through Unsloth."""
    what = cost.setting(spec, spec.recipe, "unsloth", "cuda")
    assert what is not None
    assert what.training(2 * 512, 512) / GIB == pytest.approx(gigabytes, rel=EXPECTED_ERROR)


@pytest.mark.parametrize(
    ("spec", "seconds"), [(LLAMA, 463), (MISTRAL, 541)], ids=lambda value: str(value)[:12]
)
def test_training_time_on_a_t4_is_that_of_the_published_notebooks(spec: Any, seconds: float) -> None:
    what = cost.setting(spec, spec.recipe, "unsloth", "cuda")
    assert what is not None
    whole = cost.cost(what, CONTRACT, CARDS["T4"].memory, CARDS["T4"])
    assert whole.training_seconds == pytest.approx(seconds, rel=0.2)


def test_memory_on_a_cpu_is_that_of_the_records_of_this_project() -> None:
    """Its texts are far shorter than the contract allows; the law is asked for what they were."""
    files = sorted((ROOT / "reports" / "smollm2" / "runs").glob("*/record.json"))
    spec = registry.find_model("smollm2-135m")
    what = cost.setting(spec, spec.recipe, "transformers", "cpu")
    assert what is not None
    for file in files:
        spent = json.loads(file.read_text())["spent"]
        answering = what.answering(128, prompt=60, new_tokens=96)
        assert max(answering, what.training(2 * 150, 150)) == pytest.approx(spent["peak_memory"], rel=0.25)


# What follows from the law


def test_the_batch_of_answers_is_halved_until_it_fits() -> None:
    """At full length the cache of 128 answers of Llama-2-7B alone is 34 GB in 16 bit."""
    spec = registry.find_model("llama-2-7b")
    what = cost.setting(spec, spec.recipe, "unsloth", "cuda")
    assert what is not None
    small, large = (cost.cost(what, CONTRACT, CARDS[name].memory, CARDS[name]) for name in ("T4", "A100-80"))
    assert (small.batch, large.batch) == (32, 128)
    assert 34e9 < large.answering < 50e9
    assert small.fits


def test_a_model_that_no_gpu_of_this_machine_holds_is_too_large() -> None:
    small = Devices("cuda", (Gpu("GTX 1050", (6, 1), 4 * GIB),), ("0",))
    with pytest.raises(NotEnough, match=r"'llama-3.1-8b' needs about \d+ GB and the GTX 1050 has 4 GB"):
        preflight.check_memory(LLAMA, "full", small, CONTRACT)
    preflight.check_memory(LLAMA, "mini", small, CONTRACT)
    large = Devices("cuda", (Gpu("T4", (7, 5), int(14.7 * GIB)),), ("0",))
    preflight.check_memory(LLAMA, "full", large, CONTRACT)


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert run_verb(["plan", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_for_a_gpu_needs_neither_one_nor_a_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    costs = plan(capsys, "--gpu", "T4", "--backend", "unsloth")["costs"]
    assert [row["model"] for row in costs] == MODELS
    assert all(row["fits"] for row in costs)
    backends = {row["model"]: row["backend"] for row in costs}
    assert (backends["llama-3.1-8b"], backends["gpt2"]) == ("unsloth", "transformers")


def test_a_plan_for_a_gpu_needs_no_unsloth_on_this_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = metadata.requires

    def without(name: str) -> list[str] | None:
        if name == "unsloth":
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "requires", without)
    costs = plan(capsys, "--gpu", "T4", "--models", "llama-3.1-8b", "--backend", "unsloth")["costs"]
    assert [row["backend"] for row in costs] == ["unsloth"]


def test_a_plan_says_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--gpu", "T4", "--models", "llama-3.1-8b", "--backend", "transformers", "--max-length", "4096")
    (row,) = plan(capsys, *words)["costs"]
    assert not row["fits"]
    assert row["training"] > CARDS["T4"].memory


def test_records_of_the_same_kind_correct_a_plan(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project's own records of SmolLM2 took less than the longest texts would have."""
    from bench.verbs import plan as verb

    monkeypatch.setattr(devices, "here", lambda: Devices("cpu"))
    unasked = lambda models, machine, contract, by_name: (  # noqa: E731
        [(spec, at, preflight.unasked(spec, at)) for spec, at in models],
        [],
    )
    monkeypatch.setattr(verb.request.preflight, "usable", unasked)
    words = ("--scale", "full", "--models", "smollm2-135m")
    (bare,) = plan(capsys, *words, "--out", "none")["costs"]
    (corrected,) = plan(capsys, *words, "--out", str(ROOT / "reports" / "smollm2"))["costs"]
    assert (bare["records"], corrected["records"]) == (0, 3)
    assert 2.4e9 < max(corrected["training"], corrected["answering"]) < 2.6e9
