"""Every command of the README, carried out in its order in one folder, at a small budget.

What cannot be carried out here (other package versions, a server that waits) names the test that does it, or
is parsed and no more.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from bench.cli import parser_of, run_verb
from bench.store.ledger import Ledger

README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = ["--eval-limit", "20", "--max-new-tokens", "8", "--max-length", "192", "--force"]
#: A part of a command -> what stands in its place here.
HERE = {
    "--models all": "--models gpt2",
    "--budget 15x8,60x8,240x8": "--budget 2x8,3x8,4x8",
    "--budget long": "--budget smoke",
    "--trials 6": "--trials 2",
    "--seeds 0,1,2": "--seeds 0,1",
}
#: The beginning of a command -> the test that carries it out.
ELSEWHERE = {
    "bench serve": "test_http.py",
    "bench chat": "test_chat.py",
    "bench export llama-2-7b": "test_export_gguf.py",
    "bench run --models ./my-adapter": "test_adapter.py",
    "bench run --models ./model.gguf": "test_gguf.py",
    "bench run --models org/name": "test_hub_runs.py",
    "bench data import Open-Orca/OpenOrca": "test_hub_data.py",
}
#: They install other versions of packages, which needs the package index; here they are only parsed.
PARSED = ("bench matrix", "bench bisect", "bench run --with")
#: Where another exit code than 0 is right: nothing was run since the baseline was saved.
EXIT = {"bench gate": 2}


def commands() -> list[str]:
    """The lines of the README's shell blocks that call the program, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("bench ")]


def small(command: str, runs: list[str]) -> list[str]:
    """The words of a command at a budget for tests, with two runs' ids in their places."""
    for text, here in HERE.items():
        command = command.replace(text, here)
    if "RUN_A" in command:
        command = command.replace("RUN_A", runs[0]).replace("RUN_B", runs[1])
    words = shlex.split(command)[1:]
    if words[0] in ("run", "plan", "tune"):
        words += SMALL + ([] if "--budget" in words else ["--budget", "smoke"])
        words += ["--jobs", "1"] if words[0] != "plan" else []
    return words


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: a spreadsheet of questions, some of Dolly's shape, and a checkpoint."""
    course = [json.loads(line) for line in (ROOT / "datasets" / "course-qa.jsonl").read_text().splitlines()]
    rows = course[:160]
    with (tmp_path / "questions.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["Question", "Answer"], *([r["question"], r["answer"]] for r in rows)])
    dolly = [
        {"instruction": r["question"], "context": "", "response": r["answer"], "category": "open_qa"}
        for r in rows
    ]
    lines = "\n".join(map(json.dumps, dolly))
    (tmp_path / "databricks-dolly-15k.jsonl").write_text(lines + "\n", encoding="utf-8")
    shutil.copytree(ROOT / "models" / "twins" / "gpt2", tmp_path / "my-checkpoint")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In order, as a reader would type them."""
    for command in commands():
        if command.startswith((*ELSEWHERE, *PARSED)):
            continue
        if command.startswith("bench merge"):
            for name in ("mine", "theirs"):
                shutil.copytree(desk / "reports" / "runs", desk / name / "runs")
        runs = sorted(
            stored.record.id
            for stored in Ledger(desk / "reports").load()[0]
            if stored.record.run.name == "gpt2" and stored.record.run.contract.train.name == "course-qa"
        )
        expected = next((code for start, code in EXIT.items() if command.startswith(start)), 0)
        code = run_verb(small(command, runs))
        output = capsys.readouterr()
        assert code == expected, f"{command}: exit {code}\n{output.out[-1500:]}\n{output.err[-1500:]}"


@pytest.mark.parametrize("command", commands())
def test_the_readme_names_no_option_that_does_not_exist(command: str) -> None:
    """Every command is parsed."""
    words = shlex.split(command)[1:]
    assert parser_of(words[0]).parse_args(words)


@pytest.mark.parametrize(("start", "file"), ELSEWHERE.items())
def test_what_is_carried_out_elsewhere_is_in_the_readme_and_has_its_test(start: str, file: str) -> None:
    """Neither list grows old."""
    assert any(command.startswith(start) for command in commands())
    assert (ROOT / "tests" / file).is_file()
