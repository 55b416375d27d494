"""The types that runs compute and store in, by what a device can do, and what records say of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from runs import mini_run, trained
from torch import bfloat16, float16, float32

from bench.errors import OtherCheckpoint
from bench.run.identity import Checkpoint, Run
from bench.train.fit import arguments
from bench.train.load import check_source, load
from bench.train.numerics import (
    chosen_type,
    computing_type,
    keep_trained_weights_in_float32,
    optimizer,
    types,
)

V100, T4, A100, H100 = (7, 0), (7, 5), (8, 0), (9, 0)


@pytest.mark.parametrize(
    ("choice", "device", "capability", "expected"),
    [
        ("auto", "cuda", V100, float16),
        ("auto", "cuda", T4, float16),
        ("auto", "cuda", A100, bfloat16),
        ("auto", "cuda", H100, bfloat16),
        ("auto", "cpu", None, float32),
        ("auto", "mps", None, float32),
        ("fp16", "cuda", A100, float16),
        ("fp32", "cuda", A100, float32),
        ("bf16", "cuda", A100, bfloat16),
        ("bf16", "cpu", None, bfloat16),
    ],
)
def test_a_device_computes_in_what_it_has_in_hardware(
    choice: Any, device: Any, capability: tuple[int, int] | None, expected: torch.dtype
) -> None:
    assert computing_type(choice, device, capability) == (expected, None)


@pytest.mark.parametrize(
    ("choice", "device", "capability", "expected", "reason"),
    [
        ("bf16", "cuda", T4, float16, "the GPU has 7.5"),
        ("fp16", "cpu", None, float32, "no loss scaling"),
        ("bf16", "mps", None, float32, "not used on mps"),
    ],
)
def test_a_recipe_that_asks_for_more_falls_back_with_its_reason(
    choice: Any, device: Any, capability: tuple[int, int] | None, expected: torch.dtype, reason: str
) -> None:
    dtype, fallback = computing_type(choice, device, capability)
    assert dtype is expected
    assert fallback is not None
    assert reason in fallback


def test_a_gpu_is_asked_for_its_capability_and_not_for_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A T4 answers that bfloat16 is supported, because it can emulate it."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: T4)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    run, _ = mini_run("gpt2")
    assert chosen_type(run.model_copy(update={"device": "cuda"})) == (float16, None)


@pytest.mark.parametrize(
    ("dtype", "flags"), [(float16, (False, True)), (bfloat16, (True, False)), (float32, (False, False))]
)
def test_float16_trains_with_loss_scaling_and_the_others_without(
    dtype: torch.dtype, flags: tuple[bool, bool], tmp_path: Path
) -> None:
    run, _ = mini_run("gpt2")
    given = arguments(run, tmp_path, 200, (), dtype)
    assert (given["bf16"], given["fp16"]) == flags


def test_a_record_names_the_types_that_training_used(tmp_path: Path) -> None:
    """TRL casts the adapter of a 4-bit model to bfloat16 by itself; embeddings stay float32."""
    run, folder = mini_run("llama-3.1-8b", steps=1)
    loaded, _ = trained(run, folder, tmp_path)
    backend = loaded.backend
    assert (backend.precision, backend.adapter_type, backend.stored_type) == (
        "float32",
        "bfloat16",
        "float32, nf4",
    )


def test_a_fully_tuned_model_has_no_adapter_type(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2", steps=1, method="full")
    loaded, _ = trained(run, folder, tmp_path)
    assert (loaded.backend.adapter_type, loaded.backend.stored_type) == (None, "float32")


def test_under_loss_scaling_the_adapter_is_float32_and_the_base_as_it_was() -> None:
    run, folder = mini_run("gpt2")
    model = load(run, folder).model
    for parameter in model.parameters():
        parameter.data = parameter.data.to(bfloat16)
    keep_trained_weights_in_float32(model)
    assert types(model, adapter=True) == ("float32", "bfloat16")


def test_a_fallback_of_numerics_is_on_the_record() -> None:
    run, folder = mini_run("gpt2", precision="fp16")
    assert "float32 instead of fp16: a CPU has no loss scaling" in load(run, folder).backend.fallbacks


def test_on_mps_an_8bit_optimizer_becomes_its_plain_form() -> None:
    run, _ = mini_run("gpt2", optimizer="adamw_8bit")
    assert optimizer(run) == ("adamw_8bit", None)
    name, reason = optimizer(run.model_copy(update={"device": "mps"}))
    assert name == "adamw_torch"
    assert reason == "adamw_torch instead of adamw_8bit: no 8-bit optimizers on mps"


def config(name: str, commit: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(_name_or_path=name, _commit_hash=commit)


def hub_run() -> Run:
    run, _ = mini_run("llama-3.1-8b")
    origin = Checkpoint(source="meta-llama/Llama-3.1-8B", revision="d" * 40, kind="hub")
    return run.model_copy(update={"checkpoint": origin, "backend": "unsloth"})


def test_the_checkpoint_that_was_asked_for_is_accepted() -> None:
    check_source(config("meta-llama/Llama-3.1-8B", "d" * 40), hub_run(), "meta-llama/Llama-3.1-8B")


def test_a_mirror_or_another_commit_is_refused_by_name() -> None:
    run, source = hub_run(), "meta-llama/Llama-3.1-8B"
    with pytest.raises(OtherCheckpoint, match=r"from unsloth/llama-3.*, not meta-llama"):
        check_source(config("unsloth/llama-3.1-8b-unsloth-bnb-4bit", "d" * 40), run, source)
    with pytest.raises(OtherCheckpoint, match=r"at commit eeee.*, not dddd"):
        check_source(config(source, "e" * 40), run, source)


def test_unsloth_is_asked_for_the_exact_name_and_held_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in redirects as Unsloth does, unless the exact name is asked for."""

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(name: str, **options: Any) -> tuple[Any, Any]:
            exact = options.get("use_exact_model_name", False)
            loaded = config(name if exact else f"unsloth/{name}-bnb-4bit", options["revision"])
            raise Answer(loaded)

    class Answer(Exception):
        pass

    stand_in = ModuleType("unsloth")
    stand_in.FastLanguageModel = FastLanguageModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "unsloth", stand_in)
    with pytest.raises(Answer) as answered:
        load(hub_run(), None)
    (loaded,) = answered.value.args
    check_source(loaded, hub_run(), "meta-llama/Llama-3.1-8B")
