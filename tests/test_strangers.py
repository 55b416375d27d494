"""Records, folders and repositories of strangers run no code here."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from records import make_record

from bench import provenance
from bench.cli import run_verb
from bench.errors import EnvironmentUnsolvable
from bench.verbs import explain
from bench.versions import solver

VERBS = (
    ["plan", "--models", "gpt2"],
    ["list", "runs"],
    ["check"],
    ["compare", "HEAD", "main"],
    ["report"],
)


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose settings run a command wherever git would let them; the folder of its traces."""
    traces = tmp_path / "traces"
    traces.mkdir()
    here = tmp_path / "here"
    here.mkdir()

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(here), *words], check=True, capture_output=True)

    git("init", "-q")
    git("config", "user.email", "a@example.org")
    git("config", "user.name", "A")
    (here / "file.txt").write_text("first ")
    (here / ".gitattributes").write_text("*.txt filter=evil diff=evil\n")
    git("add", ".")
    git("commit", "-qm", "first")
    for key, value in {
        "core.fsmonitor": f"touch {traces}/monitor; false",
        "filter.evil.clean": f"touch {traces}/clean; cat",
        "filter.evil.smudge": f"touch {traces}/smudge; cat",
        "diff.evil.textconv": f"touch {traces}/textconv; cat",
        "diff.external": f"touch {traces}/external",
    }.items():
        git("config", key, value)
    hook = here / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\ntouch {traces}/hook\n")
    hook.chmod(0o755)
    (here / "file.txt").write_text("second")
    monkeypatch.chdir(here)
    return traces


def test_the_evil_repository_bites_whoever_asks_git_plainly(evil: Path) -> None:
    """Otherwise the tests below would show nothing."""
    subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=False)
    assert {"monitor", "clean"} <= {trace.name for trace in evil.iterdir()}


def test_asking_for_the_state_of_a_tree_runs_nothing_of_it(evil: Path) -> None:
    tree = provenance.tree(Path.cwd())
    assert tree.commit
    assert tree.dirty
    assert not list(evil.iterdir())


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_no_verb_runs_what_a_repository_names(evil: Path, words: list[str]) -> None:
    run_verb(words)
    assert not list(evil.iterdir())


@pytest.mark.parametrize("place", ["bleu/bleu.py", "bleu.py"])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_metric_by_name_is_never_a_file_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / place
    script.parent.mkdir(exist_ok=True)
    script.write_text("import pathlib\npathlib.Path('ran').touch()\n")
    assert run_verb([verb, "--models", "gpt2", "--metrics", "bleu"]) == 2
    assert "in this folder would be run as code" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_planning_runs_no_metric_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its path is given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    assert run_verb(["plan", "--models", "gpt2", "--metrics", "./mine.py"]) == 0
    assert not (tmp_path / "ran").exists()


def test_explain_installs_only_this_programs_libraries(tmp_path: Path) -> None:
    """A record is a stranger's word; its packages bring code."""
    stored = make_record(tmp_path)
    versions = {**provenance.versions(), "sitecustom-evil": "1.0"}
    run = stored.record.run.model_copy(update={"versions": versions})
    stored = replace(stored, record=stored.record.model_copy(update={"run": run}))
    with pytest.raises(EnvironmentUnsolvable, match="'sitecustom-evil', which is none of this program's"):
        explain._requirements(stored)


def test_explain_says_what_it_would_install_and_waits_for_yes() -> None:
    packages = explain.Environment(("trl==1.13.0",), {"trl": "1.13.0"})
    with pytest.raises(EnvironmentUnsolvable, match=r"would install trl 1\.13\.0; allow it by --yes"):
        explain._allowed(packages, yes=False)
    assert explain._allowed(packages, yes=True) is packages


def test_uv_settings_of_the_folder_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A uv.toml here could send every package elsewhere; the user's own settings stay."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "uv.toml").write_text("this is not a setting")
    assert solver.uv("pip", "list").returncode == 0
    own = tmp_path / "config" / "uv" / "uv.toml"
    own.parent.mkdir(parents=True)
    own.write_text("this is not a setting")
    assert solver.uv("pip", "list").returncode != 0


def test_the_folder_of_a_user_is_not_named_in_a_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["run", "--out", f"{tmp_path}/mine", "--data", f"dolly={tmp_path}/d.jsonl", "--models", "/m"]
    assert provenance.command(words) == "bench run --out ~/mine --data dolly=~/d.jsonl --models /m"
