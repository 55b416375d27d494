"""Training noise that the models of a table share, because they ran the same seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from records import make_board

from bench.stats import (
    Noise,
    mean_interval,
    noise_of_row,
    pooled_shift,
    rank_ranges,
    seed_effects,
    seed_noise,
)
from bench.stats.pivot import Floats, Interval
from benchmarks import reseeded

MODELS, EXAMPLES = 8, 100


def runs(
    draw: np.random.Generator, seeds: int, shared: float, own: float, models: Floats | None = None
) -> Floats:
    """Scores (models, seeds, examples): a model's mean, the seed's luck, the run's luck, the example."""
    means = np.zeros(MODELS) if models is None else models
    luck = shared * draw.standard_normal((1, seeds, 1)) + own * draw.standard_normal((len(means), seeds, 1))
    example = 0.1 * draw.standard_normal(EXAMPLES) + 0.02 * draw.standard_normal(
        (len(means), seeds, EXAMPLES)
    )
    scores: Floats = 0.2 + means[:, None, None] + luck + example
    return scores


def changes(draw: np.random.Generator, seeds: int, shared: float, own: float) -> Floats:
    """Differences (models, seeds, examples) of models that were trained again and did not change."""
    luck = shared * draw.standard_normal((1, seeds, 1)) + own * draw.standard_normal((MODELS, seeds, 1))
    changed: Floats = luck + 0.03 * draw.standard_normal((MODELS, seeds, EXAMPLES))
    return changed


def test_shared_and_own_noise_are_told_apart() -> None:
    """Over many tables of five seeds the parts come out as they were planted."""
    draw = np.random.default_rng(1)
    effects = [seed_effects(runs(draw, 5, 0.01, 0.01), common=True) for _ in range(60)]
    assert np.mean([effect.own.variance for effect in effects]) == pytest.approx(0.01**2, rel=0.15)
    assert np.mean([effect.shared.variance for effect in effects]) == pytest.approx(0.01**2, rel=0.6)
    assert np.mean([effect.total.variance for effect in effects]) == pytest.approx(2 * 0.01**2, rel=0.4)


def test_without_common_seeds_all_noise_is_the_models_own() -> None:
    """Nothing is known of a seed that each model drew for itself."""
    effects = seed_effects(runs(np.random.default_rng(2), 3, 0.01, 0.01))
    assert effects.own == effects.total
    assert effects.shared == Noise(0.0, 0.0)


def test_shared_luck_leaves_an_estimate_fewer_degrees_of_freedom() -> None:
    """Eight models on three lucky seeds are not sixteen degrees of freedom."""
    table = runs(np.random.default_rng(3), 3, 0.02, 0.002)
    assert seed_noise(table, common=True).spread > 5 * seed_noise(table).spread


def test_an_interval_holds_the_truth_although_all_models_share_their_luck() -> None:
    """95% of intervals, give or take the rounds, where shared luck is most of the doubt."""
    draw = np.random.default_rng(4)
    held, rounds = 0, 200
    for _ in range(rounds):
        table = runs(draw, 3, 0.02, 0.01)
        low = mean_interval(table[0], noise=seed_noise(table, common=True), draws=200)
        held += low.low <= 0.2 <= low.high
    assert held / rounds >= 0.93


def test_two_seeds_count_the_larger_of_their_own_and_the_pooled_noise() -> None:
    """One degree of freedom: alone, their interval is wide or narrow by chance."""
    two = runs(np.random.default_rng(9), 2, 0.0, 0.01, np.zeros(1))[0]
    loud, quiet = Noise(1.0, 1e-2), Noise(1e-9, 1e-20)
    assert noise_of_row(two, loud) == loud
    assert noise_of_row(two, quiet) == seed_noise([two])
    assert noise_of_row(two[:1], quiet) == quiet
    assert noise_of_row(np.concatenate([two, two[:1]]), loud) is None


@pytest.mark.parametrize("deviation", [0.0, 0.004, 0.03])
def test_three_seeds_speak_for_themselves_however_noisy_they_are(deviation: float) -> None:
    """95% of intervals, give or take the rounds, and not nearly all, of quiet and of noisy models alike."""
    draw = np.random.default_rng(8)
    held, rounds = 0, 400
    for _ in range(rounds):
        own = mean_interval(runs(draw, 3, 0.0, deviation, np.zeros(1))[0], draws=200)
        held += own.low <= 0.2 <= own.high
    assert 0.93 <= held / rounds <= 0.975


def test_what_a_seed_does_to_all_models_moves_no_rank() -> None:
    """Models a point apart on common seeds: told apart, although each score moves by two points."""
    models = np.linspace(0, 0.09, 4)
    table = runs(np.random.default_rng(5), 3, 0.03, 0.001, models)
    assert rank_ranges(list(table), common=True) == [(4, 4), (3, 3), (2, 2), (1, 1)]
    assert rank_ranges(list(table)) != [(4, 4), (3, 3), (2, 2), (1, 1)]


def test_a_lucky_seed_is_no_drift_of_the_stack() -> None:
    """Retrained on other seeds all models move together; no number of models averages that out."""
    draw = np.random.default_rng(6)
    rounds, alone, known = 60, 0, 0
    for _ in range(rounds):
        change = changes(draw, 3, 0.014, 0.003)
        alone += pooled_shift(list(change), flips=1).drifted()
        known += pooled_shift(list(change), flips=1, common=True).drifted()
    assert alone / rounds > 0.3
    assert known / rounds <= 0.1


def test_shared_luck_known_from_elsewhere_serves_tables_of_one_seed() -> None:
    """One seed a side shows nothing of it; a history does."""
    change = changes(np.random.default_rng(7), 1, 0.0, 0.001)[:, 0] + 0.01
    assert pooled_shift(list(change), flips=1).drifted()
    assert not pooled_shift(list(change), flips=1, shared=Noise(0.01**2, 1e-10)).drifted()


def test_a_mean_of_scores_never_leaves_zero_to_one() -> None:
    """Its interval is cut where no score can be."""
    assert Interval(0.01, -0.02, 0.04).within(0, 1) == Interval(0.01, 0, 0.04)
    assert Interval(0.99, 0.97, 1.02).within(0, 1) == Interval(0.99, 0.97, 1)


def test_other_seeds_are_set_against_a_board_and_a_drop_of_all_models_is_a_drift(tmp_path: Path) -> None:
    old = make_board(tmp_path / "old", seeds=(0, 1, 2), n=100)
    same = make_board(tmp_path / "same", seeds=(3, 4, 5), n=100)
    worse = make_board(tmp_path / "worse", seeds=(3, 4, 5), n=100, shift=-0.04)
    assert not reseeded.drift(old, same).drifted()
    assert reseeded.drift(old, worse).drifted()
    with pytest.raises(SystemExit, match="another number of seeds"):
        reseeded.drift(old, same[1:])
