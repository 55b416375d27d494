"""A difference is split into training, decoding and scoring, and the parts add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import make_contract, make_record

from bench.errors import Incomparable
from bench.judge.explain import Explanation, Pieces, explain, explain_seeds
from bench.render.text.explanation import markdown, terminal, verdict
from bench.store.ledger import Stored

GOLDEN = Path(__file__).parent / "golden"
NEW = {"trl": "1.15.0"}
WEIGHTS = {"artifacts": {"adapter/adapter_model.safetensors": 64 * "a"}}


def scores(stored: Stored) -> dict[str, float]:
    """Example id -> tuned ROUGE-L, as a re-scoring would return it."""
    return dict(zip(stored.scores["ids"], stored.scores["rows"]["tuned"]["rougeL"]["f"], strict=True))


def runs(out: Path, seed: int = 0, **after: Any) -> tuple[Stored, Stored]:
    """A run of gpt2, and the same under a newer trl, which wrote other texts unless `texts` says what."""
    after.setdefault("texts", {row: [f"newer {row} {n}" for n in range(60)] for row in ("tuned", "base")})
    b = make_record(out, "gpt2", seed, gain=0.2, versions=NEW, **after)
    return make_record(out, "gpt2", seed, gain=0.2), b


def share(one: Explanation, stage: str) -> float:
    """A stage's share of the total."""
    (part,) = (part for part in one.parts if part.stages == (stage,))
    assert part.share is not None
    return part.share


@pytest.mark.parametrize("known", [(), ("rescored",), ("redecoded",), ("rescored", "redecoded")])
def test_the_parts_add_up_to_the_total(tmp_path: Path, known: tuple[str, ...]) -> None:
    """To 1e-9, whatever is missing and whatever the scores are."""
    a, b = runs(tmp_path, shift=-0.03, changed=0.6)
    generator = np.random.default_rng(0)
    pieces = {name: {id: float(generator.random()) for id in scores(a)} for name in known}
    one = explain(a, b, **pieces)  # type: ignore[arg-type]
    total = np.mean(list(scores(b).values())) - np.mean(list(scores(a).values()))
    assert one.total.mean == pytest.approx(total, abs=1e-9)
    assert abs(sum(part.value.mean for part in one.parts) - one.total.mean) < 1e-9
    assert sum(part.share or 0.0 for part in one.parts) == pytest.approx(1)


def test_a_changed_scorer_is_put_down_to_scoring(tmp_path: Path) -> None:
    """The texts are the same; B's scorer takes a tenth off each."""
    a, b = runs(tmp_path, shift=-0.04)
    one = explain(a, b, rescored=scores(b), redecoded=scores(b))
    assert share(one, "scoring") == pytest.approx(1)
    assert "Put down to scoring: 100%" in verdict(one)


def test_equal_texts_with_other_scores_are_scorings_whatever_the_scorer_is_called(tmp_path: Path) -> None:
    """Weights, texts and the scorer's name are the same, and scoring anew by a third scorer finds nothing."""
    b = make_record(tmp_path, "gpt2", gain=0.2, versions=NEW, shift=-0.04, fields=WEIGHTS)
    a = make_record(tmp_path, "gpt2", gain=0.2, fields=WEIGHTS)
    assert share(explain(a, b), "scoring") == pytest.approx(1)
    assert share(explain(a, b, rescored=scores(a)), "scoring") == pytest.approx(1)


def test_equal_base_answers_say_that_decoding_did_not_move(tmp_path: Path) -> None:
    """A baseline has no weights to decode anew, but its base was decoded on both sides."""
    texts = {"tuned": [f"newer {n}" for n in range(60)]}
    a, b = runs(tmp_path, shift=-0.04, texts=texts)
    one = explain(a, b)
    assert share(one, "training") == pytest.approx(1)
    assert any("the untuned model answered the same" in note for note in one.notes)
    _, b = runs(tmp_path, shift=-0.04, texts={**texts, "base": ["one other answer"]})
    assert [part.stages for part in explain(a, b).parts] == [("scoring",), ("decoding", "training")]


def test_another_seed_is_named(tmp_path: Path) -> None:
    """Two seeds of one setting differ in nothing else that is recorded."""
    a, b = make_record(tmp_path, "gpt2", 0), make_record(tmp_path, "gpt2", 1)
    assert any(text.startswith("seed: 0") for text in explain(a, b).evidence)


def test_seed_zero_against_seed_one_says_that_the_seed_differs(tmp_path: Path) -> None:
    """In the title, in the verdict and as the only thing that differs."""
    a, b = make_record(tmp_path, "gpt2", 0), make_record(tmp_path, "gpt2", 1)
    explanation = explain(a, b)
    assert (explanation.seeds, explanation.other_seeds) == ((0,), (1,))
    assert explanation.evidence[-1] == "nothing else that is recorded differs"
    shown = terminal([explanation])
    assert "seed 0 \N{RIGHTWARDS ARROW} 1" in shown
    assert "seed: 0 \N{RIGHTWARDS ARROW} 1, so order and initial adapter differ" in shown
    same = explain(a, make_record(tmp_path, "gpt2", 0, versions=NEW))
    assert same.other_seeds == ()


def test_a_changed_generation_is_put_down_to_decoding(tmp_path: Path) -> None:
    """A's texts score the same under B's scorer; A's weights write B's texts."""
    a, b = runs(tmp_path, shift=-0.04)
    one = explain(a, b, rescored=scores(a), redecoded=scores(b))
    assert share(one, "decoding") >= 0.9
    assert "Put down to decoding" in verdict(one)


def test_other_weights_are_put_down_to_training(tmp_path: Path) -> None:
    """A's weights write in B's environment what they wrote in A's."""
    a, b = runs(tmp_path, shift=-0.04)
    one = explain(a, b, rescored=scores(a), redecoded=scores(a))
    assert share(one, "training") >= 0.9
    assert "Put down to training" in verdict(one)


def test_without_the_weights_decoding_and_training_stay_together(tmp_path: Path) -> None:
    """Sampled in the split and in a note; scoring still has its own part."""
    a, b = runs(tmp_path, shift=-0.04)
    one = explain(a, b, rescored=scores(a))
    assert [part.stages for part in one.parts] == [("scoring",), ("decoding", "training")]
    assert one.notes == (
        "A's weights were not decoded anew in B's environment: decoding and training cannot be told apart",
    )
    assert "Put down to decoding + training (not told apart)" in verdict(one)


def test_without_any_piece_other_scorers_leave_one_part(tmp_path: Path) -> None:
    """Nothing can be told apart; with one scorer on both sides, scoring is unmoved."""
    a, b = runs(tmp_path, shift=-0.04, contract=make_contract(scorer="rouge:no-stem"))
    assert [part.stages for part in explain(a, b).parts] == [("scoring", "decoding", "training")]
    a, b = runs(tmp_path, shift=-0.04)
    one = explain(a, b)
    assert [part.stages for part in one.parts] == [("scoring",), ("decoding", "training")]
    assert one.parts[0].value.mean == 0
    assert "not scored anew" in one.notes[0]


def test_equal_weights_need_no_decoding_anew(tmp_path: Path) -> None:
    """The digests say that training is unmoved; other weights say nothing of the kind."""
    a, b = runs(tmp_path, shift=-0.04, fields=WEIGHTS)
    same = make_record(tmp_path, "gpt2", gain=0.2, fields=WEIGHTS)
    one = explain(same, b)
    assert share(one, "training") == 0
    assert share(one, "decoding") == pytest.approx(1)
    assert any("weights: the same by digest" in text for text in one.evidence)
    assert len(explain(a, b).parts) == 2


def test_additive_stages_get_their_own_shares(tmp_path: Path) -> None:
    """Where stages do not interact, each part is the stage's own shift."""
    a, b = runs(tmp_path, shift=-0.06)
    first, last = scores(a), scores(b)
    weight = {"training": 0.5, "decoding": 0.3, "scoring": 0.2}

    def moved(by: float) -> dict[str, float]:
        return {id: first[id] + by * (last[id] - first[id]) for id in first}

    explanation = explain(a, b, rescored=moved(0.2), redecoded=moved(0.5))
    assert {stage: share(explanation, stage) for stage in weight} == pytest.approx(weight)


def test_each_part_has_an_interval_of_its_own(tmp_path: Path) -> None:
    """A part that is the same for every example is exact; a noisy one is not."""
    a, b = runs(tmp_path, shift=-0.03, changed=0.8)
    exact = {id: value - 0.01 for id, value in scores(a).items()}
    one = explain(a, b, rescored=exact, redecoded=exact)
    scoring, _, training = one.parts
    assert scoring.value.high - scoring.value.low == pytest.approx(0, abs=1e-9)
    assert training.value.low < training.value.mean < training.value.high


def test_seeds_are_explained_together(tmp_path: Path) -> None:
    """The mean over seeds; a piece that one seed lacks is missing for all."""
    pairs = [runs(tmp_path, seed, shift=-0.03, changed=0.5) for seed in (0, 1, 2)]
    pieces = [Pieces(a, b, scores(a), scores(a)) for a, b in pairs]
    whole = explain_seeds(pieces)
    assert whole.seeds == (0, 1, 2)
    assert whole.total.mean == pytest.approx(np.mean([explain(a, b).total.mean for a, b in pairs]))
    partly = explain_seeds([*pieces[:2], Pieces(*pairs[2], rescored=scores(pairs[2][0]))])
    assert partly.parts[-1].stages == ("decoding", "training")


def test_a_small_difference_is_not_explained_away(tmp_path: Path) -> None:
    """Where the total is not clear, no stage is blamed."""
    a, b = runs(tmp_path)
    assert verdict(explain(a, b)).startswith("No clear difference to explain")


def test_other_models_or_examples_cannot_be_explained(tmp_path: Path) -> None:
    """By name, and by what the pieces hold."""
    a, b = runs(tmp_path)
    with pytest.raises(Incomparable, match="different models"):
        explain(a, make_record(tmp_path, "phi-1.5"))
    with pytest.raises(Incomparable, match="share no test example"):
        explain(a, b, rescored={"another": 0.5})


def test_evidence_names_losses_texts_and_versions(tmp_path: Path) -> None:
    """What a reader would look up next."""
    a, b = runs(tmp_path, changed=0.5, texts={})
    evidence = "\n".join(explain(a, b).evidence)
    assert "training curves are the same over 12 logged steps" in evidence
    same = sum(x["tuned"] == y["tuned"] for x, y in zip(a.completions, b.completions, strict=True))
    assert f"{same} of 60 answers are the same to the letter" in evidence
    assert "changed: trl 1.14.2 → 1.15.0" in evidence


def golden_explanations(out: Path) -> list[Explanation]:
    """One split into three, one that cannot be told apart."""
    a, b = runs(out, shift=-0.03, changed=0.4, fields={"final_loss": 2.5})
    rescored = {id: value * 0.99 for id, value in scores(a).items()}
    redecoded = {id: value - 0.02 for id, value in rescored.items()}
    return [explain(a, b, rescored, redecoded), explain(a, b)]


def test_the_terminal_text_is_the_golden_one(tmp_path: Path) -> None:
    """At most 100 columns."""
    text = terminal(golden_explanations(tmp_path))
    assert max(map(len, text.splitlines())) <= 100
    assert text + "\n" == (GOLDEN / "explain.txt").read_text(encoding="utf-8")


def test_the_markdown_is_the_golden_one(tmp_path: Path) -> None:
    """The same facts as a document."""
    assert markdown(golden_explanations(tmp_path)) == (GOLDEN / "explain.md").read_text(encoding="utf-8")


def _mirrored(corner: str) -> str:
    return corner.translate(str.maketrans("AB", "BA"))
