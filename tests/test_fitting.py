"""What fits where: `bench list models` by the cost law, for this machine and for a GPU that is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import devices, registry
from bench.cli import run_verb
from bench.devices import Devices, Gpu
from bench.run.cost import CARDS, GIB
from bench.verbs import fitting
from bench.verbs.fitting import fit

MODELS = sorted(registry.models())
#: What 4 bit needs is not what Unsloth alone would need.
PLAIN = {"torch": "2.13.0"}


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, dict[str, Any]]:
    assert run_verb(["list", "models", "--json", *options]) == 0
    return {row["model"]: row for row in json.loads(capsys.readouterr().out)}


@pytest.fixture
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, 8 GB, no GPU."""
    monkeypatch.setattr(devices, "here", lambda: Devices("cpu"))
    monkeypatch.setattr(fitting, "memory", lambda: 8 * GIB)


@pytest.mark.usefixtures("laptop")
def test_size_licence_gate_and_what_fits_stand_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["list", "models"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    (llama,) = (line for line in text.splitlines() if line.startswith("llama-3.1-8b"))
    assert all(part in llama for part in ("8.03 B", "qlora", "Llama 3.1 Community", "yes", "needs a GPU"))
    (gpt2,) = (line for line in text.splitlines() if line.startswith("gpt2 "))
    assert gpt2.split() == ["gpt2", "124", "M", "lora", "MIT", "fits"]
    assert "8.0 GB" in text
    assert "Twins of all but smollm2-135m" in " ".join(text.split())


@pytest.mark.usefixtures("laptop")
def test_the_data_hold_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys)
    assert sorted(rows) == MODELS
    assert rows["llama-3.1-8b"]["gated"] is True
    assert rows["llama-3.1-8b"]["parameters"] == 8_030_261_248
    assert (rows["llama-3.1-8b"]["fits"], rows["gpt2"]["fits"]) == (False, True)
    assert rows["gpt-neo-1.3b"]["memory"] > 8 * GIB


def test_a_gpu_that_is_named_stands_for_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["fits"] for row in listed(capsys, "--gpu", "A100-80").values()} == {True}
    assert {row["device"] for row in listed(capsys, "--gpu", "T4").values()} == {"T4, 14.7 GB"}
    assert run_verb(["list", "runs", "--gpu", "T4"]) == 2
    assert "--gpu is for models" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "card", "words"),
    [("qlora", "T4", "fits"), ("lora", "T4", "needs 4 bit"), ("lora", "A100-40", "fits")],
)
def test_what_fits_in_4_bit_only_is_told(method: str, card: str, words: str) -> None:
    spec = registry.find_model("mistral-7b-v0.3")
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"method": method})})
    assert fit(spec, CARDS[card], {**PLAIN, "unsloth": "2026.10.9"}).words == words


def test_what_fits_in_no_way_says_what_it_needs() -> None:
    spec = registry.find_model("mistral-7b-v0.3")
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"method": "full"})})
    found = fit(spec, CARDS["L4"].__class__("tiny", 4 * GIB, 65e12, 320e9), PLAIN)
    assert found.fits is False
    assert found.needed is not None
    assert found.words == f"needs {-(-found.needed // GIB)} GB"


def test_a_model_of_unknown_shape_is_not_guessed_at() -> None:
    spec = registry.find_model("gpt2").model_copy(update={"config": {}})
    assert fit(spec, CARDS["T4"], PLAIN) == fitting.Fit(None, "not known")


def test_the_smallest_gpu_of_the_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 80 * GIB), Gpu("Small", (7, 5), 2 * GIB))
    monkeypatch.setattr(devices, "here", lambda: Devices("cuda", gpus))
    assert fit(registry.find_model("bart-large-xsum"), None, PLAIN).fits is False
