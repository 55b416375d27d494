"""Doubts about a board's numbers, each raised where it must be and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records import make_board, make_record

from bench.judge.doubts import Code, Doubt
from bench.judge.doubts.table import doubts
from bench.render.doubts import badge, sentence
from bench.store.ledger import Stored
from bench.store.record import Written


def raised(stored: list[Stored], code: Code) -> list[Doubt]:
    """The doubts of one kind."""
    return [doubt for doubt in doubts(stored) if doubt.code == code]


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
    assert {doubt.code for doubt in doubts(board)} <= {Code.OVERLAP, Code.MINI, Code.REPEATED_EPOCHS}


def test_overlap_of_training_and_test_is_told_with_its_counts(tmp_path: Path) -> None:
    """By the reasons that preparation counted, once for a table."""
    one = make_record(tmp_path)
    counts = {"read": 50, "near duplicate of the held-out part": 4, "answer also in the held-out part": 2}
    data = one.record.data.model_copy(update={"prepared": {"course-qa": counts}, "selected": {"train": 44}})
    leaky = [make_record(tmp_path, seed=seed, fields={"data": data}) for seed in (0, 1)]
    (doubt,) = raised(leaky, Code.OVERLAP)
    assert sentence(doubt) == (
        "course-qa: 6 training rows overlapped the test part and were removed "
        "(4 near duplicate of the held-out part, 2 answer also in the held-out part)"
    )
    clean = data.model_copy(update={"prepared": {"course-qa": {"read": 50}}})
    assert not raised([make_record(tmp_path, fields={"data": clean})], Code.OVERLAP)


def test_a_nearest_training_answer_that_scores_too_well_is_called_a_leak(tmp_path: Path) -> None:
    """Once for a table; in clean data hardly any test question is answered by a training row."""
    leaky = [make_record(tmp_path, seed=seed, leaked=20) for seed in (0, 1)]
    (doubt,) = raised(leaky, Code.LEAK)
    assert (doubt.count, doubt.total) == (20, 60)
    assert sentence(doubt).startswith(
        "leak: 20 of 60 test questions are answered by a training row of course-qa"
    )
    assert not raised([make_record(tmp_path, seed=2, leaked=3)], Code.LEAK), "three in sixty are tolerated"


def test_answers_of_a_word_or_two_are_no_leak_where_they_are_equal(tmp_path: Path) -> None:
    """Yes and no are the answers to many questions."""
    data = make_record(tmp_path).record.data.model_copy(update={"reference_words": 1.5})
    assert not raised([make_record(tmp_path, leaked=20, fields={"data": data})], Code.LEAK)


def test_one_seed_is_a_doubt_about_each_row_that_has_one(tmp_path: Path) -> None:
    """Rows of several seeds have none."""
    mixed = [*make_board(tmp_path, ["gpt2"], (0, 1)), make_record(tmp_path, "phi-1.5")]
    assert [doubt.model for doubt in raised(mixed, Code.ONE_SEED)] == ["phi-1.5"]


@pytest.mark.parametrize(
    ("code", "field", "text"),
    [
        (Code.EMPTY_ANSWERS, "empty", "answers without a word: 8 of 120"),
        (Code.CUT_ANSWERS, "truncated", "answers that reached the limit of 96 new tokens: 8 of 120"),
        (Code.ECHOED_ANSWERS, "echoed", "answers that repeat the prompt: 8 of 120"),
    ],
)
def test_broken_answers_are_counted_over_seeds(tmp_path: Path, code: Code, field: str, text: str) -> None:
    """Seven in a hundred are above every threshold."""
    broken = [make_record(tmp_path, seed=seed, fields=written(**{field: 4})) for seed in (0, 1)]
    assert [sentence(doubt) for doubt in raised(broken, code)] == [text]


def test_five_in_a_hundred_cut_or_echoed_answers_are_tolerated_but_no_empty_one(tmp_path: Path) -> None:
    """The table of thresholds says so, and board, page and check all follow it."""
    fields = written(truncated=3, echoed=3, empty=1)
    codes = {
        doubt.code for doubt in doubts([make_record(tmp_path, seed=seed, fields=fields) for seed in (0, 1)])
    }
    assert Code.EMPTY_ANSWERS in codes
    assert not codes & {Code.CUT_ANSWERS, Code.ECHOED_ANSWERS}


def test_answers_that_are_all_alike_are_told(tmp_path: Path) -> None:
    """A tenth of distinct answers or fewer; one seed is enough."""
    seeds = [
        make_record(tmp_path, fields=written()),
        make_record(tmp_path, seed=1, fields=written(distinct=6)),
    ]
    assert [sentence(doubt) for doubt in raised(seeds, Code.ALIKE_ANSWERS)] == [
        "few different answers for all questions: 6 of 60"
    ]
    assert not raised([make_record(tmp_path, fields=written(distinct=7))], Code.ALIKE_ANSWERS)


def test_answers_in_smaller_batches_than_the_contracts_are_badged(tmp_path: Path) -> None:
    """Records of before the batch was kept, and those that used all of it, are not."""
    records = [
        make_record(tmp_path, seed=seed, fields=written(batch=batch)) for seed, batch in ((0, 128), (1, 16))
    ]
    assert [sentence(doubt) for doubt in raised(records, Code.SMALLER_BATCH)] == [
        "answered in smaller batches than the contract's, as memory allows: 16 of 128"
    ]
    assert not raised(records[:1], Code.SMALLER_BATCH)
    assert not raised([make_record(tmp_path, fields=written())], Code.SMALLER_BATCH)


def test_a_model_worse_than_its_base_is_told(tmp_path: Path) -> None:
    """With both values, the difference and its interval."""
    worse = [make_record(tmp_path, gain=-0.05, seed=seed) for seed in (0, 1)]
    doubt = next(doubt for doubt in raised(worse, Code.BELOW_REFERENCE) if doubt.names == ("base",))
    tuned, base = doubt.values
    assert doubt.model == "gpt2"
    assert doubt.difference is not None
    assert doubt.difference.mean == pytest.approx(tuned - base)
    assert sentence(doubt).startswith(f"worse than the untuned model: {tuned:.3f} against {base:.3f} (")


def references(stored: list[Stored], code: Code) -> set[str]:
    """The reference rows about which a doubt of this kind was raised."""
    return {doubt.names[0] for doubt in raised(stored, code)}


def test_a_score_like_a_reference_rows_is_told(tmp_path: Path) -> None:
    """Not distinguishable, or clearly below; clearly above is what tuning is for."""
    equal = [make_record(tmp_path, "gpt2", seed, gain=0.0) for seed in (0, 1, 2)]
    assert references(equal, Code.EQUALS_REFERENCE) == {"base"}
    assert references(equal, Code.BELOW_REFERENCE) == {"copy", "nearest"}
    above = [make_record(tmp_path, "gpt2", seed, gain=0.3) for seed in (0, 1, 2)]
    assert not references(above, Code.EQUALS_REFERENCE) | references(above, Code.BELOW_REFERENCE)


def test_too_few_examples_for_the_gaps_of_a_board(tmp_path: Path) -> None:
    """Neighbours nearer than what this many examples can show; wide gaps raise nothing."""
    near = [make_record(tmp_path, m, s, gain=0.2) for m in ("llama-2-7b", "phi-1.5") for s in (0, 1, 2)]
    (doubt,) = raised(near, Code.FEW_EXAMPLES)
    assert sentence(doubt).startswith(
        "1 of 1 neighbouring pairs differ by less than 60 test examples can show"
    )
    far = [make_record(tmp_path, m, s, gain=g) for m, g in (("gpt2", 0.1), ("phi-1.5", 0.5)) for s in (0, 1)]
    assert not raised(far, Code.FEW_EXAMPLES)


def test_an_edited_record_is_passed_over(tmp_path: Path) -> None:
    """What cannot be read raises no error and hides no doubt about the rest."""
    first, second = (make_record(tmp_path, model, fields=written(empty=30)) for model in ("gpt2", "phi-1.5"))
    (first.folder / "scores.json").write_text("{}", encoding="utf-8")
    assert [doubt.model for doubt in raised([first, second], Code.EMPTY_ANSWERS)] == ["gpt2", "phi-1.5"]
    compared = raised([first, second], Code.BELOW_REFERENCE) + raised([first, second], Code.EQUALS_REFERENCE)
    assert {doubt.model for doubt in compared} <= {"phi-1.5"}


def test_no_records_no_doubts() -> None:
    """An empty board is no doubt."""
    assert doubts([]) == ()


@pytest.mark.parametrize("code", list(Code))
def test_every_kind_of_doubt_has_words(code: Code) -> None:
    """A code that is added without a sentence is noticed here."""
    example = Doubt(code, "gpt2", 3, 60, ("base",), (("test examples", 60),), "rougeL", (0.1, 0.2))
    assert badge(example).name
    assert badge(example).reason
