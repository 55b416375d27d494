"""Completion in a shell, and help by topic."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from processes import printed

from bench.cli import VERBS, run_verb
from bench.verbs.help import laid_out, topics


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("shell") / "bench.bash"
    command = [sys.executable, "-m", "bench.cli", "completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    file.write_text(done.stdout)
    return file


def completed(script: Path, folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in ("bench", *words))
    code = (
        f'bench() {{ "{sys.executable}" -m bench.cli "$@"; }}\nsource "{script}"\n'
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words)}\n"
        f"_shtab_bench bench '{words[-1]}' '{words[-2] if len(words) > 1 else 'bench'}'\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return done.stdout.split()


def test_verbs_and_options_are_completed(script: Path, tmp_path: Path) -> None:
    assert completed(script, tmp_path, "ver") == ["verify"]
    assert set(completed(script, tmp_path, "")) >= set(VERBS)
    assert completed(script, tmp_path, "run", "--eval-l") == ["--eval-limit"]
    assert completed(script, tmp_path, "run", "--scale", "") == ["auto", "mini", "full"]
    assert completed(script, tmp_path, "data", "im") == ["import"]
    assert "--licence" in completed(script, tmp_path, "data", "import", "--li")


def test_names_of_models_data_sets_and_runs_are_completed(script: Path, tmp_path: Path) -> None:
    shutil.copytree(next((ROOT / "reports" / "twins" / "runs").glob("gpt2-mini-s0-*")), tmp_path / "one")
    (tmp_path / "reports" / "runs").mkdir(parents=True)
    (tmp_path / "one").rename(tmp_path / "reports" / "runs" / "mine-mini-s0-0123456789ab")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "lectures.toml").touch()
    assert completed(script, tmp_path, "run", "--models", "gpt") == ["gpt-neo-1.3b", "gpt-neo-125m", "gpt2"]
    assert completed(script, tmp_path, "run", "--train", "lec") == ["lectures"]
    assert completed(script, tmp_path, "show", "mi") == ["mine", "mine-mini-s0-0123456789ab"]
    assert completed(script, tmp_path, "serve", "mine-") == ["mine-mini-s0-0123456789ab"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_with_every_verb(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS)
    assert "bench completion --names runs" in script
    if checker := shutil.which(shell):
        assert subprocess.run([checker, "-n"], input=script, text=True, check=False).returncode == 0


def test_names_are_looked_up_without_a_heavy_import() -> None:
    code = (
        "import sys\nfrom bench.cli import run_verb\nrun_verb(['completion', '--names', 'models'])\n"
        "print([m for m in ('torch', 'pydantic', 'numpy', 'shtab') if m in sys.modules])"
    )
    text, spent = printed("-c", code)
    assert text.strip().endswith("[]")
    assert spent < 1


def test_a_shell_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["completion"]) == 2
    assert "name a shell" in capsys.readouterr().err


@pytest.mark.parametrize("topic", ["contract", "budgets", "statistics", "data", "exit-codes"])
def test_a_topic_is_told_from_the_page_that_holds_it(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["help", topic]) == 0
    text = capsys.readouterr().out
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    assert sum(f"<!-- help: {topic} -->" in page for page in pages) == 1
    assert 200 < len(text) < 4000
    assert "](" not in text


def test_a_topic_keeps_to_the_terminal_and_its_items_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run_verb(["help", "contract"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line[:2] for line in lines if line[:1].isdigit()] == [f"{n}." for n in range(1, 9)]
    code = "One\ntwo.\n\n```sh\nbench run\nbench plan\n```\nThree\nfour."
    assert laid_out(code, 80) == "One two.\n\n```sh\nbench run\nbench plan\n```\nThree four."


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("topic", sorted(topics()))
def test_every_topic_fits_the_terminal(
    topic: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run_verb(["help", topic]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_a_table_that_is_too_wide_loses_no_word() -> None:
    """Its widest column is broken; cells stay under their heads."""
    text = f"| code | meaning |\n| --- | --- |\n| 0 | {'fine ' * 20}|\n| 130 | `a\\|b` |"
    lines = laid_out(text, 40).split("\n")
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).split().count("fine") == 20
    assert lines[0].split() == ["code", "meaning"]
    assert len({line.index("fine") for line in lines if "fine" in line}) == 1
    assert lines[-1].split() == ["130", "`a\\|b`"]


def test_every_marked_text_is_a_topic() -> None:
    marks = sum(page.read_text().count("<!-- help: ") for page in (ROOT / "docs").glob("*.md"))
    assert len(topics()) == marks


def test_help_lists_topics_tells_a_verbs_options_and_guesses(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["help"]) == 0
    assert "exit-codes" in capsys.readouterr().out
    assert run_verb(["help", "gate"]) == 0
    assert "--allow-unchanged" in capsys.readouterr().out
    assert run_verb(["help", "contrat"]) == 2
    assert "did you mean 'contract'?" in capsys.readouterr().err
    assert run_verb(["help", "contract", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["topic"] == "contract"
