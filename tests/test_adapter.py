"""A saved adapter as a model: its base and settings are read, it is merged, and what cannot be is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub import Hub
from runs import course, job_for, mini_run, prompts, trained
from test_hub_runs import WHOLE, Ask, ask, hub  # noqa: F401  (fixtures)

from bench import provenance, registry
from bench.cli import run_verb
from bench.errors import RequestError
from bench.judge.doubts import Code, row_doubts
from bench.launch import preflight
from bench.render.doubts import badge
from bench.run import attempt
from bench.run import plan as planning
from bench.run.answers.generate import complete
from bench.run.job import PENDING
from bench.spec import Budget
from bench.store.record import Record
from bench.train import adapter
from bench.train.local import shapes
from bench.verbs import model_options

FEW = replace(course(), train=course().train[:16], eval=course().eval[:4], followed=())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A twin's saved adapter, and what the tuned model answered before it was saved."""
    place = tmp_path_factory.mktemp("tuned")
    run, folder = mini_run("gpt2", steps=4, new_tokens=8, rank=8, alpha=32, learning_rate=1e-2)
    loaded, _ = trained(run, folder, place / "work")
    written = complete(
        loaded.model, loaded.tokenizer, prompts(run, loaded, FEW.eval), run.contract.decoding, "causal"
    )
    loaded.model.save_pretrained(place / "my-adapter")
    loaded.tokenizer.save_pretrained(place / "my-adapter")
    return place / "my-adapter", [answer.text for answer in written]


@pytest.fixture
def own(tuned: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to damage, in the current folder."""
    shutil.copytree(tuned[0], tmp_path / "my-adapter")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my-adapter"


def changed(folder: Path, **facts: Any) -> None:
    file = folder / adapter.CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def test_base_and_settings_are_read(own: Path) -> None:
    spec = model_options._model("./my-adapter")
    assert (spec.name, spec.family, spec.architecture) == ("my-adapter", "gpt2", "GPT2LMHeadModel")
    recipe = spec.recipe
    assert (recipe.method, recipe.rank, recipe.alpha) == ("lora", 8, 32)
    assert recipe.targets == ["c_attn", "c_fc", "c_proj"]
    assert spec.parameters == registry.local_model(registry.TWINS / "gpt2").parameters


def test_the_identity_holds_both_digests(own: Path) -> None:
    spec = model_options._model(str(own))
    checkpoint, folder = preflight.checkpoint(spec, "full", "cpu")
    base = preflight.local_digest(registry.TWINS / "gpt2")
    assert folder == own
    assert checkpoint.source == "my-adapter over gpt2"
    assert checkpoint.base is not None
    assert (checkpoint.adapter, checkpoint.base.revision) == (adapter.holding(own).digest, base)
    changed(own, lora_alpha=16)
    other, _ = preflight.checkpoint(spec, "full", "cpu")
    assert other.revision != checkpoint.revision
    assert other.base == checkpoint.base


def test_it_answers_as_the_model_that_was_tuned_and_the_row_says_what_it_is(
    own: Path, tuned: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Scored without training; the base of a row that is trained is the same start."""
    spec = model_options._model(str(own))
    checkpoint, _ = preflight.checkpoint(spec, "full", "cpu")
    like, _ = mini_run("gpt2", steps=4, new_tokens=8)
    contract = like.contract.model_copy(update={"budget": Budget(steps=0, effective_batch=8)})
    versions = provenance.versions()
    (run,) = planning.plan([(spec, checkpoint)], [0], contract, "full", "cpu", versions, "transformers")
    attempt.execute(job_for(run, own, FEW, tmp_path), emit=lambda _: None)
    lines = (tmp_path / "completions.jsonl").read_text().splitlines()
    assert [json.loads(line)["tuned"] for line in lines] == tuned[1]
    record = Record.model_validate_json((tmp_path / PENDING).read_bytes())
    assert str(own) not in record.model_dump_json()
    (doubt,) = (doubt for doubt in row_doubts([record]) if doubt.code == Code.ADAPTER)
    assert "starts from the adapter my-adapter over gpt2" in badge(doubt).reason
    assert str(checkpoint.adapter)[:8] in badge(doubt).reason


def test_a_plan_takes_an_adapter_like_any_model(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["plan", "--models", "./my-adapter,gpt2", "--rank", "4", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [(run["model"], run["scale"]) for run in data["runs"]] == [
        ("my-adapter", "full"),
        ("gpt2", "mini"),
    ]


def cut(folder: Path) -> None:
    file = folder / adapter.WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    (folder / adapter.WEIGHTS).rename(folder / adapter.PICKLED)


DAMAGES = {
    "no base": (lambda f: changed(f, base_model_name_or_path=None), "names no base"),
    "a base that is nowhere": (
        lambda f: changed(f, base_model_name_or_path="/gone/checkpoint"),
        "is no checkpoint on this disk, no registered model and no name of the hub",
    ),
    "another base": (
        lambda f: changed(f, base_model_name_or_path=str(registry.TWINS / "phi")),
        "does not fit its base",
    ),
    "another kind": (lambda f: changed(f, peft_type="IA3"), "is an adapter of type IA3"),
    "no kind": (lambda f: changed(f, peft_type=None), "is an adapter of type None"),
    "another task": (lambda f: changed(f, task_type="SEQ_CLS"), "LORA for SEQ_CLS"),
    "another rank": (lambda f: changed(f, r=9), "its weights are of rank 8, adapter_config.json says 9"),
    "no number": (lambda f: changed(f, lora_alpha="x"), "'lora_alpha' should be a whole number"),
    "no share": (lambda f: changed(f, lora_dropout=2), "'lora_dropout' should be from 0 to below 1"),
    "pickle only": (pickled, "pickled weights can run code"),
    "no weights": (lambda f: (f / adapter.WEIGHTS).unlink(), "has no adapter_model.safetensors"),
    "cut weights": (cut, "is no whole safetensors file"),
    "no JSON": (lambda f: (f / adapter.CONFIG).write_text("{"), "is not JSON"),
    "a list": (lambda f: (f / adapter.CONFIG).write_text("[]"), "is no JSON object"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_used_is_refused_in_one_line_before_anything_starts(
    own: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, part = DAMAGES[damage]
    spoil(own)
    assert run_verb(["run", "--models", "./my-adapter", "--budget", "smoke"]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("reports").exists()


def test_the_name_of_a_registered_model_is_not_taken(own: Path) -> None:
    own.rename(own.with_name("gpt2"))
    with pytest.raises(RequestError, match="rename the folder"):
        model_options._model("./gpt2")


def test_a_base_of_the_hub_is_pinned_by_its_commit(
    own: Path,
    hub: Hub,  # noqa: F811
    ask: Ask,  # noqa: F811
) -> None:
    config = json.loads(WHOLE["config.json"]) | {"architectures": ["GPT2LMHeadModel"]}
    made = hub.create("team/base", {**WHOLE, "config.json": json.dumps(config)})
    changed(own, base_model_name_or_path="team/base")
    spec = model_options._model(str(own))
    checkpoint, _ = preflight.checkpoint(spec, "full", "cpu")
    assert checkpoint.base is not None
    assert (checkpoint.base.kind, checkpoint.base.source) == ("hub", "team/base")
    assert checkpoint.base.revision == made.branches["main"]
    changed(own, base_model_name_or_path="team/absent")
    with pytest.raises(RequestError, match="no such repository"):
        model_options._model(str(own))


def test_a_registered_base_is_the_registered_checkpoint(own: Path) -> None:
    changed(own, base_model_name_or_path="openai-community/gpt2")
    found = preflight.base_of(adapter.holding(own))
    assert found == registry.find_model("gpt2")


def test_an_adapter_that_changed_after_the_plan_is_not_loaded(own: Path) -> None:
    checkpoint, _ = preflight.checkpoint(model_options._model(str(own)), "full", "cpu")
    changed(own, lora_dropout=0.5)
    with pytest.raises(RequestError, match="has changed since the run was planned"):
        adapter.loadable(own, checkpoint)
    assert shapes(own / adapter.WEIGHTS)
