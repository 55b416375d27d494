"""Methods of tuning: what freezing trains, and one model under several methods as one board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from records import make_run
from runs import FAMILIES, mini_run, trained

from bench import registry
from bench.cli import run_verb
from bench.errors import RequestError, RunFailed, UnknownName
from bench.run.recipes import methods
from bench.spec import Recipe
from bench.store.ledger import Ledger, read
from bench.train.load import load

#: What a frozen model of each family trains: two of four (of BART's decoder, three) blocks, norm and head.
TRAINED = {
    "gpt2": {"transformer.h.2", "transformer.h.3", "transformer.ln_f", "transformer.wte"},
    "gpt-neo-125m": {"transformer.h.2", "transformer.h.3", "transformer.ln_f", "transformer.wte"},
    "phi-1.5": {"model.layers.2", "model.layers.3", "model.final_layernorm", "lm_head"},
    "llama-2-7b": {"model.layers.2", "model.layers.3", "model.norm", "lm_head"},
    "mistral-7b-v0.3": {"model.layers.2", "model.layers.3", "model.norm", "lm_head"},
    "llama-3.1-8b": {"model.layers.2", "model.layers.3", "model.norm", "lm_head"},
    "bart-large-xsum": {"model.decoder.layers.1", "model.decoder.layers.2", "model.shared"},
}


def frozen(model: str, **recipe: Any) -> Any:
    return load(*mini_run(model, method="freeze", **recipe)).model


@pytest.mark.parametrize("family", FAMILIES)
def test_freezing_leaves_the_last_blocks_the_norm_and_the_head(family: str) -> None:
    names = [name for name, weight in frozen(family).named_parameters() if weight.requires_grad]
    outside = [name for name in names if not any(name.startswith(f"{part}.") for part in TRAINED[family])]
    assert outside == []
    for part in TRAINED[family]:
        assert any(name.startswith(f"{part}.") for name in names), part


def test_training_moves_what_is_not_frozen_and_nothing_else(tmp_path: Path) -> None:
    run, folder = mini_run("llama-2-7b", method="freeze", last_blocks=1, learning_rate=1e-3)
    before = {name: weight.detach().clone() for name, weight in load(run, folder).model.named_parameters()}
    model = trained(run, folder, tmp_path)[0].model
    moved = {name for name, weight in model.named_parameters() if not weight.detach().equal(before[name])}
    assert moved == {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert not any(
        name.startswith(("model.embed_tokens", "model.layers.0", "model.layers.2")) for name in moved
    )


def test_a_frozen_model_keeps_its_own_weights_and_has_no_adapter() -> None:
    loaded = load(*mini_run("gpt2", method="freeze"))
    assert not loaded.adapter
    assert loaded.backend.name == "transformers"


def test_more_blocks_than_the_model_has_are_refused_by_name() -> None:
    with pytest.raises(RunFailed, match=r"recipe.last_blocks = 4, but the model has 4 blocks"):
        frozen("gpt2", last_blocks=4)


def test_the_number_of_blocks_is_part_of_a_frozen_run_alone() -> None:
    """Runs of other methods keep the ids that they had before freezing came."""
    assert Recipe(method="lora", last_blocks=3).model_dump() == Recipe(method="lora").model_dump()
    two, three = (mini_run("gpt2", method="freeze", last_blocks=count)[0] for count in (2, 3))
    assert two.id != three.id


def test_committed_records_keep_their_ids() -> None:
    for folder in (ROOT / "reports" / "twins" / "runs").iterdir():
        assert read(folder).id == folder.name


def test_a_models_own_method_is_its_registered_row() -> None:
    spec = registry.find_model("gpt-neo-125m")
    made = methods.variants([(spec, "mini")], methods.parse("full,freeze,lora,qlora"))
    names = [variant.name for variant, _ in made]
    assert names == ["gpt-neo-125m-full", "gpt-neo-125m-freeze", "gpt-neo-125m", "gpt-neo-125m-qlora"]
    assert made[2][0] is spec


@pytest.mark.parametrize("scale", ["mini", "full"])
def test_a_variant_differs_in_method_and_learning_rate_alone(scale: Any) -> None:
    spec = registry.find_model("gpt-neo-125m")
    own = spec.recipe_at(scale)
    other = methods.with_method(spec, "full", scale).recipe_at(scale)
    changes = {"method": "full", "learning_rate": pytest.approx(own.learning_rate / 10)}
    assert dict(other) == {**dict(own), **changes}


def test_a_variant_takes_no_registered_name() -> None:
    spec = registry.find_model("gpt2")
    with pytest.raises(RequestError, match="'gpt2-full' is a registered model"):
        methods.variants([(spec, "mini")], ["full"], {"gpt2-full"})


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'qlora'"):
        methods.parse("full,qlra")


def test_a_record_of_before_reads_as_it_was_written() -> None:
    run = make_run("gpt2")
    assert "last_blocks" not in json.loads(run.model_dump_json())["recipe"]


@pytest.mark.slow
def test_methods_along_a_ladder_are_one_board_a_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--models", "gpt-neo-125m", "--methods", "full,freeze", "--budget", "2x8,4x8", "--json"]
    words += ["--eval-limit", "20", "--max-new-tokens", "4", "--scale", "mini", "--out", str(tmp_path)]
    assert run_verb(words) == 0
    data = json.loads(capsys.readouterr().out)
    assert sorted(group["contract"]["budget"]["steps"] for group in data["groups"]) == [2, 4]
    for group in data["groups"]:
        trainable = {row["method"]: row["trainable_parameters"] for row in group["rows"]}
        assert set(trainable) == {"full", "freeze"}
        assert trainable["freeze"] < trainable["full"]
    assert [rung["examples"] for rung in data["ladders"][0]["rungs"]] == [16, 32]
    assert len({stored.record.data.train_digest for stored in Ledger(tmp_path).load()[0]}) == 2
