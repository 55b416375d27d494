"""`import bench`: quick, typed, and the same numbers as the command line."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from records import make_board
from served import LORA, QUESTION, finished, folder

import bench
from bench import api
from bench.api import shown
from bench.errors import RequestError, UnknownName

PUBLIC = [
    api.run,
    api.board,
    api.compare,
    api.load,
    api.verify,
    api.Leaderboard,
    api.Compared,
    api.TunedModel,
]


def test_importing_takes_no_time_and_no_torch() -> None:
    code = (
        "import sys, time; begin = time.process_time(); import bench; took = time.process_time() - begin; "
        "print(took, 'torch' in sys.modules, 'pydantic' in sys.modules)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert min(float(took) for took, *_ in runs) < 0.05
    assert {tuple(loaded) for _, *loaded in runs} == {("False", "False")}


def test_run_is_a_function_and_a_package() -> None:
    from bench.run.identity import Run

    assert callable(bench.run)
    assert Run.__module__ == "bench.run.identity"


def test_a_finished_plan_is_a_board_at_once(tmp_path: Path) -> None:
    """The call resolves its options as `bench run` does, and refuses as it does."""
    with pytest.raises(UnknownName, match="did you mean 'gpt2'"):
        bench.run(models="gtp2", out=tmp_path)
    with pytest.raises(RequestError, match="unrecognized arguments: --epochs"):
        bench.run(models="gpt2", out=tmp_path, epochs=1)


def test_a_board_shows_itself_and_becomes_a_frame(tmp_path: Path) -> None:
    make_board(tmp_path, ["gpt2", "llama-2-7b"], seeds=(0, 1))
    board = bench.board(tmp_path)
    frame = board.to_pandas()
    assert {"gpt2", "llama-2-7b"} <= set(frame["model"])
    assert board.best == frame["model"][0]
    page = board._repr_html_()
    assert page.count("<svg") == 1
    assert "llama-2-7b" in page
    assert str(board).strip()


def test_a_board_of_nothing_says_so(tmp_path: Path) -> None:
    assert "no rows" in bench.board(tmp_path)._repr_html_()
    with pytest.raises(RequestError, match="no rows"):
        _ = bench.board(tmp_path).best
    with pytest.raises(RequestError, match="no such folder"):
        bench.board(tmp_path / "nowhere")


def test_what_changed_is_what_the_command_line_says(tmp_path: Path) -> None:
    make_board(tmp_path / "a", ["gpt2"])
    make_board(tmp_path / "b", ["gpt2"], shift=-0.08, versions={"trl": "1.13.0"})
    compared = bench.compare(tmp_path / "a", tmp_path / "b")
    assert compared.verdict == "Regressed"
    row = compared.to_pandas().iloc[0]
    assert (row["model"], row["finding"]) == ("gpt2", "regressed")
    assert row["low"] < row["difference"] < row["high"] < 0
    assert "Regressed" in compared._repr_html_()
    assert str(compared).startswith("Regressed")


def test_a_loaded_run_answers_streams_and_has_its_base() -> None:
    stored = finished(LORA)
    model = bench.load(stored.record.id, out=folder(), threads=1)
    row = stored.completions[0]
    assert model.ask(row["question"]) == row["tuned"]
    assert model.base.ask(row["question"]) == row["base"]
    assert "".join(model.stream(row["question"])) == row["tuned"]
    assert model.ask_all([]) == []
    assert model.ask_all([row["question"], QUESTION])[0] == row["tuned"]
    assert model.to_pandas()["tuned"].tolist() == [row["tuned"] for row in stored.completions]
    assert stored.record.id in model._repr_html_()


def test_hostile_names_are_text_in_a_notebook(tmp_path: Path) -> None:
    make_board(tmp_path, ["gpt2"], fallbacks=["<script>alert(1)</script>"])
    assert "<script>alert" not in bench.board(tmp_path)._repr_html_()


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_every_public_name_has_types_and_an_example(public: object) -> None:
    assert ">>> " in (inspect.getdoc(public) or "")
    target = public.__init__ if inspect.isclass(public) else public
    hints = inspect.get_annotations(target)
    assert set(inspect.signature(target).parameters) - {"self"} <= set(hints)  # type: ignore[arg-type]


def test_the_examples_come_out_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    results = [doctest.testmod(module, optionflags=doctest.ELLIPSIS) for module in (api, shown)]
    assert sum(result.attempted for result in results) > 8
    assert sum(result.failed for result in results) == 0
