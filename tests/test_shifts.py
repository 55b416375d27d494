"""A series of points moves in steps, along a slope, or not at all: each told as what it is."""

from __future__ import annotations

import numpy as np
import pytest

from bench.stats import Shifts, find_shifts
from bench.stats.pivot import Floats
from bench.stats.shifts import change_points

#: Of a point's mean, with 60 examples: .05 / sqrt(60) and training noise together, .0076.
EXAMPLES, EXAMPLE, TRAINING = 60, 0.05, 0.004


def series(draw: np.random.Generator, means: Floats, training: float = TRAINING) -> Floats:
    """Scores (points, examples): an example's own level, the point's luck, and both together."""
    points = len(means)
    scores: Floats = 0.3 + means[:, None] + 0.1 * draw.standard_normal(EXAMPLES)
    scores = scores + EXAMPLE * draw.standard_normal((points, EXAMPLES))
    return scores + training * draw.standard_normal((points, 1))


def found(seed: int, means: Floats, rounds: int, training: float = TRAINING) -> list[Shifts]:
    draw = np.random.default_rng(seed)
    return [find_shifts(series(draw, means, training)) for _ in range(rounds)]


def share(results: list[bool]) -> float:
    return sum(results) / len(results)


@pytest.mark.parametrize(("points", "training"), [(6, 0.01), (8, 0.01), (15, 0.004)])
def test_noise_alone_moves_at_most_one_series_of_twenty(points: int, training: float) -> None:
    """Steps and slopes together; 5% and the error of 150 rounds."""
    calm = found(points, np.zeros(points), 150, training)
    assert share([bool(one.steps or one.slope) for one in calm]) <= 0.05 + 1.96 * (0.05 * 0.95 / 150) ** 0.5


@pytest.mark.parametrize("points", [8, 15])
def test_a_steady_slope_is_a_slope_and_no_steps(points: int) -> None:
    """Of .06 in all; steps alone told .7 to 1.3 of them."""
    means = np.linspace(0, -0.06, points)
    told = found(1, means, 60)
    assert share([one.slope is not None and not one.steps for one in told]) >= 0.85
    assert np.mean([len(one.steps) for one in told]) <= 0.15
    draw = np.random.default_rng(1)
    assert np.mean([len(change_points(series(draw, means))) for _ in range(30)]) >= 0.5


def test_the_interval_of_a_slope_holds_what_was_planted() -> None:
    """Of each point; 95%, give or take the rounds."""
    slopes = [one.slope for one in found(2, np.linspace(0, -0.14, 15), 80)]
    held = [slope is not None and slope.per_point.low <= -0.01 <= slope.per_point.high for slope in slopes]
    assert share(held) >= 0.88


@pytest.mark.parametrize("points", [8, 15])
def test_a_clear_step_stays_a_step_at_its_place(points: int) -> None:
    """Of .04 in the middle, which a slope would fit to three quarters."""
    at = points // 2 + 1
    told = found(3, -0.04 * (np.arange(points) >= at), 60)
    assert share([one.slope is None and [step.at for step in one.steps] == [at] for one in told]) >= 0.85


def test_a_slope_with_a_step_on_it_says_both() -> None:
    """The step at its place, of about its size."""
    means = np.linspace(0, -0.08, 15) - 0.06 * (np.arange(15) >= 9)
    told = found(4, means, 40, 0.002)
    both = [one for one in told if one.slope and [step.at for step in one.steps] == [9]]
    assert len(both) >= 32
    assert np.mean([one.steps[0].shift.mean for one in both]) == pytest.approx(-0.06, abs=0.008)


def test_a_slope_that_begins_late_says_where() -> None:
    """Seven points flat, then eight downwards."""
    means = np.concatenate([np.zeros(7), np.linspace(0, -0.08, 9)[1:]])
    slopes = [one.slope for one in found(5, means, 40)]
    begins = [slope.begin for slope in slopes if slope]
    assert len(begins) >= 32
    assert np.median(begins) in (5, 6, 7)


def test_two_steps_are_two() -> None:
    """Down and up again."""
    generator = np.random.default_rng(1)
    points = 0.3 + 0.02 * generator.standard_normal((15, 60))
    points[5:10] -= 0.05
    shifts = find_shifts(points)
    assert [(step.at, round(step.shift.mean, 2)) for step in shifts.steps] == [(5, -0.05), (10, 0.05)]
    assert shifts.slope is None


def test_a_flat_line_has_no_step() -> None:
    """Equal values to the last digit."""
    assert find_shifts(np.full((8, 60), 0.3)) == Shifts()


def test_scores_that_are_equal_but_for_one_step_have_that_step() -> None:
    """Releases that change nothing give the same scores to the last digit."""
    generator = np.random.default_rng(6)
    before = generator.random(60)
    after = before - 0.05 * generator.random(60)
    shifts = find_shifts(np.stack([before] * 5 + [after] * 3))
    assert [step.at for step in shifts.steps] == [5]
    assert shifts.slope is None


def test_one_group_of_examples_tells_nothing() -> None:
    """A single cluster has no spread."""
    points = np.linspace(0, 1, 8)[:, None] * np.ones((1, 3))
    assert find_shifts(points, np.array(["a", "a", "a"])) == Shifts()
