"""From rows to a split: cleaned, deduplicated, leak-checked, counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import registry
from bench.data import prepare, sources
from bench.data.shape import clean
from bench.errors import DataError
from bench.spec import Budget, Columns, DatasetSpec, Example


def local(tmp_path: Path, lines: list[dict[str, object]], **spec: object) -> DatasetSpec:
    file = tmp_path / "d.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return DatasetSpec(name="d", file=str(file), **spec)  # type: ignore[arg-type]


def qa(number: int, **more: object) -> dict[str, object]:
    return {
        "question": f"What is thing number {number} in list {number * 7}?",
        "answer": f"It is {number}.",
        **more,
    }


def test_dolly_is_read_whole_and_every_dropped_row_is_counted(shared: Path) -> None:
    spec = sources.from_file(
        registry.find_dataset("dolly"), shared / "data" / "dolly" / "databricks-dolly-15k.jsonl"
    )
    prepared = prepare.prepare(spec)
    counts = prepared.counts
    assert counts["read"] == 15_011
    assert counts["kept"] + counts["exact duplicate"] + counts.get("empty answer", 0) == counts["read"]
    parts = counts["train"] + counts["validation"] + counts["test"]
    dropped = sum(count for reason, count in counts.items() if "held-out" in reason)
    assert parts + dropped == counts["kept"]
    selection = prepare.select(prepared, prepared, "test", 250)
    assert len(selection.eval) == 250
    assert not {e.group for e in selection.eval} & {e.group for e in selection.train}
    again = prepare.prepare(spec)
    assert again == prepared, "the cache gives back what was prepared"


@pytest.mark.parametrize(("file", "rows"), [("aiml_questions.csv", 666), ("aiml_unit2.csv", 96)])
def test_messy_real_exports_are_read_without_a_spec(shared: Path, file: str, rows: int) -> None:
    """Columns Q and A, an index without a name, quoted newlines, stray carriage returns, empty cells."""
    prepared = prepare.prepare(sources.spec_for_file("export", shared / "data" / "course-qa-export" / file))
    assert prepared.counts["read"] == rows
    assert prepared.counts["kept"] > 0.97 * rows
    assert len(prepared.test) >= 20
    assert all(example.question and example.answers[0] for example in prepared.train)
    assert all("\r" not in example.question for example in prepared.train)


def test_control_characters_and_blank_edges_go_and_nothing_else() -> None:
    assert clean("  a\u00a0 b\r\nc\x00\ufeff \n") == "a b\nc"
    assert clean("naïve — “quoted” 日本 🙂") == "naïve — “quoted” 日本 🙂"


def test_rows_without_question_or_answer_are_dropped_and_counted(tmp_path: Path) -> None:
    lines = [qa(n) for n in range(100)] + [
        {"question": " ", "answer": "a"},
        {"question": "b", "answer": None},
    ]
    counts = prepare.prepare(local(tmp_path, lines)).counts
    assert (counts["empty question"], counts["empty answer"]) == (1, 1)


def test_paraphrases_of_one_group_stay_on_one_side(tmp_path: Path) -> None:
    lines = [qa(n, group=f"g{n // 3}") for n in range(300)]
    prepared = prepare.prepare(local(tmp_path, lines, test_fraction=0.3))
    test = {example.group for example in prepared.test}
    assert test
    assert not test & {example.group for example in prepared.train + prepared.validation}


def test_the_examples_by_which_a_loss_is_followed_are_neither_trained_on_nor_scored() -> None:
    """Nor is one of their paraphrases; and a recipe tried on the validation part sees the same training."""
    prepared = prepare.prepare(registry.find_dataset("course-qa"))
    for_test = prepare.select(prepared, prepared, "test", None)
    for_recipes = prepare.select(prepared, prepared, "validation", None)
    groups = {example.group for example in for_test.followed}
    assert len(for_test.followed) == prepare.FOLLOWED
    assert not groups & {example.group for example in for_test.train + for_test.eval}
    assert for_test.train == for_recipes.train


def test_adding_rows_moves_no_old_row(tmp_path: Path) -> None:
    before = prepare.prepare(local(tmp_path, [qa(n) for n in range(200)]))
    after = prepare.prepare(local(tmp_path, [qa(n) for n in range(400)]))
    assert {e.id for e in before.test} <= {e.id for e in after.test}


def test_a_near_duplicate_of_a_test_question_is_not_trained_on(tmp_path: Path) -> None:
    spec = local(tmp_path, [qa(n) for n in range(200)])
    question = "explain to me in your own words why the quick brown fox jumps over the lazy dog at night"
    test = Example("t", question, ("Because it can.",), group="t")
    near = Example("n", question + " please", ("It is able to.",), group="n")
    far = Example("f", "explain why foxes are brown", ("Fur.",), group="f")
    kept, dropped = prepare.without_leaks([near, far, *prepare.prepare(spec).train], [test])
    assert near not in kept
    assert far in kept
    assert dropped == {"near duplicate of the held-out part": 1}


def test_a_long_answer_that_is_tested_is_not_trained_on() -> None:
    answer = "A gradient is the vector of partial derivatives of a function."
    test = Example("t", "What is a gradient?", (answer,), group="t")
    train = Example("n", "Define the thing that descent follows.", (answer.upper(),), group="n")
    short = Example("s", "Capital of France?", ("Paris.",), group="s")
    kept, _ = prepare.without_leaks([train, short], [test, Example("p", "Where?", ("Paris",), group="p")])
    assert kept == [short]


def test_training_sees_whole_seeded_epochs_in_the_same_order_for_all() -> None:
    examples = [Example(str(n), "q", ("a",)) for n in range(10)]
    order = [e.id for e in prepare.training_order(examples, Budget(steps=3, effective_batch=8), seed=0)]
    assert len(order) == 24
    assert sorted(order[:10]) == sorted(order[10:20]) == sorted(e.id for e in examples)
    assert order == [
        e.id for e in prepare.training_order(examples, Budget(steps=3, effective_batch=8), seed=0)
    ]
    assert order != [
        e.id for e in prepare.training_order(examples, Budget(steps=3, effective_batch=8), seed=1)
    ]
    assert [e.id for e in prepare.training_order(examples, Budget(steps=2, effective_batch=4), 0)] == order[
        :8
    ]


def test_a_test_part_that_is_too_small_is_refused_unless_forced(tmp_path: Path) -> None:
    prepared = prepare.prepare(local(tmp_path, [qa(n) for n in range(60)]))
    with pytest.raises(DataError, match=r"under 20 .* --force"):
        prepare.select(prepared, prepared, "test", None)
    assert prepare.select(prepared, prepared, "test", None, force=True).eval


def test_another_encoding_can_be_named_in_the_spec(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_bytes("Frage,Antwort\nWas heißt Güte?,Qualität\n".encode("cp1252"))
    spec = DatasetSpec(
        name="d", file=str(file), encoding="cp1252", columns=Columns(question="Frage", answer="Antwort")
    )
    assert [row["Antwort"] for row in sources.rows(spec)] == ["Qualität"]


def test_turns_become_the_first_question_and_its_answer(tmp_path: Path) -> None:
    text = "### Human: Hello?### Assistant: Hi there.### Human: More?### Assistant: No."
    lines = [{"text": text}, {"text": "### Assistant: alone"}]
    prepared = prepare.prepare(local(tmp_path, lines, shape="turns"))
    (example,) = prepared.train + prepared.validation + prepared.test
    assert (example.question, example.answers) == ("Hello?", ("Hi there.",))
    assert prepared.counts["no question followed by an answer"] == 1


def test_parquet_is_read_by_path(tmp_path: Path) -> None:
    import pandas as pd

    file = tmp_path / "d.parquet"
    pd.DataFrame({"instruction": ["a?", "b?"], "output": ["1", None]}).to_parquet(file)
    prepared = prepare.prepare(sources.spec_for_file("d", file))
    assert prepared.counts["kept"] == 1
    assert prepared.counts["empty answer"] == 1


def test_a_data_sets_digest_follows_its_content_and_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = prepare.reference(local(tmp_path / "a", [qa(1)]))
    assert prepare.reference(local(tmp_path / "b", [qa(1)])) == one
    assert prepare.reference(local(tmp_path / "b", [qa(2)])) != one
