"""The rows that need no training: copying the question, and the nearest training answer."""

from __future__ import annotations

import json
from pathlib import Path
from time import process_time

import pytest

from bench.score.reference_rows import NearestAnswer
from bench.score.rows import reference_texts
from bench.spec import Example

LESSONS = [
    ("What is a decision tree?", "A tree of tests."),
    ("What is the learning rate?", "The step's size."),
    ("What is a random forest?", "Many trees."),
    ("How are trees pruned?", "By cutting branches."),
]


def test_copying_returns_the_question_as_it_stands() -> None:
    """Nothing is stripped or changed: the scorer alone decides what counts."""
    example = Example(id="1", question="  What is\nAI? ", answers=("It.",), group="g")
    assert reference_texts([example], [example])["copy"] == ["  What is\nAI? "]


@pytest.mark.parametrize(("question", "answer"), LESSONS)
def test_a_training_question_gets_its_own_answer(question: str, answer: str) -> None:
    """A question that was in the training set is nearest to itself."""
    assert NearestAnswer(LESSONS).answer(question) == answer


def test_words_are_compared_by_stem() -> None:
    """`pruning` finds `pruned`, since the tokens are those of the score."""
    assert NearestAnswer(LESSONS).answer("Explain pruning.") == "By cutting branches."


def test_a_rare_word_outweighs_common_ones() -> None:
    """Many questions hold `what is a`; the one that shares the rare word is nearer."""
    pairs = [(f"what is a thing{i}", f"common {i}") for i in range(20)] + [("entropy of information", "rare")]
    assert NearestAnswer(pairs).answer("what is a entropy") == "rare"


def test_a_long_question_is_not_nearer_for_being_long() -> None:
    """Cosine divides by length: the exact question beats a longer one that holds the same words twice."""
    pairs = [("loss loss curve curve and twenty unrelated other words here", "long"), ("loss curve", "short")]
    assert NearestAnswer(pairs).answer("loss curve") == "short"


def test_a_word_said_twice_weighs_twice() -> None:
    """Counts matter, not only which words occur."""
    pairs = [("alpha beta beta", "beta"), ("alpha alpha beta", "alpha")]
    assert NearestAnswer(pairs).answer("alpha alpha beta beta alpha") == "alpha"


def test_of_equally_near_questions_the_earliest_counts() -> None:
    """A question that occurs twice in training gets the answer that came first."""
    pairs = [
        ("other", "no"),
        ("what is loss", "first"),
        ("what is loss", "second"),
        ("loss is what", "third"),
    ]
    assert NearestAnswer(pairs).answer("what is loss") == "first"


def test_rounding_does_not_break_a_tie() -> None:
    """Two questions that mirror each other are equally near a question of all their words, in any order."""
    left, right = ["lefta", "leftb", "leftc", "leftd"], ["righta", "rightb", "rightc", "rightd"]
    pairs = [(" ".join(left), "first"), (" ".join(right), "second")]
    for one, other, others in zip(left, right, (0, 4, 2, 4), strict=True):
        pairs += [(f"{one} {other}", "filler")] * others
    assert NearestAnswer(pairs).answer(" ".join(left + right[::-1])) == "first"


@pytest.mark.parametrize("question", ["", "?", "zebra", "日本語"])
def test_a_question_without_a_known_word_gets_the_first_answer(question: str) -> None:
    """Nothing in common with any training question is a tie of all."""
    assert NearestAnswer(LESSONS).answer(question) == "A tree of tests."


def test_no_training_pairs_are_refused() -> None:
    """There is no nearest among none."""
    with pytest.raises(ValueError, match="no training pairs"):
        NearestAnswer([])


def test_three_hundred_questions_among_fifteen_thousand_take_seconds_at_most(shared: Path) -> None:
    """Indexing all of Dolly and asking it 300 questions takes less than 6 s of processor time."""
    with (shared / "data/dolly/databricks-dolly-15k.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    pairs = [(row["instruction"], row["response"]) for row in rows]
    start = process_time()
    nearest = NearestAnswer(pairs)
    answers = [nearest.answer(question) for question, _ in pairs[:300]]
    spent = process_time() - start
    own = sum(answer == pair[1] for answer, pair in zip(answers, pairs, strict=False))
    assert own > 290
    assert spent < 6
