"""What strangers wrote reaches a terminal, a spreadsheet or a picture as text and nothing else."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from records import make_failure, make_record

from bench.cli import run_verb
from bench.judge.board import board
from bench.render import export
from bench.render.chart import svg
from bench.render.text.leaderboard import markdown
from bench.store.ledger import Stored

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egpt2\x00"


def called(stored: Stored, name: str) -> Stored:
    """The record under another model name; ids are of no concern to what is rendered."""
    run = stored.record.run
    model = run.model.model_copy(update={"name": name})
    record = stored.record.model_copy(update={"run": run.model_copy(update={"model": model})})
    return replace(stored, record=record)


@pytest.mark.parametrize("verb", [["report"], ["list", "runs"]], ids=lambda words: words[0])
def test_a_failures_reason_moves_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    make_record(tmp_path)
    make_failure(tmp_path, "phi-1.5", reason=EVIL)
    run_verb([*verb, "--out", str(tmp_path)])
    out, err = capsys.readouterr()
    assert "phi-1.5" in out
    assert not set(out + err) & set("\x1b\x07\x00\u202e")


def test_an_error_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["show", EVIL, "--out", str(tmp_path)]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_cell_is_never_a_formula(tmp_path: Path) -> None:
    stored = called(make_record(tmp_path), '=HYPERLINK("http://evil")')
    export.write_csv(board([stored]), tmp_path / "board.csv")
    rows = list(csv.reader((tmp_path / "board.csv").open(encoding="utf-8")))
    assert any(cell.startswith("'=HYPERLINK") for row in rows for cell in row)
    text = [cell for row in rows for cell in row if not cell.lstrip("+-").replace(".", "").isdigit()]
    assert not [cell for cell in text if cell.startswith(("=", "+", "@"))]


def test_the_chart_is_well_formed_whatever_a_model_is_called(tmp_path: Path) -> None:
    picture = svg(board([called(make_record(tmp_path), EVIL + "<b>$x$")]))
    assert "gpt2" in "".join(ElementTree.fromstring(picture).itertext())


def test_a_command_cannot_leave_its_code_span(tmp_path: Path) -> None:
    stored = make_record(tmp_path)
    origin = stored.record.provenance.model_copy(update={"command": "bench run `x` **bold** <img src=y>"})
    record = stored.record.model_copy(update={"provenance": origin})
    html = MarkdownIt("commonmark", {"html": True}).render(markdown(board([replace(stored, record=record)])))
    assert "<code>bench run `x` **bold** &lt;img src=y&gt;</code>" in html


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_poor_terminal_gets_question_marks_and_the_exit_code(tmp_path: Path, encoding: str) -> None:
    make_record(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", "report", "--out", str(tmp_path)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
    )
    assert done.returncode == 0, done.stderr
    assert b"gpt2 twin" in done.stdout
    assert b"?" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", ">/dev/full"])
def test_a_closed_or_full_output_leaves_no_traceback(tmp_path: Path, closed: str) -> None:
    make_record(tmp_path)
    command = f"{sys.executable} -m bench.cli list models --out {tmp_path} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode in ((0,) if closed != ">/dev/full" else (1,))
