"""The scorer gives the values of `rouge_score` and of ROUGE-1.5.5, for any text."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from bench.score.rouge import Prf, Rouge, Tokens

with_and_without_stemmer = pytest.mark.parametrize("stemmer", [True, False], ids=["stemmed", "unstemmed"])

# Few words, so that equally long common subsequences and repeated words are the rule.
repetitive = st.lists(st.lists(st.sampled_from("abcde"), max_size=8).map(" ".join), max_size=5).map("\n".join)
inflected = st.lists(
    st.sampled_from(["run", "runs", "running", "runner", "flies", "fly", "Skies", "sky", "generously", "\n"]),
    max_size=12,
).map(" ".join)


def assert_equal(reference: str | Sequence[str], candidate: str, *, stemmer: bool) -> None:
    """Hold new scorers of both kinds to one another."""
    theirs = RougeScorer(list(Rouge.KINDS), use_stemmer=stemmer)
    ours = Rouge(stemmer=stemmer).score(reference, candidate)
    references = [reference] if isinstance(reference, str) else reference
    expected = theirs.score_multi(references, candidate)
    assert {kind: astuple(prf) for kind, prf in ours.items()} == {
        kind: pytest.approx(tuple(expected[kind]), abs=1e-12, rel=0) for kind in Rouge.KINDS
    }


def astuple(prf: Prf) -> tuple[float, float, float]:
    """The order of `rouge_score`'s tuples."""
    return prf.precision, prf.recall, prf.f


@pytest.fixture
def dolly_pairs(shared: Path) -> list[tuple[str, str]]:
    """2,000 pairs of real answers: by turns another answer, and a copy with words dropped and moved."""
    rng = random.Random(0)
    answers: list[str] = []
    with (shared / "data/dolly/databricks-dolly-15k.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            answer = json.loads(line)["response"]
            if len(answer) < 1000:  # a longer one costs rouge_score a tenth of a second
                answers.append(answer)
    pairs: list[tuple[str, str]] = []
    for reference, other in itertools.pairwise(answers[:2001]):
        pieces = reference.split(" ")
        moved = [rng.choice(pieces) if rng.random() < 0.2 else piece for piece in pieces]
        noisy = " ".join(piece for piece in moved if rng.random() < 0.9)
        pairs.append((reference, noisy if len(pairs) % 2 else other))
    return pairs


@with_and_without_stemmer
def test_real_answers_score_as_in_rouge_score(dolly_pairs: list[tuple[str, str]], stemmer: bool) -> None:
    """All four kinds equal `rouge_score` to 1e-12 in precision, recall and F on 2,000 Dolly pairs."""
    theirs = RougeScorer(list(Rouge.KINDS), use_stemmer=stemmer)
    ours = Rouge(stemmer=stemmer)
    differing = []
    for reference, candidate in dolly_pairs:
        expected, found = theirs.score(reference, candidate), ours.score(reference, candidate)
        for kind in Rouge.KINDS:
            gaps = [abs(a - b) for a, b in zip(expected[kind], astuple(found[kind]), strict=True)]
            if max(gaps) > 1e-12:
                differing.append((kind, reference, candidate))
    assert len(dolly_pairs) == 2000
    assert not differing


@with_and_without_stemmer
@settings(deadline=None)
@given(reference=st.text(), candidate=st.text())
def test_any_unicode_scores_as_in_rouge_score(reference: str, candidate: str, stemmer: bool) -> None:
    """No text, in whatever script and with whatever line breaks, scores otherwise than in `rouge_score`."""
    assert_equal(reference, candidate, stemmer=stemmer)


@settings(deadline=None)
@given(reference=repetitive, candidate=repetitive)
def test_ties_between_subsequences_break_as_in_rouge_score(reference: str, candidate: str) -> None:
    """Many sentences over few words: the union of ROUGE-Lsum has the same members and the same clipping."""
    assert_equal(reference, candidate, stemmer=False)


@settings(deadline=None)
@given(reference=inflected, candidate=inflected)
def test_inflected_words_are_stemmed_as_in_rouge_score(reference: str, candidate: str) -> None:
    """Regular, irregular and short words meet the same stem in both scorers."""
    assert_equal(reference, candidate, stemmer=True)


@settings(deadline=None)
@given(references=st.lists(repetitive, min_size=1, max_size=4), candidate=repetitive)
def test_several_references_score_as_score_multi(references: list[str], candidate: str) -> None:
    """For each kind the reference with the highest F counts, the earliest of equals."""
    assert_equal(references, candidate, stemmer=True)


def test_each_kind_takes_its_own_best_reference() -> None:
    """One reference can be best for ROUGE-1 and another for ROUGE-L."""
    scores = Rouge().score(["b a d c", "a b e f"], "a b c d")
    assert [scores[kind].f for kind in ("rouge1", "rougeL", "rouge2")] == pytest.approx([1, 0.5, 1 / 3])


def test_of_equally_good_references_the_first_counts() -> None:
    """Equal F with different precision and recall: the earlier reference's values are reported."""
    long_first = Rouge().score(["a b c d", "a"], "a b")["rouge1"]
    short_first = Rouge().score(["a", "a b c d"], "a b")["rouge1"]
    assert astuple(long_first) == pytest.approx((1.0, 0.5, 2 / 3))
    assert astuple(short_first) == pytest.approx((0.5, 1.0, 2 / 3))


def test_scoring_against_no_reference_is_refused() -> None:
    """An empty list of references is a mistake, not a zero."""
    with pytest.raises(ValueError, match="no reference"):
        Rouge().score([], "an answer")


@pytest.mark.parametrize("line", ["0", "1"])
@pytest.mark.parametrize("stemmer", [False, True], ids=["unstemmed", "stemmed"])
def test_lines_score_as_in_rouge_155(shared: Path, line: str, stemmer: bool) -> None:
    """The values of manual runs of ROUGE-1.5.5, to the five digits in which it prints them."""
    folder = shared / "data/rouge"
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    target = (folder / "target.txt").read_text("utf-8").split("\n")[int(line)]
    prediction = (folder / "prediction.txt").read_text("utf-8").split("\n")[int(line)]
    scores = Rouge(stemmer=stemmer).score(target, prediction)
    for kind, values in expected["pairs_line_with_stemming" if stemmer else "pairs_line"][line].items():
        assert astuple(scores[kind]) == pytest.approx([values[key] for key in "PRF"], abs=5.1e-6)


def test_summaries_score_as_in_rouge_155(shared: Path) -> None:
    """ROUGE-Lsum of texts of several sentences equals ROUGE-1.5.5 to five digits."""
    folder = shared / "data/rouge"
    values = json.loads((folder / "expected.json").read_text("utf-8"))["multi.0_rougeLsum_with_stemming"]
    target = (folder / "target_multi.0.txt").read_text("utf-8")
    prediction = (folder / "prediction_multi.0.txt").read_text("utf-8")
    found = Rouge(stemmer=True).score(target, prediction)["rougeLsum"]
    assert astuple(found) == pytest.approx([values[key] for key in "PRF"], abs=5.1e-6)


def test_two_sentences_share_one_reference_sentence() -> None:
    """Lin's own example: w1 w2 from one sentence and w1 w3 w5 from the other give 4 of 5 words."""
    found = Rouge().score("w1 w2 w3 w4 w5", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5")["rougeLsum"]
    assert astuple(found) == pytest.approx((0.4, 0.8, 8 / 15))


@pytest.mark.parametrize("separator", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", ". "])
def test_only_a_newline_ends_a_sentence(separator: str) -> None:
    """Other line and paragraph separators, and full stops, leave one sentence for ROUGE-Lsum."""
    one_sentence = Rouge().score("w1 w2 w3 w4", f"w3 w4{separator}w1 w2")["rougeLsum"]
    two_sentences = Rouge().score("w1 w2 w3 w4", "w3 w4\nw1 w2")["rougeLsum"]
    assert (one_sentence.f, two_sentences.f) == (0.5, 1.0)


def test_a_word_counts_no_oftener_than_the_candidate_has_it() -> None:
    """Two reference sentences cannot both claim the candidate's only `a`."""
    found = Rouge().score("a b\na c", "a\nz")["rougeLsum"]
    assert astuple(found) == pytest.approx((0.5, 0.25, 1 / 3))


@pytest.mark.parametrize("candidate", ["", "/", "\n\n", "?! …", "日本語"])
def test_a_candidate_without_words_scores_zero(candidate: str) -> None:
    """Nothing written, or nothing in ASCII letters and digits, is zero in all values and no error."""
    assert Rouge().score("testing one two", candidate) == dict.fromkeys(Rouge.KINDS, Prf(0.0, 0.0, 0.0))


def test_a_reference_scored_again_gives_the_same_values() -> None:
    """What a scorer remembers of a reference does not change the next candidate's score."""
    scorer, reference = Rouge(), "the cat sat\non the mat the cat"
    candidates = ["a cat\nthe mat", "the the the", "on the mat", "a cat\nthe mat"]
    assert [scorer.score(reference, one) for one in candidates] == [
        Rouge().score(reference, one) for one in candidates
    ]


def test_tokens_are_lower_case_stems_of_ascii_words() -> None:
    """Umlauts and punctuation end a token, and words of three characters keep their endings."""
    assert Tokens()("Naïve Running: was_the Ponies' K2") == ["na", "ve", "run", "was", "the", "poni", "k2"]


def test_the_identity_names_the_stemmer() -> None:
    """Scores with and without stems carry different names, and so are never ranked together."""
    assert Rouge(stemmer=True).identity == "rouge/1 stemmer=porter split=newline"
    assert Rouge(stemmer=False).identity == "rouge/1 stemmer=none split=newline"


def test_the_identity_tells_the_truth_about_the_stemmer() -> None:
    """Where the identity says porter, `run` meets `running`; where it says none, it does not."""
    f = {
        scorer.identity: scorer.score("running", "run")["rouge1"].f for scorer in (Rouge(True), Rouge(False))
    }
    assert f == {
        "rouge/1 stemmer=porter split=newline": 1.0,
        "rouge/1 stemmer=none split=newline": 0.0,
    }
