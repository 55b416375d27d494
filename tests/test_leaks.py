"""Training rows that give away a held-out question in another spelling, and sound rows that must stay."""

from __future__ import annotations

import json
import random
import unicodedata
from dataclasses import replace
from pathlib import Path
from time import process_time

import pytest

from bench import registry
from bench.data import leaks, prepare, sources, spelling
from bench.digest import digest
from bench.spec import DatasetSpec, Example
from benchmarks import leaks as table
from benchmarks import rows as made

QUESTION = "Why does the learning rate of naïve gradient descent decay over time?"
#: What an export, an editor or a hurried author makes of the question.
SPELLINGS = {
    "soft hyphens": QUESTION.replace("ea", "e\u00ada"),
    "zero width": QUESTION.replace("e", "e\u200b"),
    "zero width for a space": QUESTION.replace(" learning", "\u200blearning"),
    "word joiner": QUESTION.replace("a", "a\u2060"),
    "NFD": unicodedata.normalize("NFD", QUESTION),
    "no accents": QUESTION.replace("ï", "i"),
    "full width": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in QUESTION),
    "entities": QUESTION.replace(" ", "&nbsp;"),
    "entities twice": QUESTION.replace(" ", "&amp;nbsp;"),
    "tags": f"<p class='q'>{QUESTION.replace('learning', '<b>learn</b>ing')}<br/></p>",
    "underscores": QUESTION.replace(" ", "_"),
    "Cyrillic letters": QUESTION.replace("a", "а").replace("e", "е").replace("o", "о"),
    "Greek letters": QUESTION.replace("a", "α").replace("o", "ο").replace("i", "ι"),
    "two words swapped": QUESTION.replace("learning rate", "rate learning"),
    "no article": QUESTION.replace("the ", ""),
    "a word added": QUESTION.replace("decay", "usually decay"),
    "a word left out": QUESTION.replace("naïve ", ""),
    "a word replaced": QUESTION.replace("decay", "shrink"),
    "polite": f"Hello, could you please tell me: {QUESTION}",
    "thanks": f"{QUESTION} Thank you!",
    "a letter left out": QUESTION.replace("gradient", "gradent"),
    "two letters turned": QUESTION.replace("descent", "decsent"),
    "a letter too many": QUESTION.replace("Why", "Whyy"),
}
#: Pairs of questions that look alike and are two.
DIFFERENT = (
    ("What is 2+3?", "What is 2+4?"),
    ("What is 2+3?", "What is 2*3?"),
    ("What is entropy?", "What is energy?"),
    ("Define the decision tree.", "Define the decision rule."),
    ("What is a GPU?", "What is a CPU?"),
    ("What is C++ used for by engineers?", "What is C# used for by engineers?"),
    ("Which vitamin deficiency causes it, vitamin C?", "Which vitamin deficiency causes it, vitamin D?"),
    ("List the titles of the fourth season in order.", "List the titles of the fifth season in order."),
    ("Why is the loss convex in this model?", "Why is the loss not convex in this model?"),
    ("How many of 1000 rows are tested here?", "How many of 10000 rows are tested here?"),
    ("Is a < b and c > d for all numbers here?", "Is a for all numbers here?"),
)


def held_out(question: str = QUESTION, answer: str = "So that it settles.", **more: str) -> Example:
    return Example("t", question, (answer,), group="t", **more)


def trained(question: str, answer: str = "Nobody knows.", **more: str) -> Example:
    return Example("n", question, (answer,), group="n", **more)


def kept(example: Example, *test: Example) -> bool:
    """Whether the training side keeps an example."""
    return bool(prepare.without_leaks([example], test)[0])


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_a_question_in_another_spelling_is_not_trained_on(text: str) -> None:
    """Whatever its answer."""
    assert not kept(trained(text), held_out())


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_numbers_negations_and_short_questions_are_told_apart(left: str, right: str) -> None:
    """One other number, letter or "not" makes another question; so does one word among three."""
    assert leaks.HeldOut([held_out(right)]).leaks([trained(left)]) == {}


def test_the_text_of_an_example_stays_as_it_was_written() -> None:
    """Folding is for comparison alone; groups, and with them the split, come from another function."""
    assert spelling.words("Ｗhat_is&nbsp;an <b>mini-batch</b>?") == ("what", "is", "minibatch")
    text = "Ｗhat_is&nbsp;this?"
    assert prepare.without_leaks([trained(text)], [held_out()])[0][0].question == text


def test_a_text_without_a_word_is_compared_without_an_error() -> None:
    """Signs alone, an article alone, nothing but politeness."""
    strange = [trained(text) for text in ("???", "", "the", "Please", "日本語", "🙂")]
    assert prepare.without_leaks(strange, [held_out("?!"), held_out("a"), held_out("Hi")])[0]


def test_a_long_answer_with_a_typo_is_not_trained_on_and_a_short_one_may_be() -> None:
    """Short answers are equal by chance."""
    answer = "A gradient is the vector of all partial derivatives of a function."
    copied = trained("Define what descent follows.", answer.replace("vector", "vectro"))
    assert prepare.without_leaks([copied], [held_out("What is it?", answer)]) == ([], {leaks.ANSWER: 1})
    assert kept(
        trained("Define what descent follows.", "Partial derivatives"), held_out("It?", "Partial derivative")
    )


def test_questions_about_two_texts_are_two() -> None:
    """The same request with another context is another example; with the context respelled it is not."""
    request = "Summarise the main argument of this text in a sentence."
    first = "Gradient descent follows the slope of the loss until nothing changes any more."
    second = "The committee met on Tuesday and left all decisions to its secretary."
    assert kept(trained(request, context=first), held_out(request + "!", context=second))
    assert not kept(
        trained(f"{request} Thanks", context=first.replace(" ", "_")), held_out(request, context=first)
    )


def test_questions_of_a_series_stay() -> None:
    """Three training questions that differ from a test question in the same word are a series."""
    names = ("Oslo", "Lima", "Quito")
    series = [trained(f"How many people live near {name} these days?") for name in names]
    test = held_out("How many people live near Vienna these days?")
    assert leaks.HeldOut([test]).leaks(series) == {}
    assert len(leaks.HeldOut([test]).leaks(series[:2])) == 2


def test_a_word_that_the_answer_is_about_makes_another_question() -> None:
    """The other word of a pair of topics, each explained by its own answer."""
    voting = held_out("What distinguishes hard and soft voting?", "Hard voting counts labels.")
    assert kept(
        trained("What distinguishes hard and soft clustering?", "Hard clustering is exclusive."), voting
    )
    assert not kept(trained("What distinguishes hard and soft clustering?", "They do."), voting)


def test_the_rule_holds_between_two_data_sets() -> None:
    """A test set of its own, asked in other spellings than the training set, is found by the selection."""
    course = prepare.prepare(registry.find_dataset("course-qa"))
    copies = tuple(
        replace(
            e, id=f"c{n}", group=f"c{n}", question=e.question.replace(" ", "_"), answers=("Other words.",)
        )
        for n, e in enumerate(course.test)
    )
    other = replace(course, ref=course.ref.model_copy(update={"name": "copy"}), train=course.train + copies)
    selection = prepare.select(other, course, "test", None)
    assert not {e.id for e in copies} & {e.id for e in selection.train}
    assert selection.counts[leaks.QUESTION] == len(copies)


def test_the_course_questions_lose_no_row_and_keep_their_digest() -> None:
    """So that records of before the rule remain comparable."""
    spec = registry.find_dataset("course-qa")
    prepared = prepare.prepare(spec)
    assert prepared.ref.digest in prepare.UNCHANGED_SINCE_2
    parts = prepare.split(prepare.examples_of(spec), spec)
    assert leaks.HeldOut(parts["test"] + parts["validation"]).leaks(parts["train"]) == {}
    assert leaks.HeldOut(parts["test"]).leaks(parts["validation"]) == {}


@pytest.mark.parametrize("line", [*table.CHANGES, table.COPIED_ANSWER])
def test_of_the_course_questions_in_each_spelling_at_most_five_in_a_hundred_are_kept(line: str) -> None:
    """The line of the table in `bench.data.leaks`, on the questions that are packaged."""
    spec = registry.find_dataset("course-qa")
    parts = prepare.split(prepare.examples_of(spec), spec)
    left, total = table.kept(parts["test"][: table.QUESTIONS], parts["train"], line)
    assert total > 100
    assert left <= 0.05 * total


@pytest.fixture(scope="module")
def real(shared: Path) -> dict[str, dict[str, list[Example]]]:
    return table.data_sets(shared / "data")


@pytest.mark.parametrize("line", [*table.CHANGES, table.COPIED_ANSWER])
@pytest.mark.parametrize("name", ["export", "dolly"])
def test_of_real_questions_in_each_spelling_at_most_five_in_a_hundred_are_kept(
    real: dict[str, dict[str, list[Example]]], name: str, line: str
) -> None:
    """A real course export and 200 questions of Dolly."""
    left, total = table.kept(real[name]["test"][: table.QUESTIONS], real[name]["train"], line)
    assert total > 80
    assert left <= 0.05 * total


def test_dolly_loses_its_one_respelled_question_and_few_sound_rows(
    real: dict[str, dict[str, list[Example]]],
) -> None:
    """Rows whose answer clearly differs from the one that they are taken for: under 0.5%."""
    parts = real["dolly"]
    held = parts["test"] + parts["validation"]
    found = leaks.HeldOut(held).leaks(parts["train"])
    pairs = {(parts["train"][number].question, leak.held_out.question) for number, leak in found.items()}
    respelled = "Wthat is the difference between Speed and Velocity ?"
    assert ("What is the difference between speed and velocity?", respelled) in pairs
    rows, differ = table.removed(parts["train"], held)
    assert rows == len(found)
    assert differ < 0.005 * len(parts["train"])


def dropped(spec: DatasetSpec) -> str:
    """A digest of which rows preparation keeps, in order, and of the counted reasons of the others."""
    parts = prepare.split(prepare.examples_of(spec), spec)
    train = prepare.without_leaks(parts["train"], parts["test"] + parts["validation"])
    validation = prepare.without_leaks(parts["validation"], parts["test"])
    kept = [part for rows, counts in (train, validation) for part in ([e.id for e in rows], counts)]
    return digest(kept)[:16]


#: What was dropped when every pair of candidates was compared in full.
DROPPED = {
    "course-qa": "7d2babaf648edb4d",
    "export": "523734e9186b02ab",
    "dolly": "c37b6201c9b1a281",
    "made rows": "ac031912add91199",
}


@pytest.mark.parametrize("name", DROPPED)
def test_the_same_rows_are_dropped_for_the_same_reasons_as_ever(
    shared: Path, tmp_path: Path, name: str
) -> None:
    """A faster comparison is no other one."""
    data = shared / "data"
    if name == "export":
        spec = sources.spec_for_file(name, data / "course-qa-export" / "aiml_questions.csv")
    elif name == "made rows":
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in made.rows(6000)))
        spec = sources.spec_for_file("rows", file)
    else:
        spec = registry.find_dataset(name)
    if name == "dolly":
        spec = sources.from_file(spec, data / "dolly" / "databricks-dolly-15k.jsonl")
    elif name != "course-qa":
        spec = spec.model_copy(update={"validation_fraction": 0.1})
    assert dropped(spec) == DROPPED[name]


def test_twenty_two_thousand_rows_are_compared_in_twenty_seconds_of_processor_time_at_most() -> None:
    """With 2,000 questions held out, of words as frequent as those of real questions."""
    examples = prepare.examples_of(registry.find_dataset("course-qa"))
    words = [word for example in examples for word in example.question.split()]
    chance = random.Random(0)
    rows = [
        replace(examples[n % len(examples)], question=" ".join(chance.sample(words, 10)))
        for n in range(24_000)
    ]
    start = process_time()
    leaks.HeldOut(rows[:2000]).leaks(rows[2000:])
    assert process_time() - start < 20
