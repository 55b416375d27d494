"""Other package versions: solved by `uv`, laid over the installed ones, seen by the run's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from runs import mini_run

from bench import provenance
from bench.cli import run_verb
from bench.errors import EnvironmentUnsolvable, RequestError
from bench.store.ledger import Ledger
from bench.versions import environment, solver
from bench.versions.environment import Environment, build, check_backend, solve
from bench.versions.solver import releases


@cache
def reachable() -> str:
    """Why the package index cannot be used; empty where it can."""
    try:
        releases("tabulate", "0.8.9", "0.9.0")
    except (RequestError, EnvironmentUnsolvable) as error:
        return str(error)
    return ""


@pytest.fixture
def index() -> None:
    """The test needs the package index that uv is configured with."""
    if reason := reachable():
        pytest.skip(f"the package index cannot be used: {reason}")


def says(packages: Environment, code: str) -> str:
    """What a process in an environment prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **packages.variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_asked_is_the_installed_environment() -> None:
    """No solver, no folder, no variable."""
    packages = solve([])
    assert packages == Environment()
    assert (packages.folder, packages.variables) == (None, {})
    assert packages.versions == provenance.versions()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trl==1.12.0,1.13.0", "several versions of one package are for bench matrix"),
        ("torch==2.0.0", "torch is reused as it is installed"),
        ("bench-sft==0.0.1", "cannot be moved"),
        ("trl @ file:///tmp/trl.whl", "only released versions"),
        ("", "expected NAME==VERSION"),
    ],
)
def test_what_is_no_requirement_is_refused_before_anything_starts(text: str, said: str) -> None:
    """One line with what to write instead."""
    with pytest.raises(RequestError, match=said):
        solve([text])


def test_moved_versions_are_those_of_the_run() -> None:
    """Names are folded: the record says rouge_score where an index says rouge-score."""
    packages = Environment(("x",), {"trl": "9.9.9", "rouge-score": "8.8.8"})
    assert packages.versions["trl"] == "9.9.9"
    assert packages.versions["rouge_score"] == "8.8.8"
    assert packages.versions["torch"] == provenance.versions()["torch"]


def test_a_folder_belongs_to_its_resolved_set() -> None:
    """Two requests that end in the same versions share it."""
    one, other = (
        Environment(("trl<1.13",), {"trl": "1.12.0"}),
        Environment(("trl==1.12.0",), {"trl": "1.12.0"}),
    )
    assert one.folder == other.folder
    assert one.folder != Environment((), {"trl": "1.13.0"}).folder


def test_unsloth_refuses_a_neighbour_that_it_does_not_know() -> None:
    """Its own requirement and the way out; runs that do without it are not concerned."""
    if "unsloth" not in provenance.versions():
        pytest.skip("unsloth is not installed")
    packages = Environment(("trl==99.0",), {"trl": "99.0"})
    with_unsloth, _ = mini_run("llama-3.1-8b", backend="auto")
    without, _ = mini_run("llama-3.1-8b")
    with pytest.raises(EnvironmentUnsolvable, match=r"needs trl.*; use --backend transformers"):
        check_backend([with_unsloth], packages)
    check_backend([without], packages)
    check_backend([with_unsloth], Environment())


def test_the_solver_is_shown_what_is_installed(tmp_path: Path) -> None:
    """A local build gets a label that no index has; the others keep their version and their needs."""
    pin = solver._stub(tmp_path, "torch", "2.13.0+cpu")
    assert pin == "torch==2.13.0+installed"
    assert (tmp_path / "torch-2.13.0+installed-py3-none-any.whl").is_file()
    assert solver._stub(tmp_path, "trl", metadata.version("trl")) == f"trl=={metadata.version('trl')}"


def test_pip_settings_reach_the_solver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What pip is configured with holds for uv, unless uv has a setting of its own."""
    seen: dict[str, str] = {}

    def record(command: list[str], **more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        seen.update(more["env"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.invalid/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    solver.uv("version", wheels=tmp_path)
    assert seen["UV_INDEX_URL"] == "https://pip.invalid/simple"
    assert seen["UV_FIND_LINKS"] == f"/one,/two,{tmp_path}"
    monkeypatch.setenv("UV_INDEX_URL", "https://uv.invalid/simple")
    solver.uv("version")
    assert seen["UV_INDEX_URL"] == "https://uv.invalid/simple"


@pytest.mark.usefixtures("index")
def test_a_moved_package_is_seen_by_a_process_and_everything_else_is_not_touched() -> None:
    """Overlay first, then the installed: versions, modules, and this very program."""
    packages = build(solve(["trl==1.12.0"]))
    assert packages.moved == {"trl": "1.12.0"}
    code = (
        "import json, bench; from bench import provenance; from importlib.util import find_spec;"
        "print(json.dumps([provenance.versions(), find_spec('trl').origin, bench.__file__]))"
    )
    versions, trl, program = json.loads(says(packages, code))
    assert versions == packages.versions
    assert Path(trl).is_relative_to(packages.folder or "")
    assert program == environment.bench.__file__
    assert {path.name for path in (packages.folder or Path()).glob("*.dist-info")} == {"trl-1.12.0.dist-info"}


@pytest.mark.usefixtures("index")
def test_the_same_request_is_solved_and_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time neither the solver nor the index is asked."""
    first = build(solve(["trl==1.12.0"]))

    def unreachable(*_: object, **__: object) -> None:
        raise AssertionError("uv was started")

    monkeypatch.setattr(solver, "uv", unreachable)
    assert build(solve(["trl==1.12.0"])) == first


@pytest.mark.usefixtures("index")
def test_an_unsolvable_set_is_one_line_with_names_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 before anything is written."""
    assert run_verb(["plan", "--with", "trl==1.14.0", "--with", "transformers==4.40.0"]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert "trl==1.14.0" in said
    assert "transformers" in said
    assert "unsatisfiable" in said
    with pytest.raises(EnvironmentUnsolvable, match=r"there is no version of trl==99\.0"):
        solve(["trl==99.0"])


@pytest.mark.usefixtures("index")
def test_a_plan_under_other_versions_is_another_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """Versions are part of a run's identity."""
    ids = []
    for more in ([], ["--with", "trl==1.12.0"]):
        assert run_verb(["plan", "--models", "gpt2", "--json", *more]) == 0
        ids.append(json.loads(capsys.readouterr().out)["runs"][0]["id"])
    assert ids[0] != ids[1]


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_a_run_under_other_versions_says_so_in_its_record(tmp_path: Path) -> None:
    """What was planned, and what the process itself found, are the same versions."""
    small = ["--models", "gpt2", "--scale", "mini", "--budget", "2x8", "--eval-limit", "20"]
    more = ["--max-new-tokens", "4", "--with", "trl==1.12.0", "--out", str(tmp_path)]
    assert run_verb(["run", *small, *more]) == 0
    [stored], messages = Ledger(tmp_path).load()
    assert messages == []
    assert stored.record.run.versions["trl"] == "1.12.0"
    assert stored.record.provenance.versions == solve(["trl==1.12.0"]).versions


@pytest.mark.usefixtures("index")
def test_releases_lie_between_both_ends() -> None:
    """Oldest first, both ends included."""
    found = releases("trl", "1.12.0", "1.15.0")
    assert found[0] == "1.12.0"
    assert found[-1] == "1.15.0"
    assert found.index("1.13.0") < found.index("1.14.0")
    with pytest.raises(RequestError, match=r"trl==1\.12\.5: no such release"):
        releases("trl", "1.12.5", "1.13.0")


def test_ends_in_the_wrong_order_are_refused() -> None:
    """And so is what is no version."""
    with pytest.raises(RequestError, match="name the older release first"):
        releases("trl", "1.15.0", "1.12.0")
    with pytest.raises(RequestError, match="Invalid version"):
        releases("trl", "good", "1.12.0")
