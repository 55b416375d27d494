"""Doubts about a board's numbers, each raised where it must be and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records import make_board, make_record

from bench.judge.lint import Warning, lint
from bench.store.ledger import Stored
from bench.store.record import Written


def said(stored: list[Stored], code: str) -> list[Warning]:
    """The warnings of one kind."""
    return [one for one in lint(stored) if one.code == code]


def written(**changes: Any) -> dict[str, Any]:
    """The numbers of what 60 completions look like, healthy unless changed."""
    healthy = {"examples": 60, "mean_tokens": 30.0, "mean_words": 20.0, "distinct": 58}
    tuned = Written(**{**healthy, "empty": 0, "truncated": 0, "echoed": 0, **changes})
    return {"written": {"tuned": tuned, "base": tuned}}


def test_a_sound_board_has_no_warning_about_its_models(tmp_path: Path) -> None:
    """Several seeds, clear gaps, healthy answers, far above every reference row."""
    board = [
        make_record(tmp_path, model, seed, gain=gain, fields=written())
        for model, gain in (("gpt2", 0.2), ("phi-1.5", 0.4))
        for seed in (0, 1, 2)
    ]
    assert {one.code for one in lint(board)} == {"overlap"}


def test_overlap_of_training_and_test_is_told_with_its_counts(tmp_path: Path) -> None:
    """By the reasons that preparation counted, once for a table."""
    one = make_record(tmp_path)
    counts = {"read": 50, "near duplicate of the held-out part": 4, "answer also in the held-out part": 2}
    data = one.record.data.model_copy(update={"prepared": {"course-qa": counts}, "selected": {"train": 44}})
    leaky = [make_record(tmp_path, seed=seed, fields={"data": data}) for seed in (0, 1)]
    (warning,) = said(leaky, "overlap")
    assert warning.text == (
        "course-qa: 6 training rows overlapped the test part and were removed "
        "(4 near duplicate of the held-out part, 2 answer also in the held-out part)"
    )
    clean = data.model_copy(update={"prepared": {"course-qa": {"read": 50}}})
    assert not said([make_record(tmp_path, fields={"data": clean})], "overlap")


def test_one_seed_is_said_of_the_table_or_of_the_model(tmp_path: Path) -> None:
    """A whole table of one seed is one warning."""
    assert [one.model for one in said(make_board(tmp_path, ["gpt2", "phi-1.5"], (0,)), "one-seed")] == [""]
    mixed = [*make_board(tmp_path, ["gpt2"], (0, 1)), make_record(tmp_path, "phi-1.5")]
    assert [one.model for one in said(mixed, "one-seed")] == ["phi-1.5"]
    assert not said(make_board(tmp_path, ["gpt2"], (0, 1)), "one-seed")


@pytest.mark.parametrize(
    ("code", "field", "text"),
    [
        ("empty", "empty", "8 of 120 completions (7%) are empty"),
        ("truncated", "truncated", "8 of 120 completions (7%) reached the limit of new tokens"),
        ("echo", "echoed", "8 of 120 completions (7%) repeat the prompt"),
    ],
)
def test_broken_completions_are_counted_over_seeds(tmp_path: Path, code: str, field: str, text: str) -> None:
    """More than 5% of them; 5% are tolerated."""
    broken = [make_record(tmp_path, seed=seed, fields=written(**{field: 4})) for seed in (0, 1)]
    assert [one.text for one in said(broken, code)] == [text]
    fine = [make_record(tmp_path, seed=seed, fields=written(**{field: 3})) for seed in (0, 1)]
    assert not said(fine, code)


def test_answers_that_are_all_alike_are_told(tmp_path: Path) -> None:
    """A tenth of distinct answers or fewer; one seed is enough."""
    seeds = [
        make_record(tmp_path, fields=written()),
        make_record(tmp_path, seed=1, fields=written(distinct=6)),
    ]
    assert [one.text for one in said(seeds, "alike")] == ["only 6 different completions for 60 questions"]
    assert not said([make_record(tmp_path, fields=written(distinct=7))], "alike")


def test_a_model_worse_than_its_base_is_told(tmp_path: Path) -> None:
    """With both values, the difference and its interval."""
    (warning,) = said([make_record(tmp_path, gain=-0.05, seed=seed) for seed in (0, 1)], "base-better")
    assert warning.model == "gpt2"
    assert warning.text.startswith("worse than the untuned model: rougeL 0.0")


def test_a_score_like_a_reference_rows_is_told(tmp_path: Path) -> None:
    """Not distinguishable, or clearly below; clearly above is what tuning is for."""
    equal = {one.code for one in lint([make_record(tmp_path, "gpt2", seed, gain=0.0) for seed in (0, 1, 2)])}
    assert "equals-base" in equal
    assert {"below-copy", "below-nearest"} <= equal
    above = {one.code for one in lint([make_record(tmp_path, "gpt2", seed, gain=0.3) for seed in (0, 1, 2)])}
    assert not {code for code in above if code.startswith(("equals", "below", "base"))}


def test_too_few_examples_for_the_gaps_of_a_board(tmp_path: Path) -> None:
    """Neighbours nearer than what this many examples can show; wide gaps raise nothing."""
    near = [make_record(tmp_path, m, s, gain=0.2) for m in ("llama-2-7b", "phi-1.5") for s in (0, 1, 2)]
    (warning,) = said(near, "few-examples")
    assert warning.text.startswith("1 of 1 neighbouring pairs differ by less than 60 test examples can show")
    far = [make_record(tmp_path, m, s, gain=g) for m, g in (("gpt2", 0.1), ("phi-1.5", 0.5)) for s in (0, 1)]
    assert not said(far, "few-examples")


def test_an_edited_record_is_passed_over(tmp_path: Path) -> None:
    """What cannot be read raises no error and hides no warning about the rest."""
    first, second = (make_record(tmp_path, model, fields=written(empty=30)) for model in ("gpt2", "phi-1.5"))
    (first.folder / "scores.json").write_text("{}", encoding="utf-8")
    assert [one.model for one in said([first, second], "empty")] == ["gpt2", "phi-1.5"]
    assert not [one for one in lint([first, second]) if one.model == "gpt2" and "copy" in one.code]


def test_no_records_no_warnings() -> None:
    """An empty board is no doubt."""
    assert lint([]) == []
