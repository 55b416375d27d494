"""The board as data and as a chart, the model card, and one run told at the terminal."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from records import make_board, make_failure, make_record

from bench.cli import main
from bench.judge.board import MAIN, Board, board
from bench.render import facts
from bench.render.card import model_card
from bench.render.chart import svg, write_png
from bench.render.export import as_data, rows, write_csv, write_parquet
from bench.render.text import run as one_run
from bench.store.ledger import Stored


@pytest.fixture
def found(tmp_path: Path) -> Board:
    """Two models of two seeds, and a failure."""
    stored = make_board(tmp_path, ["gpt2", "llama-2-7b"], seeds=(0, 1))
    return board(stored, [make_failure(tmp_path)])


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """What a command exits with, prints and complains."""
    with pytest.raises(SystemExit) as left:
        main(list(words))
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


def test_json_holds_every_number_of_the_board(found: Board) -> None:
    """It survives JSON, and equals the rows."""
    data = json.loads(json.dumps(as_data(found), allow_nan=False))
    group = data["groups"][0]
    assert [row["model"] for row in group["rows"]] == [row.model for row in found.groups[0].rows]
    for told, row in zip(group["rows"], found.groups[0].rows, strict=True):
        assert told["tuned"][MAIN]["mean"] == row.tuned[MAIN].mean
        assert told["gain"][MAIN]["low"] == row.gain[MAIN].low
        assert told["rank"] == list(row.rank)
        assert told["seeds"] == [0, 1]
    assert group["contract_digest"] == found.groups[0].contract.digest
    assert [one["reason"] for one in group["failed"]] == ["out of memory"]


def test_an_interval_without_ends_is_null_in_json(tmp_path: Path) -> None:
    """JSON has no infinity."""
    one = make_record(tmp_path)
    estimate = one.record.scores["tuned"][MAIN].model_copy(update={"low": float("-inf")})
    scores = {**one.record.scores, "tuned": {**one.record.scores["tuned"], MAIN: estimate}}
    record = one.record.model_copy(update={"scores": scores})
    data = as_data(board([Stored(record, one.folder)]))
    assert json.loads(json.dumps(data, allow_nan=False))["groups"][0]["rows"][0]["tuned"][MAIN]["low"] is None


@pytest.mark.parametrize(
    ("write", "read", "name"),
    [(write_csv, pd.read_csv, "board.csv"), (write_parquet, pd.read_parquet, "board.parquet")],
)
def test_tables_hold_every_row(
    found: Board,
    tmp_path: Path,
    write: Callable[[Board, Path], None],
    read: Callable[[Path], pd.DataFrame],
    name: str,
) -> None:
    """Models and reference rows, one line each, with intervals and costs."""
    write(found, tmp_path / name)
    table = read(tmp_path / name)
    assert list(table["model"]) == [one["model"] for one in rows(found)]
    first = found.groups[0].rows[0]
    assert table["rougeL"][0] == pytest.approx(first.tuned[MAIN].mean)
    assert table["rougeL_gain_high"][0] == pytest.approx(first.gain[MAIN].high)
    assert table["peak_memory"][0] == first.cost.peak_memory
    assert str(table["trainable_parameters"].dtype).lower().startswith(("int", "float"))
    assert table["rank_low"].isna().tolist() == [False, False, True, True]


def test_the_svg_is_whole_and_says_every_score(found: Board) -> None:
    """Well-formed XML with a name for those who cannot see it, and a dark variant."""
    text = svg(found)
    root = ElementTree.fromstring(text)
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    for row in found.groups[0].rows:
        assert facts.sized_name(row) in texts
        assert f"{row.tuned[MAIN].mean:.3f}" in texts
        assert row.model in (root[0].text or "")
    assert root[0].tag.endswith("title")


def test_every_colour_of_the_svg_has_a_dark_counterpart(found: Board) -> None:
    """A colour without one would be unreadable to readers of the dark theme."""
    text = svg(found)
    style, body = text.split("</style>", 1)
    for colour in set(re.findall(r"#[0-9a-f]{6}", body)):
        assert f'[style*="fill: {colour}"]' in style
        assert f'[style*="stroke: {colour}"]' in style


def test_the_svg_is_the_same_again(found: Board) -> None:
    """So that a committed chart changes only with its records."""
    assert svg(found) == svg(found)


def test_a_name_cannot_break_the_svg(tmp_path: Path) -> None:
    """A user's model may be called anything that a file may."""
    one = make_record(tmp_path)
    model = one.record.run.model.model_copy(update={"name": "a<b&\"c'"})
    record = one.record.model_copy(update={"run": one.record.run.model_copy(update={"model": model})})
    root = ElementTree.fromstring(svg(board([Stored(record, one.folder)])))
    assert "a<b&\"c' twin, 1.87 M" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_png_is_a_picture(found: Board, tmp_path: Path) -> None:
    """Of a size that a README can show, with more than one colour."""
    from matplotlib import image

    write_png(found, tmp_path / "board.png")
    pixels = image.imread(tmp_path / "board.png")
    assert pixels.shape[1] > 1000
    assert len({tuple(one) for one in pixels[::7, ::7].reshape(-1, pixels.shape[2])[:, :3].tolist()}) > 5


def test_the_model_card_is_read_by_the_hub(tmp_path: Path) -> None:
    """Scores, licence and base model arrive in the hub's own reader."""
    record = make_record(tmp_path, "llama-2-7b", scale="full").record
    data = ModelCard(model_card(record)).data
    values = {one.metric_name: one.metric_value for one in data.eval_results}
    assert values["ROUGE-L"] == pytest.approx(record.scores["tuned"][MAIN].mean, abs=1e-6)
    assert set(values) == {"ROUGE-L", "ROUGE-1", "ROUGE-2", "ROUGE-Lsum"}
    assert data.base_model == "meta-llama/Llama-2-7b-hf"
    assert (data.license, data.library_name) == ("llama2", "peft")
    assert data.eval_results[0].dataset_revision == record.run.contract.eval.digest
    assert data.eval_results[0].metric_config == record.run.contract.scorer


def test_the_card_of_a_twin_claims_no_base_model(tmp_path: Path) -> None:
    """A twin has no repository, and says so in words."""
    text = model_card(make_record(tmp_path).record)
    assert ModelCard(text).data.base_model is None
    assert "miniature twin" in text


def test_a_full_fine_tune_is_loaded_as_a_model(tmp_path: Path) -> None:
    """The card's code fits what was saved."""
    text = model_card(make_record(tmp_path, "bart-large-xsum").record)
    assert "AutoModelForSeq2SeqLM.from_pretrained" in text
    assert "PeftModel" not in text
    assert "PeftModel.from_pretrained" in model_card(make_record(tmp_path, "gpt2").record)


def test_the_card_names_every_fallback(tmp_path: Path) -> None:
    """Never silent, there either."""
    assert "Fallback: no Unsloth" in model_card(make_record(tmp_path, fallbacks=["no Unsloth"]).record)


def test_report_writes_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markdown always, with the chart embedded that was written before it."""
    make_board(tmp_path, ["gpt2", "phi-1.5"], seeds=(0,))
    asked = ("--html", "--svg", "--csv", "--parquet")
    code, out, _ = command(capsys, "report", "--out", str(tmp_path), *asked)
    assert code == 0
    for suffix in ("md", "html", "svg", "png", "csv", "parquet"):
        assert (tmp_path / f"leaderboard.{suffix}").stat().st_size > 500
    assert "](leaderboard.svg)" in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "phi-1.5" in out


def test_report_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The board, and what could not be read."""
    broken = make_record(tmp_path, "phi-1.5")
    make_record(tmp_path, "gpt2")
    (broken.folder / "record.json").write_text("{", encoding="utf-8")
    _, out, _ = command(capsys, "report", "--out", str(tmp_path), "--json")
    data = json.loads(out)
    assert [row["model"] for row in data["groups"][0]["rows"]] == ["gpt2"]
    assert len(data["unreadable"]) == 1
    assert "phi-1.5" in data["unreadable"][0]


def test_report_puts_the_board_into_a_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Between the markers and nowhere else; again changes nothing."""
    make_record(tmp_path, "gpt2")
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- board:start -->\nold\n<!-- board:end -->\nafter\n", encoding="utf-8")
    command(capsys, "report", "--out", str(tmp_path), "--readme", str(readme))
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- board:start -->\n**gpt2 twin scores")
    assert text.endswith("\n<!-- board:end -->\nafter\n")
    assert "| gpt2 twin, 1.87 M |" in text
    assert "old" not in text
    command(capsys, "report", "--out", str(tmp_path), "--readme", str(readme))
    assert readme.read_text(encoding="utf-8") == text


def test_a_readme_without_markers_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what to add."""
    make_record(tmp_path, "gpt2")
    (tmp_path / "README.md").write_text("nothing", encoding="utf-8")
    code, _, err = command(capsys, "report", "--out", str(tmp_path), "--readme", str(tmp_path / "README.md"))
    assert code == 2
    assert "<!-- board:start -->" in err
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "nothing"


def test_a_chart_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder has a board that says how to start, but no chart."""
    code, out, _ = command(capsys, "report", "--out", str(tmp_path))
    assert (code, "bench run --models all" in out) == (0, True)
    code, _, err = command(capsys, "report", "--out", str(tmp_path), "--svg")
    assert (code, "no finished run" in err) == (2, True)


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`bench show` over two runs of gpt2 and one of phi-1.5."""
    for model, seed in (("gpt2", 0), ("gpt2", 1), ("phi-1.5", 0)):
        make_record(tmp_path, model, seed, texts={"tuned": ["\x1b[2Jclear\nthe screen"]} if seed else None)
    return lambda *words: command(capsys, "show", *words, "--out", str(tmp_path))


def test_show_tells_a_run_by_model_beginning_or_id(shown: Callable[..., Any], tmp_path: Path) -> None:
    """A model name where it is unique, else the beginning of an id."""
    id = next((tmp_path / "runs").glob("gpt2-mini-s1-*")).name
    for name in ("phi-1.5", "phi", "gpt2-mini-s0", id):
        code, out, _ = shown(name)
        assert code == 0
        assert out.startswith(name if name != "phi" else "phi-1.5")
        assert "60 of 60 steps, 480 of 480 examples" in out


def test_show_takes_a_models_newest_run(shown: Callable[..., Any]) -> None:
    """The beginning of several ids is met with these ids, an unknown name with the nearest."""
    code, out, _ = shown("gpt2")
    assert (code, "gpt2" in out) == (0, True)
    code, _, err = shown("gpt2-mini-s")
    assert (code, err.count("gpt2-mini-s") > 2) == (2, True)
    code, _, err = shown("gtp2")
    assert code == 2
    assert "gpt2" in err


def test_show_picks_the_telling_answers(shown: Callable[..., Any], tmp_path: Path) -> None:
    """Largest gain, median and largest loss; all of them when asked."""
    _, out, _ = shown("phi-1.5")
    for word in ("Largest gain", "Median", "Largest loss"):
        assert out.count(word) == 1
    _, out, _ = shown("phi-1.5", "--all")
    assert out.count("\nquestion  ") == 60
    _, out, _ = shown("phi-1.5", "--json")
    answers = json.loads(out)["answers"]
    gains = [one["tuned_score"] - one["base_score"] for one in answers]
    assert gains == sorted(gains, reverse=True)


def test_show_keeps_an_answer_from_driving_the_terminal(shown: Callable[..., Any]) -> None:
    """Escape sequences and line breaks of a model become spaces."""
    _, out, _ = shown("gpt2-mini-s1", "--all")
    assert "\x1b" not in out
    assert "[2Jclear the screen" in out


def test_the_sparkline_falls_with_the_loss() -> None:
    """High first, low last, and bounded in length."""
    line = one_run.sparkline([float(value) for value in range(200, 0, -1)])
    assert (line[0], line[-1], len(line)) == ("\u2588", "\u2581", 40)
    assert one_run.sparkline([1.0]) == ""
    assert re.fullmatch("[\u2581-\u2588]{3}", one_run.sparkline([1.0, 1.0, 1.0]))
