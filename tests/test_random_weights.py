"""`--weights random`: checkpoints of the true architecture that are made here, and where their runs stand."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from records import make_record

from bench import registry
from bench.cli import run_verb
from bench.errors import NotEnough, RequestError
from bench.judge.board import board
from bench.launch import preflight
from bench.render.card import model_card
from bench.render.page import page
from bench.render.text import leaderboard
from bench.spec import ModelSpec
from bench.store.ledger import Ledger
from bench.train import random_weights

TINY = """
[config]
vocab_size = 5000
n_embd = 64
n_layer = 2
n_head = 4
n_positions = 512
dtype = "bfloat16"
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """GPT-2's class with few and narrow layers, in a registry of the user's own."""
    (tmp_path / "models").mkdir()
    whole = (ROOT / "models" / "gpt2.toml").read_text().partition("[config]")[0]
    (tmp_path / "models" / "tiny.toml").write_text(whole.replace("124_439_808", "500_000") + TINY)
    monkeypatch.chdir(tmp_path)
    return registry.find_model("tiny")


def made(spec: ModelSpec) -> Path:
    return random_weights.loadable(spec, random_weights.identity(spec))


def test_the_checkpoint_has_the_class_the_type_and_the_size_of_its_config(tiny: ModelSpec) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(made(tiny), use_safetensors=True, dtype="auto")
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert model.dtype == torch.bfloat16
    with torch.device("meta"):
        empty = type(model)(type(model).config_class(**tiny.config))
    assert model.num_parameters() == empty.num_parameters()
    assert 0.019 < model.transformer.wte.weight.float().std() < 0.021


def test_without_the_published_tokenizer_the_twins_is_taken_and_named(tiny: ModelSpec) -> None:
    from transformers import AutoConfig, AutoTokenizer

    folder = made(tiny)
    tokenizer, config = AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder)
    assert len(tokenizer) <= config.vocab_size
    assert tokenizer.eos_token_id == config.eos_token_id
    assert (
        random_weights.note(folder) == "tokenizer of the twin 'gpt2': the published one is not in the cache"
    )


def test_large_weights_are_written_in_shards(tiny: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    other = tiny.model_copy(update={"config": {**tiny.config, "n_layer": 3}})
    monkeypatch.setattr(random_weights, "SHARD", 100_000)
    folder = made(other)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    _, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not set(report["missing_keys"]) - {"lm_head.weight"}


def test_a_checkpoint_is_made_once(tiny: ModelSpec) -> None:
    folder = made(tiny)
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert {file.name: file.stat().st_mtime_ns for file in made(tiny).iterdir()} == before


def test_another_architecture_is_another_checkpoint(tiny: ModelSpec) -> None:
    wider = tiny.model_copy(update={"config": {**tiny.config, "n_embd": 128}})
    assert random_weights.identity(wider) != random_weights.identity(tiny)


def test_a_spec_without_a_config_has_no_shape_to_go_by(tiny: ModelSpec) -> None:
    with pytest.raises(RequestError, match=r"its spec has no \[config\]"):
        random_weights.identity(tiny.model_copy(update={"config": {}}))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--scale", "mini"], "--weights random measures published architectures; add --scale full"),
        (["--scale", "full", "--max-length", "1024"], "has 512 positions"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tiny: ModelSpec, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert run_verb(["plan", "--models", "tiny", "--weights", "random", *words]) == 2
    assert part in capsys.readouterr().err


def test_a_model_that_is_too_large_for_this_machine_is_not_written(tiny: ModelSpec) -> None:
    from test_cost import CONTRACT

    from bench.devices import Devices

    large = registry.find_model("llama-3.1-8b")
    with pytest.raises(NotEnough, match="no CUDA GPU"):
        preflight.random([(large, "full")], Devices("cpu"), CONTRACT)


# Where a measured run stands


def random_record(out: Path) -> Any:
    """A record of a run with random weights whose scores would lead any board."""
    stored = make_record(out, "gpt2", scale="full")
    run = stored.record.run
    checkpoint = run.checkpoint.model_copy(update={"kind": "random"})
    run = run.model_copy(update={"checkpoint": checkpoint})
    return replace(stored, record=stored.record.model_copy(update={"run": run, "id": run.id}))


def test_a_measured_run_is_a_row_of_costs_and_no_rank(tmp_path: Path) -> None:
    ranked, measured = make_record(tmp_path, "phi-1.5"), random_record(tmp_path)
    assert "random numbers in this architecture; scores mean nothing" in model_card(measured.record)
    shown = board([ranked], measured=[measured])
    assert [row.model for group in shown.groups for row in group.rows] == ["phi-1.5"]
    assert [row.model for row in shown.costs] == ["gpt2"]
    for text in (leaderboard.markdown(shown), leaderboard.terminal(shown), page(shown)):
        assert "What runs cost, measured with random weights" in text
        assert "no such row is ranked" in " ".join(text.split())


@pytest.mark.slow
def test_a_run_with_random_weights_leaves_its_cost_and_joins_no_comparison(tiny: ModelSpec) -> None:
    words = ["--models", "tiny", "--scale", "full", "--weights", "random", "--budget", "smoke"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", "run", *words, "--eval-limit", "20", "--max-new-tokens", "12"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "tokenizer of the twin 'gpt2'" in done.stdout
    ledger = Ledger(Path("reports"))
    assert ledger.load() == ([], [])
    (stored,), _ = ledger.measured()
    assert stored.record.run.checkpoint.kind == "random"
    assert stored.record.spent.tokens_per_second > 0
    assert ledger.finished(stored.record.id)
    assert "## What runs cost" in Path("reports/leaderboard.md").read_text()
