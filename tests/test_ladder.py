"""Ladders of budgets: a table for each, and which pairs of models change order, as surely as the data say."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
from records import make_contract, make_record

from bench.cli import run_verb
from bench.errors import BudgetError
from bench.judge.board import Board, board
from bench.judge.effort.ladder import Ladder, with_ladders
from bench.render import export
from bench.render.page import page
from bench.render.text import ladder as ladder_text
from bench.render.text.leaderboard import markdown, terminal
from bench.store.ledger import Stored
from bench.verbs import request

STEPS = (15, 60, 240)


def climb(out: Path, model: str, gains: tuple[float, ...], seeds: int = 3, **more: Any) -> list[Stored]:
    """Records of a model with a gain over base at each budget."""
    return [
        make_record(out, model, seed, gain=gain, contract=make_contract(steps=steps), **more)
        for steps, gain in zip(STEPS, gains, strict=False)
        for seed in range(seeds)
    ]


def ladder_of(*stored: list[Stored]) -> Ladder:
    (ladder,) = with_ladders(board([record for records in stored for record in records])).ladders
    return ladder


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """gpt2 is far ahead of phi-1.5 at first and far behind at last; llama-2-7b is always below."""
    out = tmp_path_factory.mktemp("reports")
    stored = climb(out, "gpt2", (0.16, 0.12, 0.08)) + climb(out, "phi-1.5", (0.02, 0.12, 0.26))
    return with_ladders(board(stored + climb(out, "llama-2-7b", (-0.2, -0.19, -0.18))))


def test_budgets_are_tables_of_their_own_and_one_ladder(crossed: Board) -> None:
    assert len(crossed.groups) == 3
    (ladder,) = crossed.ladders
    assert [rung.budget.examples for rung in ladder.rungs] == [120, 480, 1920]
    assert set(ladder.models) == {"gpt2", "phi-1.5", "llama-2-7b"}


def test_the_scores_of_a_rung_are_those_of_its_table(crossed: Board) -> None:
    (ladder,) = crossed.ladders
    tables = {group.contract.budget: group for group in crossed.groups}
    for rung in ladder.rungs:
        assert rung.tuned == {row.model: row.tuned["rougeL"] for row in tables[rung.budget].rows}


def test_a_pair_that_changes_order_is_named_with_both_ends(crossed: Board) -> None:
    (crossing,) = crossed.ladders[0].crossings
    assert (crossing.ahead, crossing.behind) == ("gpt2", "phi-1.5")
    assert (crossing.small.steps, crossing.large.steps) == (15, 240)
    assert crossing.before.low > 0 > crossing.after.high
    assert crossing.clear


def test_the_p_of_a_change_of_order_is_that_of_its_weaker_end(tmp_path: Path) -> None:
    """A lead that is sure at one budget and vanishes at the other is no change of order."""
    wide = climb(tmp_path, "gpt2", (0.16, 0.10)) + climb(tmp_path, "phi-1.5", (0.02, 0.08))
    (crossing,) = ladder_of(wide).crossings
    assert not crossing.clear
    assert crossing.before.low > 0
    assert crossing.after.low < 0 < crossing.after.high


def test_models_that_keep_their_order_are_no_crossing(tmp_path: Path) -> None:
    ladder = ladder_of(climb(tmp_path, "gpt2", (0.3, 0.32)), climb(tmp_path, "phi-1.5", (0.0, 0.02)))
    assert ladder.crossings == ()
    assert ladder.pairs == 1


def test_one_budget_is_no_ladder(tmp_path: Path) -> None:
    assert with_ladders(board(climb(tmp_path, "gpt2", (0.1,)))).ladders == ()


def test_other_data_are_no_rung(tmp_path: Path) -> None:
    stored = climb(tmp_path, "gpt2", (0.1,))
    stored += [make_record(tmp_path, contract=make_contract("dolly", steps=60))]
    assert with_ladders(board(stored)).ladders == ()


def test_a_model_that_is_not_at_every_budget_is_left_out_by_name(tmp_path: Path) -> None:
    ladder = ladder_of(climb(tmp_path, "gpt2", (0.1, 0.2)), climb(tmp_path, "phi-1.5", (0.1,)))
    assert (ladder.models, ladder.left_out) == (("gpt2",), ("phi-1.5",))
    assert "phi-1.5" in ladder_text.terminal(ladder)


def test_a_model_under_other_versions_at_one_budget_is_not_compared(tmp_path: Path) -> None:
    """Else an upgrade between two budgets would pass for what examples do."""
    mixed = climb(tmp_path, "gpt2", (0.1,), seeds=1)
    mixed += [make_record(tmp_path, "gpt2", contract=make_contract(steps=60), versions={"trl": "1.12.0"})]
    ladder = ladder_of(mixed, climb(tmp_path, "phi-1.5", (0.1, 0.2), seeds=1))
    assert ladder.left_out == ("gpt2",)


def test_one_seed_says_that_training_noise_was_not_measured(tmp_path: Path) -> None:
    ladder = ladder_of(climb(tmp_path, "gpt2", (0.1, 0.2), seeds=1))
    assert "training noise not measured" in " ".join(ladder_text.terminal(ladder).split())


def test_several_seeds_of_a_model_that_is_left_out_say_nothing_of_training_noise(tmp_path: Path) -> None:
    ladder = ladder_of(climb(tmp_path, "gpt2", (0.1, 0.2), seeds=1), climb(tmp_path, "phi-1.5", (0.1,)))
    assert not ladder.seeds


def test_models_beyond_the_best_are_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.judge.effort.ladder.MOST", 1)
    ladder = ladder_of(climb(tmp_path, "gpt2", (0.1, 0.2)), climb(tmp_path, "phi-1.5", (0.0, 0.1)))
    assert (ladder.further, ladder.left_out) == (("phi-1.5",), ())
    assert "Not among the best 1" in " ".join(ladder_text.terminal(ladder).split())


@pytest.mark.parametrize("render", [markdown, terminal, page], ids=["markdown", "terminal", "page"])
def test_every_report_has_the_ladder(crossed: Board, render: Any) -> None:
    text = " ".join(re.sub(r"\\", "", render(crossed)).split())
    assert "Score against examples seen: course-qa, mini scale" in text
    assert "1 of 3 pairs of models clearly changes order along the ladder." in text
    assert "gpt2 twin is ahead of phi-1.5 twin at 120 examples" in text
    assert "and behind at 1,920 examples" in text


def test_the_plot_has_a_point_for_every_model_and_budget(crossed: Board) -> None:
    plot = re.search(r'<svg[^>]*over examples seen".*?</svg>', page(crossed).split('id="ladder0"')[1])
    assert plot
    assert len(re.findall('class="whisker', plot[0])) == 9


def test_the_data_have_the_ladder(crossed: Board) -> None:
    (ladder,) = json.loads(json.dumps(export.as_data(crossed)))["ladders"]
    assert [rung["examples"] for rung in ladder["rungs"]] == [120, 480, 1920]
    assert [(crossing["ahead"], crossing["clear"]) for crossing in ladder["crossings"]] == [("gpt2", True)]


def test_a_plan_lists_every_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--models", "gpt2", "--budget", "15x8,smoke", "--out", str(tmp_path), "--json"]
    assert run_verb(words) == 0
    planned = json.loads(capsys.readouterr().out)["runs"]
    assert [line["budget"] for line in planned] == ["15x8", "4x8"]
    assert len({line["id"] for line in planned}) == 2


@pytest.mark.parametrize(
    ("budgets", "expected"), [("4x8,4x8", "each budget once"), ("4x8,", "expected STEPSxBATCH")]
)
def test_a_wrong_ladder_is_one_line(
    budgets: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["plan", "--budget", budgets, "--models", "gpt2", "--out", str(tmp_path)]) == 2
    assert expected in capsys.readouterr().err


def test_verbs_that_compare_versions_take_one_budget() -> None:
    options = ArgumentParser()
    request.configure(options)
    with pytest.raises(BudgetError, match="one budget here"):
        request.resolve(options.parse_args(["--models", "gpt2", "--budget", "4x8,60x8"]))
