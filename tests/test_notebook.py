"""`notebooks/t4.ipynb`: what it holds, and the whole of it carried out on the CPU with twins."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT

from bench import provenance
from bench.cli import VERBS

FILE = ROOT / "notebooks" / "t4.ipynb"
#: Stands for the cell of parameters: twins, and so few examples that it takes a minute.
SMALL = """
MODELS = "gpt2"
FOUR_BIT = "llama-3.1-8b"
OPTIONS = "--scale mini --budget smoke --eval-limit 20 --max-new-tokens 16 --max-length 128"
"""


@pytest.fixture
def notebook() -> Any:
    content = nbformat.read(FILE, as_version=4)
    nbformat.validate(content)
    return content


def commands(notebook: Any) -> list[list[str]]:
    """The words of every command line in the notebook."""
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    return [line.removeprefix("!").split() for line in lines if line.startswith("!")]


def test_the_notebook_is_kept_without_outputs(notebook: Any) -> None:
    assert not [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


def test_every_command_of_the_notebook_is_a_verb(notebook: Any) -> None:
    words = commands(notebook)
    assert all(program == "bench" and verb in VERBS for program, verb, *_ in words)
    assert [verb for _, verb, *_ in words] == ["plan", "run", "run", "compare"]


@pytest.mark.slow
def test_the_notebook_runs_from_the_plan_to_the_comparison(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbclient import NotebookClient

    if "unsloth" not in provenance.versions():
        pytest.skip("the unsloth extra is not installed (make unsloth)")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (place,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    place.source = SMALL
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    said = {cell.id: text_of(cell) for cell in notebook.cells if cell.cell_type == "code"}
    assert "What a run takes on: T4" in said["plan"]
    assert "2 runs" in said["run"] or "gpt2 twin" in said["run"]
    assert "llama-3.1-8b twin" in said["board"]
    assert "<svg" in said["board"], "the chart is inline"
    assert "llama-3.1-8b" in said["compare"]
    assert "backend" in said["compare"]


def text_of(cell: Any) -> str:
    """All that a cell printed or displayed as text."""
    streams = [output.get("text", "") for output in cell.outputs]
    shown = [str(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
    return "\n".join([*streams, *shown])
