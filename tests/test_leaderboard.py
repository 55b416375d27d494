"""The board as text.

Whole outputs are golden files; after a wanted change: `BENCH_GOLDEN=write pytest tests/test_leaderboard.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from records import make_board, make_contract, make_failure, make_record

from bench.judge.board import MAIN, Board, board
from bench.render import colour, words
from bench.render.text.leaderboard import markdown, readme_block, terminal
from bench.store.ledger import Ledger, Stored

GOLDEN = Path(__file__).parent / "golden"
README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """Two contracts, one-seed rows, a fallback, older versions, a failure."""
    out = tmp_path_factory.mktemp("reports")
    stored = make_board(out, ["gpt2", "phi-1.5", "bart-large-xsum"])
    stored += [
        make_record(out, "llama-2-7b", gain=0.08, fallbacks=["Unsloth: not installed"]),
        make_record(out, "gpt2", versions={"trl": "1.12.0"}, finished="2026-10-01T10:00:00Z"),
        make_record(out, "gpt2", contract=make_contract(steps=4), finished="2026-10-02T10:00:00Z"),
    ]
    return board(stored, [make_failure(out, "mistral-7b-v0.3", reason="out of memory\nkilled by signal 9")])


def check(name: str, text: str) -> None:
    """Compare with the golden file, or write it when asked to."""
    file = GOLDEN / name
    if os.environ.get("BENCH_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_the_markdown_is_the_golden_one(everything: Board) -> None:
    """Contract above, references apart, notes, failures and versions below."""
    check("leaderboard.md", markdown(everything, chart="leaderboard.svg"))


def test_the_terminal_board_is_the_golden_one(everything: Board) -> None:
    """At 100 columns."""
    check("leaderboard.txt", terminal(everything, 100) + "\n")


def test_a_narrow_terminal_gets_the_golden_one(everything: Board) -> None:
    """At 80 columns, with fewer of them."""
    check("leaderboard-80.txt", terminal(everything, 80) + "\n")


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_board_fits(everything: Board, width: int) -> None:
    """No line is wider than asked for."""
    assert max(map(len, terminal(everything, width).splitlines())) <= width


def test_a_twin_is_never_called_by_its_siblings_name_alone(tmp_path: Path) -> None:
    """Nobody may read that GPT-2 beats Llama-3.1; a published checkpoint keeps its name."""
    twins = board([make_record(tmp_path, "gpt2"), make_record(tmp_path, "llama-2-7b")])
    for text in (terminal(twins), markdown(twins), readme_block(twins.runs)):
        mentions = re.findall(r"(?:gpt2|llama-2-7b)\b(?! twin).{0,20}", text)
        assert not mentions
    published = board([make_record(tmp_path / "full", "gpt2", scale="full")])
    assert "gpt2" in terminal(published)
    assert "twin" not in terminal(published)


def test_a_mean_above_the_copy_row_is_not_enough_to_beat_it(everything: Board) -> None:
    """The best twin has 0.214 against 0.209, which its paired interval cannot tell apart."""
    assert "none clearly beats the copy of the question" in terminal(everything)


def test_the_verdict_comes_first_and_the_contract_after_the_table(everything: Board) -> None:
    for text in (terminal(everything), markdown(everything)):
        verdict, table, contract = (text.index(words) for words in ("clearly improved", "Rank", "Trained on"))
        assert verdict < table < contract


def test_a_terminal_gets_colour_and_the_same_words(everything: Board) -> None:
    text = terminal(everything)
    painted = colour.painted(text)
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == text
    assert "\x1b[1m" in painted


def test_no_colour_is_no_colour(everything: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour.painted(terminal(everything)) == terminal(everything)


def test_a_long_name_does_not_break_the_terminal(tmp_path: Path) -> None:
    """A user's model may have any name."""
    one = make_record(tmp_path)
    model = one.record.run.model.model_copy(
        update={"name": "a-model-of-my-own-with-a-very-long-name-0123456789"}
    )
    record = one.record.model_copy(update={"run": one.record.run.model_copy(update={"model": model})})
    text = terminal(board([Stored(record, one.folder)]), 80)
    assert max(map(len, text.splitlines())) <= 80


def test_markdown_is_one_table_a_group_with_equal_cells(everything: Board) -> None:
    """A reader of GitHub's dialect sees two tables, every row as wide as its head."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(everything))
    assert sum(token.type == "table_open" for token in tokens) == 2
    rows = [line for line in markdown(everything).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1


def test_what_a_user_wrote_cannot_break_the_markdown(tmp_path: Path) -> None:
    """A pipe, a tag or a new line in a reason stays text."""
    stored = [make_record(tmp_path, fallbacks=["a | b\n<script>alert(1)</script> *c*"])]
    text = markdown(board(stored, [make_failure(tmp_path, reason="no\n| a |\n<b>")]))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script>" not in html
    assert "<b>" not in html
    assert html.count("<table>") == 1
    assert "a | b &lt;script&gt;alert(1)&lt;/script&gt; *c*" in html


def test_the_chart_is_embedded_only_where_it_is(everything: Board) -> None:
    """A broken image would be worse than none."""
    assert "](leaderboard.svg)" in markdown(everything, "leaderboard.svg")
    assert "](" not in markdown(everything)


def test_an_empty_board_says_how_to_start() -> None:
    """In both forms."""
    assert "bench run --models all" in terminal(board([]))
    assert "bench run --models all" in markdown(board([]))


def test_a_board_of_failures_alone_is_shown(tmp_path: Path) -> None:
    """Every run died: no table, but every reason."""
    found = board([], [make_failure(tmp_path, "gpt2", reason="no disk left")])
    assert "gpt2, seed 0: failed in stage 'train': no disk left" in terminal(found)
    assert "no disk left" in markdown(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(950, "950"), (1_234, "1.23 k"), (233_000, "233 k"), (1_780_000, "1.78 M"), (8_030_261_248, "8.03 B")],
)
def test_counts_have_three_digits(value: float, text: str) -> None:
    """Parameters are read, not counted."""
    assert words.count(value) == text


def test_differences_carry_their_sign() -> None:
    """With a true minus sign, and none where nothing differs."""
    assert (words.change(0.0123), words.change(-0.0123), words.change(-0.0001)) == (
        "+0.012",
        "\N{MINUS SIGN}0.012",
        "0.000",
    )


def test_the_board_path_loads_nothing_heavy() -> None:
    """Reprinting a board must not pay for pandas, torch or a browser's page."""
    code = (
        "import sys; import bench.verbs.report, bench.render.text.leaderboard; "
        "heavy = ('torch', 'pandas', 'transformers', 'jinja2', 'scipy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_readme_shows_the_board_of_the_committed_records() -> None:
    """README and records never disagree."""
    text = README.read_text(encoding="utf-8")
    shown = text.split("<!-- board:start -->")[1].split("<!-- board:end -->")[0].strip()
    stored, messages = Ledger(README.parent / "reports" / "twins").load()
    assert messages == []
    assert shown == readme_block(stored).strip()


def test_the_readmes_table_of_a_published_checkpoint_is_its_records() -> None:
    """Every number of it, and that the committed records are whole."""
    text = README.read_text(encoding="utf-8")
    stored, messages = Ledger(README.parent / "reports" / "smollm2").load()
    assert messages == []
    (group,) = board(stored).groups
    (row,) = group.rows
    assert row.seeds == (0, 1, 2)
    copy = next(reference for reference in group.references if reference.name == "copy")
    for mean, value in (
        (f"**{words.score(row.tuned[MAIN].mean)}**", words.interval(row.tuned[MAIN])),
        (words.change(row.gain[MAIN].mean), words.change_interval(row.gain[MAIN])),
        (words.score(copy.scores[MAIN].mean), words.interval(copy.scores[MAIN])),
    ):
        assert f"| {mean} | {value} |" in text
