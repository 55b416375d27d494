"""The verbs that read and judge say the same under every further Python of this machine, without torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT
from records import make_board

#: Minor versions that the project declares beside the oldest, which runs the whole suite.
FURTHER = ("3.12", "3.13")
#: Packages that training needs and reading does not.
HEAVY = {"accelerate", "bitsandbytes", "datasets", "evaluate", "peft", "torch", "transformers", "trl"}
#: Words of a command line -> its exit code.
COMMANDS = {
    "--help": 0,
    "list models": 0,
    "check": 0,
    "report": 0,
    "report --json": 0,
    "show gpt2-mini-s0": 0,
    "history gpt2": 0,
    "compare main worse": 0,
    "gate --baseline main --allow-unchanged": 0,
    "gate --baseline main --current worse": 1,
    "help schema": 0,
    "plan --models gpt2 --scale mini": 0,
    "data show course-qa": 0,
    "show gpt3": 2,
}


def text_of(*words: str | Path, place: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """A program's end, its output as text."""
    environment = {**os.environ, **more}
    command = list(map(str, words))
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=place)


@cache
def interpreter(version: str) -> Path | None:
    """A Python of a minor version that starts: on PATH, or one that pyenv built."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    built = sorted(pyenv.glob(f"{version}.*/bin/python{version}"))
    named = [Path(name)] if (name := shutil.which(f"python{version}")) else []
    for place in (*named, *reversed(built)):
        if text_of(place, "-c", "import venv, ensurepip").returncode == 0:
            return place
    return None


def light() -> list[str]:
    """What the package needs, without what training needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [each for each in project["dependencies"] if re.split(r"[><=\[ ]", each)[0] not in HEAVY]


@cache
def said(python: str, place: Path, command: str) -> tuple[int, str]:
    """Exit code and output of a command line; from 3.12 on `sum` rounds its last digit otherwise."""
    done = text_of(python, "-m", "bench.cli", *command.split(), place=place, PYTHONPATH=str(ROOT))
    return done.returncode, re.sub(
        r"\d+\.\d{9,}", lambda digits: f"{float(digits[0]):.9g}", done.stdout + done.stderr
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a board, a baseline of it, and another board that is clearly worse."""
    place = tmp_path_factory.mktemp("records")
    make_board(place / "reports", ("gpt2", "phi-1.5"))
    make_board(place / "worse", ("gpt2", "phi-1.5"), versions={"trl": "1.15.0"}, shift=-0.05)
    assert said(sys.executable, place, "baseline save main")[0] == 0
    return place


@pytest.mark.slow
@pytest.mark.parametrize("version", FURTHER)
def test_light_verbs_say_the_same_under_another_python(version: str, records: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    uv, there = shutil.which("uv", path=Path(sys.executable).parent), tmp_path / "env" / "bin" / "python"
    assert uv is not None
    assert text_of(uv, "venv", "-q", "--python", python, tmp_path / "env").returncode == 0
    done = text_of(uv, "pip", "install", "-q", "-c", ROOT / "constraints.txt", "--python", there, *light())
    if done.returncode:
        pytest.skip(f"the package index cannot be reached for Python {version}")
    assert text_of(there, "-c", "import torch").returncode != 0
    for command, code in COMMANDS.items():
        ours, theirs = (said(python, records, command) for python in (sys.executable, str(there)))
        if command != "--help":  # argparse lays it out otherwise in every version
            assert (command, *theirs[1].split("\n")) == (command, *ours[1].split("\n"))
        assert (command, theirs[0]) == (command, code)


def test_the_declared_pythons_are_those_that_were_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    declared = [
        each.rpartition(" :: ")[2] for each in project["classifiers"] if re.search(r":: 3\.\d+$", each)
    ]
    assert declared == [oldest, *FURTHER]
