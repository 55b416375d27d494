"""`bench env`: all that a report of a defect needs, and no secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from processes import printed

from bench import __version__, devices
from bench.cli import run_verb


@pytest.fixture
def facts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name, value in {
        "HF_TOKEN": "hf_verysecret",
        "OPENAI_API_KEY": "sk-verysecret",
        "BENCH_TOKEN": "verysecret-verysecret",
        "PIP_INDEX_URL": "https://me:verysecret@index.example/simple",
        "TOKENIZERS_PARALLELISM": "false",
        "BENCH_SEEDS": "0,1",
        "UNRELATED": "verysecret",
        "HF_HOME": str(tmp_path / "hf"),
    }.items():
        monkeypatch.setenv(name, value)
    hub = tmp_path / "hf" / "hub"
    hub.mkdir(parents=True)
    (hub / "weights").write_bytes(b"x" * 3000)
    assert run_verb(["env"]) == 0
    text = capsys.readouterr().out
    assert run_verb(["env", "--json"]) == 0
    return text, json.loads(capsys.readouterr().out)


def test_it_names_program_machine_and_libraries(facts: Any) -> None:
    text, data = facts
    assert data["program"]["version"] == __version__
    assert data["machine"]["device"] == devices.here().device
    assert data["versions"]["torch"] == metadata.version("torch")
    for part in (__version__, metadata.version("torch"), sys.version.split()[0], data["machine"]["platform"]):
        assert part in text


def test_it_names_the_commit_of_the_program_and_not_of_the_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_verb(["env", "--json"]) == 0
    root = Path(__file__).parent.parent
    words = ["git", "-C", str(root), "rev-parse", "HEAD"]
    head = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or None
    assert json.loads(capsys.readouterr().out)["program"]["commit"] == head


def test_it_shows_no_secret(facts: Any) -> None:
    text, data = facts
    assert "verysecret" not in text
    assert "verysecret" not in json.dumps(data)
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "BENCH_TOKEN"):
        assert data["variables"][name] == "(hidden)"
    assert data["variables"]["PIP_INDEX_URL"] == "https://(hidden)@index.example/simple"
    assert data["variables"]["TOKENIZERS_PARALLELISM"] == "false"
    assert data["variables"]["BENCH_SEEDS"] == "0,1"
    assert "UNRELATED" not in data["variables"]


def test_it_measures_the_caches(facts: Any) -> None:
    _, data = facts
    (hub,) = [folder for folder in data["folders"] if folder["name"] == "hub"]
    assert (hub["bytes"], hub["exists"], hub["whole"]) == (3000, True, True)


def test_it_names_the_extras_and_what_they_lack(facts: Any) -> None:
    _, data = facts
    declared = set(metadata.metadata("bench-sft").get_all("Provides-Extra") or ())
    assert set(data["extras"]) == declared
    assert data["extras"]["gguf"] == []
    for requirement in data["extras"]["unsloth"]:
        with pytest.raises(metadata.PackageNotFoundError):
            metadata.version(re.split(r"[=<>]", requirement)[0])


def test_it_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys\nfrom bench.cli import run_verb\nrun_verb(['env'])\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    text, spent = printed("-c", code)
    assert text.strip().endswith("[]")
    if devices.here().device == "cpu":
        assert spent < 3  # processor seconds; under 1 on an idle machine
