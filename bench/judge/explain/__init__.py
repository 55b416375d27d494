"""Which stage moved: a difference split into training, decoding and scoring, exactly.

Let S(w, d, s) be the mean score of weights w decoded in environment d and scored by s, each A's or B's.
Then B - A = S(B,B,B) - S(A,A,A) is the sum of

    scoring    S(A,A,B) - S(A,A,A)    A's stored texts, scored anew by B's scorer
    decoding   S(A,B,B) - S(A,A,B)    A's saved weights, decoded anew in B's environment
    training   S(B,B,B) - S(A,B,B)    what is left: the weights

example by example, so the parts add up to the total whatever the scores are, and each has its own paired
interval. The split depends on the order in which A's stages are replaced by B's where stages interact (a
longer answer gains more from a lenient scorer). This order needs only what is at hand: A's texts and
weights, and B's environment.

Where a piece is missing, the parts that it would have told apart are given together. Facts stand in for
pieces: equal texts, whose scores on both sides are by A's and by B's scorer whatever those are called;
scorers of one name; weights with equal digests; and where A's weights are gone, base answers that are the
same to the letter, because base weights are the same on both sides and were decoded in both environments.
Everything is arithmetic on arrays; re-scoring and
re-decoding are the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.errors import Incomparable
from bench.judge.explain.evidence import evidence, same_weights, written
from bench.store.ledger import Stored
from bench.store.scores import METRIC, Floats, aligned, series, units

STAGES = ("scoring", "decoding", "training")
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Pieces:
    """What one pair of runs offers: example id -> score; none where it could not be had."""

    a: Stored
    b: Stored
    #: S(A,A,B): A's texts by B's scorer.
    rescored: Scores | None = None
    #: S(A,B,B): A's weights decoded in B's environment, by B's scorer.
    redecoded: Scores | None = None


@dataclass(frozen=True)
class Part:
    """What one stage, or several that cannot be told apart, contributed."""

    stages: tuple[str, ...]
    value: stats.Interval
    p: float
    #: Of the total; none where the total is zero.
    share: float | None


@dataclass(frozen=True)
class Explanation:
    """A model's difference and its parts, which add up to it."""

    model: str
    metric: str
    seeds: tuple[int, ...]
    examples: int
    a: float
    b: float
    total: stats.Interval
    p: float
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    evidence: tuple[str, ...]
    #: B's seeds, where they are others than `seeds`.
    other_seeds: tuple[int, ...] = ()


def explain(
    a: Stored,
    b: Stored,
    rescored: Scores | None = None,
    redecoded: Scores | None = None,
    metric: str = METRIC,
) -> Explanation:
    """One run against another of the same model. Raises `Incomparable` without a common example."""
    return explain_seeds([Pieces(a, b, rescored, redecoded)], metric)


def explain_seeds(pairs: Sequence[Pieces], metric: str = METRIC) -> Explanation:
    """The same over several seeds of one model; a piece that one seed lacks is missing for all."""
    if not pairs:
        raise Incomparable("no pair of runs to explain")
    model = pairs[0].a.record.run.name
    if any(stored.record.run.name != model for pair in pairs for stored in (pair.a, pair.b)):
        raise Incomparable("runs of different models cannot be explained by one another")
    corners, ids, groups = _corners(pairs, metric)
    notes = _stand_ins(pairs, corners)
    _from_equal_texts(pairs, corners, ids)
    notes += _from_base_answers(pairs, corners)
    labels = np.asarray(units(ids, groups))
    total = corners["BBB"] - corners["AAA"]
    contributions = _telescoped(corners)
    notes += _missing(corners)
    whole = stats.compare(np.zeros_like(total), total, groups=labels)
    mean = whole.interval.mean
    parts = []
    for stages, values in contributions.items():
        result = stats.compare(np.zeros_like(values), values, groups=labels)
        share = result.interval.mean / mean if abs(mean) > 1e-12 else None
        parts.append(Part(stages, result.interval, result.p, share))
    return Explanation(
        model,
        metric,
        tuple(pair.a.record.run.seed for pair in pairs),
        len(ids),
        float(corners["AAA"].mean()),
        float(corners["BBB"].mean()),
        whole.interval,
        whole.p,
        tuple(parts),
        tuple(notes),
        tuple(evidence(pairs[0].a, pairs[0].b)),
        tuple(pair.b.record.run.seed for pair in pairs)
        if any(pair.a.record.run.seed != pair.b.record.run.seed for pair in pairs)
        else (),
    )


def _corners(
    pairs: Sequence[Pieces], metric: str
) -> tuple[dict[str, Floats], tuple[str, ...], tuple[str, ...]]:
    """Corner -> scores (seeds, n) on the examples that every piece holds."""
    series_of_pairs = [(series(pair.a, (metric,)), series(pair.b, (metric,))) for pair in pairs]
    scores, ids, groups = aligned(
        [row for both in zip(*series_of_pairs, strict=True) for row in both], metric
    )
    corners = {"AAA": scores[: len(pairs)], "BBB": scores[len(pairs) :]}
    given: dict[str, list[Scores]] = {}
    for pair in pairs:
        own = {} if pair.rescored is None else {"AAB": pair.rescored}
        own |= {} if pair.redecoded is None else {"ABB": pair.redecoded}
        for corner, held in own.items():
            given.setdefault(corner, []).append(held)
    whole = {corner: held for corner, held in given.items() if len(held) == len(pairs)}
    kept = [
        place
        for place, id in enumerate(ids)
        if all(id in scores_of_run for held in whole.values() for scores_of_run in held)
    ]
    if not kept:
        raise Incomparable(f"{pairs[0].a.record.id} and {pairs[0].b.record.id} share no test example")
    ids, groups = tuple(ids[place] for place in kept), tuple(groups[place] for place in kept)
    corners = {corner: values[:, kept] for corner, values in corners.items()}
    for corner, scores_of_runs in whole.items():
        corners[corner] = np.array([[row[id] for id in ids] for row in scores_of_runs], dtype=np.float64)
    return corners, ids, groups


def _stand_ins(pairs: Sequence[Pieces], corners: dict[str, Floats]) -> list[str]:
    """Fill in corners that follow from the records, and say so."""
    notes = []
    scorers = {(p.a.record.run.contract.scorer, p.b.record.run.contract.scorer) for p in pairs}
    if "AAB" not in corners and all(a == b for a, b in scorers):
        corners["AAB"] = corners["AAA"]
        notes.append("both sides name the same scorer, so scoring is taken as unmoved; not scored anew")
    if "ABB" not in corners and all(same_weights(pair.a, pair.b) for pair in pairs):
        corners["ABB"] = corners["BBB"]
        notes.append("both sides have the same weights by digest, so training is unmoved; not decoded anew")
    return notes


def _from_equal_texts(pairs: Sequence[Pieces], corners: dict[str, Floats], ids: Sequence[str]) -> None:
    """Where both sides wrote the same text, B's own score is what B's scorer gives A's text."""
    if "AAB" not in corners:
        return
    texts = [(written(pair.a, "tuned"), written(pair.b, "tuned")) for pair in pairs]
    same = [[id in left and left[id] == right.get(id) for id in ids] for left, right in texts]
    corners["AAB"] = np.where(np.array(same), corners["BBB"], corners["AAB"])


def _from_base_answers(pairs: Sequence[Pieces], corners: dict[str, Floats]) -> list[str]:
    """Where A's weights cannot be decoded anew, equal answers of the base say that decoding did not move."""
    if "ABB" in corners or "AAB" not in corners or not all(_same_base(pair) for pair in pairs):
        return []
    corners["ABB"] = corners["AAB"]
    return [
        "the untuned model answered the same to the letter on both sides, so decoding is taken as unmoved"
    ]


def _same_base(pair: Pieces) -> bool:
    left, right = written(pair.a, "base"), written(pair.b, "base")
    common = left.keys() & right.keys()
    same_checkpoint = pair.a.record.run.checkpoint == pair.b.record.run.checkpoint
    return same_checkpoint and bool(common) and all(left[id] == right[id] for id in common)


def _telescoped(corners: Mapping[str, Floats]) -> dict[tuple[str, ...], Floats]:
    """The path AAA, AAB, ABB, BBB; stages between two known corners stay together."""
    path = ("AAA", "AAB", "ABB", "BBB")
    parts: dict[tuple[str, ...], Floats] = {}
    begin = 0
    for place in range(1, len(path)):
        if path[place] in corners:
            parts[STAGES[begin:place]] = corners[path[place]] - corners[path[begin]]
            begin = place
    return parts


def _missing(corners: Mapping[str, Floats]) -> list[str]:
    notes = []
    if "AAB" not in corners:
        notes.append(
            "A's texts were not scored anew by B's scorer: scoring cannot be told apart from decoding"
        )
    if "ABB" not in corners:
        notes.append(
            "A's weights were not decoded anew in B's environment: decoding and training cannot be told apart"
        )
    return notes
