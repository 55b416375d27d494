"""When answers made anew count as the record's: equal texts, or scores and tokens that say so together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from records import make_contract, make_record

from bench.judge.pairing import Finding
from bench.judge.verification import Reanswered, Rescored, Verification, reanswered, rescored
from bench.render.text import verification as text
from bench.serve.verify import Questions
from bench.store.ledger import Stored

COUNT = 60
ROWS = [(f"q{place}", "", "What?") for place in range(COUNT)]
BEFORE = np.random.default_rng(0).beta(2, 6, COUNT)


def answered(shift: float, noise: float, agreement: float | None, changed: int = 20) -> Reanswered:
    """Answers of which some are worded otherwise, their scores moved by `shift` and `noise`."""
    moved = np.random.default_rng(1).normal(shift, noise, COUNT)
    moved[changed:] = 0
    now = ["other" if place < changed else "same" for place in range(COUNT)]
    return reanswered("tuned", ROWS, ["same"] * COUNT, now, BEFORE, BEFORE + moved, agreement)


def test_equal_texts_need_no_numbers() -> None:
    row = reanswered("tuned", ROWS, ["same"] * COUNT, ["same"] * COUNT, BEFORE, BEFORE)
    assert row.reproduces
    assert row.difference is None


@pytest.mark.parametrize(
    ("shift", "noise", "agreement", "finding", "holds"),
    [
        (0.0, 0.005, 0.96, Finding.UNCHANGED, True),
        (0.0, 0.005, 0.94, Finding.UNCHANGED, False),  # other weights that score alike
        (0.0, 0.005, None, Finding.UNCHANGED, False),
        (0.0, 0.1, 0.99, Finding.UNCERTAIN, True),
        (0.0, 0.1, 0.96, Finding.UNCERTAIN, False),
        (-0.3, 0.05, 1.0, Finding.REGRESSED, False),
        (0.3, 0.05, 1.0, Finding.IMPROVED, False),  # better is not what was scored either
    ],
)
def test_scores_and_tokens_decide_together(
    shift: float, noise: float, agreement: float | None, finding: Finding, holds: bool
) -> None:
    row = answered(shift, noise, agreement)
    assert (row.finding, row.reproduces) == (finding, holds)
    assert (row.equal, len(row.differing)) == (40, 20)


def test_a_score_that_comes_out_otherwise_is_counted() -> None:
    held = [np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.5, 0.5])]
    anew = [np.array([0.1, 0.2, 0.4]), np.array([0.5, 0.5, 0.5 + 1e-8])]
    assert rescored("tuned", held, anew) == Rescored("tuned", 6, 1)


def test_a_fault_or_a_score_is_enough_not_to_reproduce() -> None:
    good = answered(0.0, 0.005, 0.99)
    whole = Verification("x", "x", (), (Rescored("tuned", 4, 0),), (good,))
    assert whole.reproduces
    assert not Verification("x", "x", ("a file is missing",), (), (good,)).reproduces
    assert not Verification("x", "x", (), (Rescored("tuned", 4, 1),), (good,)).reproduces
    assert text.verdict(whole) == (
        "reproduces up to rounding: some answers are worded otherwise, the score is not clearly another"
    )
    assert text.verified(whole).startswith(
        "**verified: 40 of 60 answers equal, 99.0% of their tokens; ROUGE-L"
    )


def test_what_was_never_answered_is_not_called_verified() -> None:
    """A folder that cannot be loaded has no answers to be wrong about."""
    broken = Verification("x", "x", ("cannot be loaded: no config.json",), (), ())
    assert text.verified(broken) == "**NOT verified: cannot be loaded: no config.json**"
    assert not Verification("x", "x", (), (), ()).reproduces


def test_answers_that_run_on_are_reported_and_never_cut_in_a_score(tmp_path: Path) -> None:
    contract = make_contract(scorer="rouge/1 stemmer=porter split=newline")
    reference = make_record(tmp_path / "plain", contract=contract).completions[0]["references"][0]
    run_on = f"{reference}\nQuestion: And what else?\nAnswer:\nNothing of that kind at all."
    stored = make_record(tmp_path, contract=contract, texts={"tuned": [run_on]})
    before = stored.scores
    stop = Questions.of(stored).stop_effect()
    assert stop is not None
    assert (stop.cut, stop.answers) == (1, 60)
    assert stop.with_rule > stop.recorded
    shown = text.stop_rule(Verification("x", "x", (), (), (), stop))
    assert shown.startswith("1 of 60 answers run on into another question")
    assert "no score is changed by it" in shown
    assert Stored(stored.record, stored.folder).scores == before
