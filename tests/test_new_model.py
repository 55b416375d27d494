"""`bench new model`: a spec file from a checkpoint, which passes `bench check` and runs as it stands."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hub import Hub
from test_hub_runs import WHOLE, Ask, ask, hub  # noqa: F401  (fixtures)

from bench import registry
from bench.cli import run_verb
from bench.render.model_spec import CHOICES
from bench.spec import Recipe
from bench.train import local

TWIN = registry.TWINS / "gpt2"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def folder(here: Path) -> Path:
    """A checkpoint of the user's, with a chat template."""
    made = here / "My-Model"
    shutil.copytree(TWIN, made)
    described = json.loads((made / "tokenizer_config.json").read_text())
    (made / "tokenizer_config.json").write_text(json.dumps({**described, "chat_template": "{{ messages }}"}))
    return made


def test_a_folder_becomes_a_spec_that_says_what_may_be_changed(folder: Path, here: Path) -> None:
    assert run_verb(["new", "model", "./My-Model"]) == 0
    text = (here / "models" / "My-Model.toml").read_text()
    spec = registry.find_model("My-Model")
    held = local.holding(folder)
    assert (spec.family, spec.architecture, spec.objective) == ("gpt2", "GPT2LMHeadModel", "causal")
    assert (spec.parameters, spec.config) == (held.parameters, held.config)
    assert spec.checkpoint == str(folder.resolve())
    assert 'checkpoint = "../My-Model"' in text, "both move together"
    assert f"# It has {held.config['n_positions']} positions" in text
    assert '# template = "chat"' in text
    assert spec.recipe == Recipe(), "what bench run --models FOLDER takes"


def test_every_choice_of_a_recipe_stands_in_the_file() -> None:
    assert set(CHOICES) == set(Recipe.model_fields) - {"devices", "last_blocks"}


def test_the_spec_is_the_run_that_the_folder_is_and_checks(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ["plan", "--max-length", "128", "--out", str(here / "reports"), "--json"]
    assert run_verb([*plan, "--models", "./My-Model"]) == 0
    by_path = json.loads(capsys.readouterr().out)["runs"]
    assert run_verb(["new", "model", str(folder)]) == 0
    assert run_verb(["check", "--out", str(here / "reports")]) == 0
    capsys.readouterr()
    assert run_verb([*plan, "--models", "My-Model"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == by_path


def test_a_recipe_that_is_changed_in_the_file_is_another_run(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["new", "model", str(folder)]) == 0
    file = here / "models" / "My-Model.toml"
    file.write_text(file.read_text().replace("rank = 16", "rank = 4").replace('"lora"', '"full"'))
    spec = registry.find_model("My-Model")
    assert (spec.recipe.rank, spec.recipe.method) == (4, "full")
    shutil.rmtree(folder)
    assert run_verb(["plan", "--models", "My-Model"]) == 2
    assert "'../My-Model' is not there; correct it" in capsys.readouterr().err


def test_a_spec_may_point_anywhere_that_the_user_owns(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path_factory.mktemp("away") / "theirs"
    shutil.copytree(TWIN, away)
    assert run_verb(["new", "model", str(away)]) == 0
    assert registry.find_model("theirs").checkpoint == str(away)
    assert f'checkpoint = "{away}"' in (here / "models" / "theirs.toml").read_text()
    monkeypatch.setattr(os, "geteuid", lambda: away.stat().st_uid + 1)
    assert "is another user's" in str(registry.broken("models")["theirs"])


def test_nothing_is_overwritten_and_no_packaged_name_taken(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["new", "model", str(folder), "--name", "mine"]) == 0
    file = here / "models" / "mine.toml"
    file.write_text("# changed\n")
    assert run_verb(["new", "model", str(folder), "--name", "mine"]) == 2
    assert "say --force to replace it" in capsys.readouterr().err
    assert file.read_text() == "# changed\n"
    assert run_verb(["new", "model", str(folder), "--name", "mine", "--force"]) == 0
    assert registry.find_model("mine").architecture == "GPT2LMHeadModel"
    assert run_verb(["new", "model", str(folder), "--name", "gpt2", "--force"]) == 2
    assert "'gpt2' is a registered model already" in capsys.readouterr().err
    assert run_verb(["new", "model", str(folder), "--name", "../mine"]) == 2
    assert [each.name for each in (here / "models").iterdir()] == ["mine.toml"]


def test_a_registered_model_is_copied_with_its_recipe(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["new", "model", "gpt2"]) == 2
    assert "say --name OTHER" in capsys.readouterr().err
    assert run_verb(["new", "model", "gpt2", "--name", "gpt2-mine"]) == 0
    mine, theirs = registry.find_model("gpt2-mine"), registry.find_model("gpt2")
    assert mine.model_copy(update={"name": "gpt2"}) == theirs


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("nope", "unknown model 'nope'"),
        ("./nope", "there is no such checkpoint"),
        ("./empty", "config.json: is not there"),
        ("./pickled", "pickled weights can run code"),
        ("./a b", "rename it"),
    ],
)
def test_what_is_no_checkpoint_leaves_no_file(
    here: Path, source: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "empty").mkdir()
    (here / "pickled").mkdir()
    (here / "pickled" / "config.json").write_text(json.dumps({"architectures": ["GPT2LMHeadModel"]}))
    shutil.copytree(TWIN, here / "a b")
    assert run_verb(["new", "model", source]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert len(error.strip().splitlines()) == 1
    assert not (here / "models").exists()


def test_a_name_of_the_hub_becomes_a_spec_at_todays_commit(
    hub: Hub,  # noqa: F811
    ask: Ask,  # noqa: F811
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = json.loads(WHOLE["config.json"]) | {"architectures": ["GPT2LMHeadModel"]}
    files = {**WHOLE, "config.json": json.dumps(config), "README.md": "---\nlicense: mit\n---\n"}
    made = hub.create("team/new", files, gated="auto", readers=("reader",))
    assert run_verb(["new", "model", "team/new"]) == 2
    assert "is gated; accept its licence" in capsys.readouterr().err
    ask("team/new", token="hf_reader")  # sets the token
    assert run_verb(["new", "model", "team/new"]) == 0
    spec = registry.find_model("new")
    assert (spec.checkpoint, spec.revision) == ("team/new", made.branches["main"])
    assert (spec.licence, spec.gated, spec.parameters) == ("mit", True, 1000)
    assert "# It has 1024 positions" in (here / "models" / "new.toml").read_text()
    assert run_verb(["check", "--out", str(here / "reports")]) == 0
