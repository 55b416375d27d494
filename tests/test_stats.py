"""The statistics keep their promises; the long version is `python -m benchmarks.calibration`."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests

from bench.stats import (
    Interval,
    Noise,
    Verdict,
    compare,
    holm,
    mean_interval,
    paired_interval,
    pooled_shift,
    rank_ranges,
    seed_noise,
    sign_test,
    verdict,
)
from bench.stats.pivot import mean_squares, own_seed_part, pivot
from benchmarks import calibration

POOL = calibration.made_pool()
few = settings(max_examples=20, deadline=None)
scores = arrays(np.float64, 24, elements=st.integers(0, 1000).map(lambda part: part / 1000))
three_seeds = arrays(np.float64, (3, 24), elements=st.integers(0, 1000).map(lambda part: part / 1000))


def normal_pair(seed, count=300, shift=0.02):
    """Two runs of normal scores whose difference is `shift` on average."""
    draw = np.random.default_rng(seed)
    a = draw.normal(0.2, 0.1, count)
    return a, a + draw.normal(shift, 0.1, count)


def broken(checks):
    """The checks that did not keep their promise, for a readable failure."""
    return [(check.name, check.promised, check.measured) for check in checks if not check.kept]


# -- calibration, seeded and shorter ----------------------------------------------------------------------


def test_tables_without_a_change_stay_quiet():
    """At most 5% of A/A tables of eight models hold a false alarm, and some do: the tests are awake."""
    checks = calibration.unchanged_tables(POOL, 250)
    assert broken(checks) == []
    assert checks[1].measured > 0.02


def test_tables_of_retrained_models_stay_quiet():
    """Three new seeds of the same models are no change, although training noise moves every mean."""
    assert broken(calibration.retrained_tables(100)) == []


def test_training_noise_unknown_to_a_one_seed_comparison_can_be_lent_to_it():
    """One seed each: without noise the interval is too narrow for retraining, with noise it is right."""
    draw = np.random.default_rng(5)
    blind = lent = 0
    for _ in range(200):
        noise = seed_noise(calibration.made_runs(draw, [0.0] * 8, 4, 400)[0])
        a, b = calibration.made_runs(draw, [0.0], 1, 400, copies=2)[:, 0]
        blind += paired_interval(a, b).low <= 0 <= paired_interval(a, b).high
        wide = paired_interval(a, b, noise=noise)
        lent += wide.low <= 0 <= wide.high
    assert blind / 200 < 0.92
    assert 0.92 < lent / 200 < 0.985


def test_planted_drops_are_found_as_often_as_the_power_says():
    """Drops of 0.01, 0.02, 0.03 and of the stated smallest size are found at the promised rates."""
    checks = calibration.planted_drops(POOL, 60)
    assert broken(checks) == []
    assert checks[-1].promised == pytest.approx(0.8)


def test_intervals_hold_the_truth():
    """Intervals of means and differences cover 93 to 97% on skewed scores with zeros."""
    assert broken(calibration.intervals_of_one_run(POOL, 300)) == []


def test_intervals_of_three_seeds_hold_the_truth():
    """With three seeds and training noise the intervals still cover."""
    assert broken(calibration.intervals_of_seeds(300)) == []


def test_paraphrases_count_as_one_question():
    """Intervals cover when wordings of one question share a group, and fall far short when they do not."""
    grouped, ignored = calibration.intervals_of_paraphrases(POOL, 300)
    assert grouped.kept
    assert ignored.measured < 0.85


def test_rank_ranges_hold_the_true_ranks():
    """At least 95% of boards hold all true ranks, and boards of equal models tell none apart."""
    assert broken(calibration.boards(POOL, 60)) == []


def test_a_drop_of_nearly_every_model_is_a_drift_of_the_stack():
    """35 of 37 models lower by 1 to 2 points are flagged though hardly one row is; no change is not."""
    checks = {check.name.strip(): check for check in calibration.stacks(POOL, 50)}
    assert broken(checks.values()) == []
    assert checks["of these rows, called regressed alone (no promise)"].measured < 0.15


def test_counting_models_that_share_examples_as_independent_is_wrong():
    """37 models that rise and fall with the same examples: the plain count is sure, joint flips not."""
    draw = np.random.default_rng(15)
    common = draw.normal(0, 0.1, 160)
    common -= common.mean() + 0.005
    result = pooled_shift([common + draw.normal(0, 0.01, 160) for _ in range(37)])
    assert result.sign.down == 37
    assert result.sign.p < 1e-6
    assert result.sign_p > 0.2
    assert not result.drifted()


# -- agreement with standard functions --------------------------------------------------------------------


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_equals_statsmodels(p):
    """Adjusted p-values are statsmodels' own."""
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12, atol=1e-300)


def test_holm_of_nothing_is_nothing():
    """An empty table has no p-values."""
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("seed", range(6))
def test_one_seed_agrees_with_the_paired_t_test_on_normal_scores(seed):
    """Where Student's t is right, interval and p come close to it."""
    a, b = normal_pair(seed)
    standard = reference.ttest_rel(b, a)
    low, high = standard.confidence_interval(0.95)
    ours = compare(a, b)
    width = high - low
    assert ours.interval.low == pytest.approx(low, abs=0.05 * width)
    assert ours.interval.high == pytest.approx(high, abs=0.05 * width)
    assert np.log(ours.p) == pytest.approx(np.log(standard.pvalue), rel=0.15, abs=0.1)


def test_very_few_examples_are_students_t_exactly():
    """Under ten examples nothing is resampled and the paired t-test comes out to the last digit."""
    a, b = normal_pair(1, count=8, shift=0.03)
    standard = reference.ttest_rel(b, a)
    assert compare(a, b).p == pytest.approx(standard.pvalue, rel=1e-9)
    low, high = standard.confidence_interval(0.95)
    interval = paired_interval(a, b)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize(("down", "up", "ties"), [(35, 2, 0), (5, 5, 3), (0, 4, 1), (1, 0, 0), (0, 0, 4)])
def test_the_sign_test_is_the_binomial_test(down, up, ties):
    """Counts and p are scipy's, with zeros left out."""
    result = sign_test([-1.0] * down + [2.0] * up + [0.0] * ties)
    assert (result.down, result.up, result.ties) == (down, up, ties)
    expected = reference.binomtest(down, down + up, 0.5).pvalue if down + up else 1.0
    assert result.p == pytest.approx(expected, rel=1e-9)


def test_skewed_scores_get_a_lopsided_interval():
    """On scores skewed to the right the interval reaches farther up than down."""
    interval = mean_interval(np.random.default_rng(0).gamma(0.5, 0.2, 60))
    assert interval.high - interval.mean > 1.15 * (interval.mean - interval.low)


def test_p_is_fine_enough_for_a_table_of_thousands():
    """A clear difference has a p far below what counting draws could give."""
    a, b = normal_pair(2, shift=0.1)
    assert compare(a, b).p < 1e-9


# -- properties -------------------------------------------------------------------------------------------


@few
@given(scores, scores, st.floats(-2, 2))
def test_moving_b_moves_the_difference_and_nothing_else(a, b, step):
    """Adding a constant to b shifts the whole interval by it, unless examples become equal or cease to be."""
    assume(np.count_nonzero(b - a) == np.count_nonzero(b + step - a))
    here, there = paired_interval(a, b), paired_interval(a, b + step)
    assert there.low == pytest.approx(here.low + step, abs=1e-4)
    assert there.high == pytest.approx(here.high + step, abs=1e-4)


@few
@given(three_seeds, three_seeds, st.randoms(use_true_random=False))
def test_the_order_of_examples_and_seeds_does_not_matter(a, b, shuffler):
    """Examples and seed pairs may come in any order."""
    examples, seeds = list(range(24)), list(range(3))
    shuffler.shuffle(examples)
    shuffler.shuffle(seeds)
    straight, mixed = compare(a, b), compare(a[seeds][:, examples], b[seeds][:, examples])
    assert mixed.interval.low == pytest.approx(straight.interval.low, abs=1e-5)
    assert mixed.p == pytest.approx(straight.p, abs=1e-4)


@few
@given(three_seeds, three_seeds)
def test_comparing_backwards_is_the_exact_negative(a, b):
    """Improvement one way is regression the other way, by the same interval and the same p."""
    forth, back = compare(a, b), compare(b, a)
    assert (back.interval.low, back.interval.high) == pytest.approx(
        (-forth.interval.high, -forth.interval.low), abs=1e-5
    )
    assert back.p == pytest.approx(forth.p, abs=1e-4)


@few
@given(scores, scores)
def test_p_and_interval_never_contradict_each_other(a, b):
    """p is below 5% exactly where the 95% interval leaves zero out, given six examples that changed."""
    result = compare(a, b)
    if np.count_nonzero(b - a) >= 6 and abs(result.p - 0.05) > 1e-6:
        assert (result.p < 0.05) == (result.interval.low > 0 or result.interval.high < 0)


@few
@given(scores, scores)
def test_doubling_every_example_in_its_group_changes_nothing(a, b):
    """A second copy of each question in the same group is no new evidence."""
    groups = np.arange(24)
    once = paired_interval(a, b)
    twice = paired_interval(np.tile(a, 2), np.tile(b, 2), groups=np.tile(groups, 2))
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-5)


def test_numbers_are_repeatable():
    """The same seed gives the same numbers, another seed nearly the same."""
    a, b = normal_pair(3)
    assert compare(a, b) == compare(a, b)
    other = compare(a, b, seed=1).interval
    assert other != compare(a, b).interval
    assert other.low == pytest.approx(compare(a, b).interval.low, abs=0.001)


def test_a_higher_level_is_a_wider_interval():
    """99% reaches farther than 95% on both sides."""
    a, b = normal_pair(4)
    usual, wide = paired_interval(a, b), paired_interval(a, b, level=0.99)
    assert wide.low < usual.low
    assert wide.high > usual.high


# -- seeds ------------------------------------------------------------------------------------------------


def test_seeds_that_disagree_widen_the_interval():
    """Three seeds whose means lie far apart say less than their examples alone would."""
    a = np.tile(np.random.default_rng(0).normal(0.2, 0.1, 200), (3, 1))
    b = a + np.random.default_rng(1).normal(0, 0.02, (3, 200)) + np.array([[0.0], [0.05], [0.1]])
    averaged = paired_interval(a.mean(axis=0), b.mean(axis=0))
    crossed = paired_interval(a, b)
    assert crossed.mean == pytest.approx(averaged.mean)
    assert crossed.high - crossed.low > 5 * (averaged.high - averaged.low)


def test_different_numbers_of_seeds_can_be_compared():
    """Two seeds against four: both sides' training noise is counted."""
    draw = np.random.default_rng(2)
    a = draw.normal(0.2, 0.05, (2, 100)) + np.array([[0.0], [0.06]])
    b = draw.normal(0.3, 0.05, (4, 100)) + np.array([[0.0], [0.02], [0.04], [0.06]])
    full, averaged = compare(a, b), compare(a.mean(axis=0), b.mean(axis=0))
    assert full.interval.mean == pytest.approx(b.mean() - a.mean())
    assert full.pivot.error > 2 * averaged.pivot.error


def test_pooled_noise_is_the_training_variance():
    """Pooled over forty models, the estimate is the variance that was put in."""
    draw = np.random.default_rng(3)
    runs = [draw.normal(0, 0.1, (4, 200)) + draw.normal(0, 0.02, (4, 1)) for _ in range(40)]
    assert seed_noise(runs).variance == pytest.approx(0.02**2, rel=0.2)


def test_noise_needs_two_seeds_somewhere():
    """One-seed models alone say nothing about training noise."""
    with pytest.raises(ValueError, match="at least two seeds"):
        seed_noise([np.zeros(5), np.ones((1, 5))])


# -- power and verdict ------------------------------------------------------------------------------------


def test_the_smallest_detectable_drop_has_the_stated_power():
    """Power and smallest drop are each other's inverse, with and without a threshold."""
    a, b = normal_pair(5)
    for power, threshold in ((0.8, 0.0), (0.9, 0.02), (0.8, 0.03)):
        drop = compare(a, b).smallest_detectable(power=power, threshold=threshold)
        assert compare(a, b).detection_rate(drop, threshold=threshold) == pytest.approx(power, abs=1e-9)
        assert drop > threshold


def test_more_examples_find_smaller_drops():
    """Four times the examples halve the smallest detectable drop."""
    a, b = normal_pair(6, count=2000)
    ratio = compare(a[:500], b[:500]).smallest_detectable() / compare(a, b).smallest_detectable()
    assert ratio == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("mean", "low", "high", "p", "smallest", "word"),
    [
        (-0.03, -0.05, -0.01, 0.01, 0.03, "regressed"),
        (0.03, 0.01, 0.05, 0.01, 0.03, "improved"),
        (0.03, 0.01, 0.05, 0.20, 0.03, "too uncertain to tell"),
        (-0.03, -0.07, 0.01, 0.15, 0.06, "too uncertain to tell"),
        (0.002, -0.006, 0.009, 0.60, 0.011, "unchanged"),
        (0.008, 0.006, 0.0099, 0.001, 0.004, "unchanged"),
        (0.006, -0.001, 0.013, 0.09, 0.0099, "unchanged"),
        (0.006, -0.004, 0.016, 0.25, 0.014, "too uncertain to tell"),
        (0.01, 0.009, 0.011, 0.001, 0.002, "unchanged"),
    ],
)
def test_a_verdict_needs_both_clear_and_large(mean, low, high, p, smallest, word):
    """Clear and large is a change; small with a narrow look is unchanged; the rest is uncertain."""
    assert verdict(Interval(mean, low, high), p, 0.01, smallest) is Verdict(word)


def test_a_threshold_below_zero_is_refused():
    """There is no such threshold."""
    with pytest.raises(ValueError, match="threshold"):
        verdict(Interval(0, 0, 0), 1.0, -0.01)


# -- pooled shift and ranks -------------------------------------------------------------------------------


def test_one_models_pooled_shift_is_its_paired_t_test():
    """A stack of one model is judged by its examples."""
    a, b = normal_pair(7)
    result = pooled_shift([b - a])
    assert result.p == pytest.approx(reference.ttest_rel(b, a).pvalue, rel=1e-9)


def test_models_without_common_examples_are_the_units():
    """With nothing shared the pooled shift is about a t-test over the models' means."""
    draw = np.random.default_rng(8)
    rows = [draw.normal(-0.01, 0.05, 40) for _ in range(12)]
    result = pooled_shift(rows, units=[[f"{model}-{i}" for i in range(40)] for model in range(12)])
    expected = reference.ttest_1samp([row.mean() for row in rows], 0)
    assert result.interval.mean == pytest.approx(np.mean([row.mean() for row in rows]))
    assert np.log(result.p) == pytest.approx(np.log(expected.pvalue), rel=0.25)


def test_models_that_copy_each_other_are_one_witness():
    """Thirty copies of one model's differences are no more than that model."""
    a, b = normal_pair(9, count=60)
    assert pooled_shift([b - a] * 30).p == pytest.approx(compare(a, b).p, rel=0.3)


def test_models_of_different_length_need_named_examples():
    """Aligning by position would pair strangers."""
    with pytest.raises(ValueError, match="units"):
        pooled_shift([np.zeros(4), np.zeros(5)])


def test_rank_ranges_separate_what_is_apart_and_join_what_is_not():
    """Two close models on top share ranks 1 to 2, a far one is third alone."""
    draw = np.random.default_rng(10)
    common = draw.normal(0.3, 0.1, 200)
    board = [common + gap + draw.normal(0, 0.03, 200) for gap in (-0.1, 0.0, 0.001)]
    assert rank_ranges(board) == [(3, 3), (1, 2), (1, 2)]


def test_rank_ranges_know_training_noise():
    """The same gap that one seed calls clear is not clear when seeds jump about as far."""
    draw = np.random.default_rng(11)
    common = draw.normal(0.3, 0.1, 200)
    jumps = np.array([[-0.03], [0.0], [0.03]])
    calm = [common + gap + draw.normal(0, 0.03, (3, 200)) for gap in (0.0, 0.02)]
    assert rank_ranges(calm) == [(2, 2), (1, 1)]
    assert rank_ranges([one + jumps for one in calm]) == [(1, 2), (1, 2)]


def test_one_seed_models_borrow_the_training_noise_of_their_board():
    """Two one-seed models are told apart among calm models and not among models whose seeds jump."""
    draw = np.random.default_rng(16)
    common = draw.normal(0.3, 0.1, 200)
    single = [common + gap + draw.normal(0, 0.03, 200) for gap in (0.0, 0.02)]
    calm = [common - 0.3 + draw.normal(0, 0.03, (3, 200)) for _ in range(4)]
    restless = [one + draw.permutation([[-0.03], [0.0], [0.03]]) for one in calm]
    assert rank_ranges(single + calm)[:2] == [(2, 2), (1, 1)]
    assert rank_ranges(single + restless)[:2] == [(1, 2), (1, 2)]


def test_copies_of_a_model_share_every_rank():
    """Identical rows are never told apart, and a board of one has rank 1."""
    row = np.random.default_rng(12).random(50)
    assert rank_ranges([row, row, row]) == [(1, 3)] * 3
    assert rank_ranges([row]) == [(1, 1)]


# -- edges ------------------------------------------------------------------------------------------------


def test_nothing_changed_at_all_is_unchanged():
    """Identical scores: difference 0, p 1, and the word is unchanged."""
    row = np.random.default_rng(13).random(50)
    result = compare(row, row)
    assert (result.interval, result.p) == (Interval(0.0, 0.0, 0.0), 1.0)
    assert verdict(result.interval, result.p) is Verdict.UNCHANGED


def test_one_example_says_nothing():
    """The interval of a single example is infinitely wide, and no drop could be found."""
    result = compare([0.2], [0.4])
    assert (result.interval.low, result.interval.high, result.p) == (-np.inf, np.inf, 1.0)
    assert result.smallest_detectable() == np.inf
    assert result.detection_rate(0.5) == 0.0


def test_three_changed_examples_of_many_are_no_clear_change():
    """p is never below what flipping the signs of three differences could give."""
    assert compare(np.zeros(300), np.r_[np.zeros(297), np.ones(3)]).p == pytest.approx(0.25)


def test_rare_successes_have_a_finite_interval():
    """Three exact matches in 300: the interval stays near zero although many draws hold none."""
    interval = mean_interval(np.r_[np.zeros(297), np.ones(3)])
    assert 0 < interval.low < 0.01 < interval.high < 0.05


@pytest.mark.parametrize("bad", [[], [0.1, float("nan")], np.zeros((2, 2, 2))])
def test_scores_that_are_no_scores_are_refused(bad):
    """Empty, not finite, or of a shape without meaning."""
    with pytest.raises(ValueError, match="scores"):
        mean_interval(bad)


def test_runs_of_different_examples_are_refused():
    """Pairing is the caller's part and must have been done."""
    with pytest.raises(ValueError, match="pair them by id"):
        compare(np.zeros(3), np.zeros(4))


def test_groups_must_name_every_example():
    """A group id is missing."""
    with pytest.raises(ValueError, match="groups"):
        compare(np.zeros(3), np.ones(3), groups=["a", "b"])


def test_noise_is_counted_for_both_sides():
    """Lent noise enters twice, once for each run."""
    a, b = normal_pair(14)
    plain, noisy = compare(a, b).pivot.error, compare(a, b, noise=Noise(0.01, 1e-6)).pivot.error
    assert noisy**2 - plain**2 == pytest.approx(0.02)


def test_importing_the_statistics_does_not_import_scipy():
    """`bench --help` must start fast."""
    program = "import sys, bench.stats; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("changed", [3, 5, 8, 10, 20])
def test_few_changed_answers_are_no_proof(changed):
    """Mean-zero changes in few of 200 answers: the interval leaves out zero in at most 5%, and p agrees."""
    generator = np.random.default_rng(changed)
    left_out = 0
    for place in range(300):
        b = np.zeros(200)
        b[:changed] = generator.beta(1, 4, changed) - generator.beta(1, 4, changed)
        result = compare(np.zeros(200), b, draws=400, seed=place)
        clear = result.interval.low > 0 or result.interval.high < 0
        assert clear == (result.p < 0.05)
        left_out += clear
    assert left_out / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_many_equal_changes_are_seen():
    """Ten answers of 200 that all lose the same are no chance."""
    assert compare(np.zeros(200), np.r_[np.full(10, -0.3), np.zeros(190)]).interval.high < 0


def test_a_difference_by_own_seeds_is_less_cautious_than_a_mean_from_three_seeds_on() -> None:
    """With two they are equally cautious."""
    draw = np.random.default_rng(3)
    for seeds, factor in ((2, 3.0), (3, 1.5), (5, 1.125)):
        units = draw.normal(size=(seeds, 40)) + draw.normal(size=(seeds, 1))
        between, rest = mean_squares(units)
        part = own_seed_part(units, paired=True)
        assert part.cautious == pytest.approx((factor * between - rest) / units.size)
        assert (part.cautious == own_seed_part(units).cautious) is (seeds == 2)
        alone = compare(np.zeros_like(units), units, draws=200).pivot
        assert alone.freedom == pivot(units.mean(axis=0), part, 200, 0, 40).freedom
