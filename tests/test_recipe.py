"""The README's CI recipe, on clones: real training, and three faults planted in the program."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from conftest import ROOT

OPTIONS = "--budget 60x8 --eval-limit 100 --max-new-tokens 32 --jobs 1"
SEEDS = "0,1"
#: Part of the program -> file, line, and what a fault makes of it.
FAULTS = {
    "scorer": (
        "bench/score/rouge.py",
        "2 * precision * recall / (precision + recall)",
        "1.5 * precision * recall / (precision + recall)",
    ),
    "decoder": (
        "bench/run/answers/generate.py",
        "    kept = row[: row.index(end)] if ended else row\n",
        "    kept = row[: row.index(end)] if ended else row\n    kept = kept[: len(kept) // 3]\n",
    ),
    "trainer": (
        "bench/train/fit.py",
        '"learning_rate": recipe.learning_rate,',
        '"learning_rate": recipe.learning_rate * 0,',
    ),
}
#: Part -> the stage that `bench explain` attributes its fault to.
STAGES = {"scorer": "scoring", "decoder": "decoding", "trainer": "training"}


def clone(place: Path, source: Path = ROOT) -> Path:
    """A fresh clone: what is committed, and no record of ours."""
    subprocess.run(["git", "clone", "-q", "--shared", str(source), str(place)], check=True)
    return place


@dataclass(frozen=True)
class Step:
    """One command of the action and the inputs that it is given as variables."""

    command: str
    variables: dict[str, str]


def steps() -> list[Step]:
    """The action's steps but for the installation, with these tests' inputs filled in."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    values = {name: str(given["default"]) for name, given in action["inputs"].items()}
    values |= {"models": "gpt2", "seeds": SEEDS, "options": OPTIONS}
    program = f'"{sys.executable}" -m bench.cli'
    _, *after_installation = action["runs"]["steps"]
    return [
        Step(
            step["run"].replace('"$GITHUB_ACTION_PATH/.venv/bin/bench"', program),
            {name: values[given.split(".")[1].split()[0]] for name, given in step["env"].items()},
        )
        for step in after_installation
    ]


def carry_out(place: Path, *steps: Step) -> int:
    """Carry steps out in a clone; the exit code of the step that stops them, or 0."""
    for step in steps:
        environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1", **step.variables}
        words = ["bash", "-ec", step.command]
        done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:])
            return done.returncode
    return 0


def attributed(place: Path) -> str:
    """What `bench explain` prints about the baseline's records and today's, from records alone."""
    words = [sys.executable, "-m", "bench.cli", "explain", "main", "current", "--records-only"]
    environment = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def with_baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the records were made, the baseline saved and committed."""
    place = clone(tmp_path_factory.mktemp("recipe") / "mine")
    run, _ = steps()
    save = f'"{sys.executable}" -m bench.cli baseline save main'
    commit = "git add -f reports/baselines && git -c user.name=A -c user.email=a@b.org commit -qm baseline"
    assert carry_out(place, run, Step(save, {}), Step(commit, {})) == 0
    return place


@pytest.mark.proof
def test_unchanged_code_passes(with_baseline: Path, tmp_path: Path) -> None:
    place = clone(tmp_path / "clone", with_baseline)
    assert not list((place / "reports" / "runs").glob("*"))
    assert carry_out(place, *steps()) == 0


@pytest.mark.proof
@pytest.mark.parametrize("part", FAULTS)
def test_a_planted_fault_stops_the_job_and_is_named(with_baseline: Path, tmp_path: Path, part: str) -> None:
    place = clone(tmp_path / "clone", with_baseline)
    name, line, fault = FAULTS[part]
    text = (place / name).read_text(encoding="utf-8")
    assert text.count(line) == 1
    (place / name).write_text(text.replace(line, fault), encoding="utf-8")
    assert carry_out(place, *steps()) == 1
    (case,) = ElementTree.parse(place / "gate.xml").getroot().iter("failure")
    assert "regressed" in (case.get("message") or "") + (case.text or "")
    print(attributed(place))
    assert f"{STAGES[part]}" in attributed(place)
