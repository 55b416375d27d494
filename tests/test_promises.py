"""What a table promises beside its numbers: power, ranks, warnings, corrections over all that is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from records import make_board, make_record

from bench.judge.board import board
from bench.judge.compare import compare
from bench.judge.doubts import Code
from bench.judge.doubts.table import clearly_above, doubts, table_doubts
from bench.judge.gate import problems
from bench.judge.pairing import Finding
from bench.judge.retraining import retraining
from bench.judge.verdicts import judge
from bench.render import facts
from bench.stats import holm
from bench.stats.pivot import Floats
from bench.store.ledger import Ledger
from bench.store.sides import Side

METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
MODELS, EXAMPLES, SEEDS = 8, 80, 3


def retrained(draw: np.random.Generator, noisiest: float) -> list[Floats]:
    """Differences (seeds, examples) of eight models that did not change, the last one noisier."""
    luck = 0.006 * draw.standard_normal((MODELS, SEEDS, 1))
    luck[-1] *= noisiest
    return list(luck + 0.06 * draw.standard_normal((MODELS, SEEDS, EXAMPLES)))


@pytest.mark.parametrize("noisiest", [1.0, 3.0])
def test_a_drop_of_the_stated_size_is_found_eight_times_in_ten(noisiest: float) -> None:
    """In the noisiest row, which was found 6 times in 10; give or take the 240 rounds."""
    draw = np.random.default_rng(1)
    found = 0
    for _ in range(240):
        stated = judge(retrained(draw, noisiest))[-1].smallest
        again = retrained(draw, noisiest)
        again[-1] = again[-1] - stated
        found += judge(again)[-1].finding is Finding.REGRESSED
    assert 0.71 <= found / 240 <= 0.89


def test_one_model_of_three_seeds_is_promised_something_and_keeps_it() -> None:
    """Nothing is pooled, and two degrees of freedom are taken cautiously already."""
    draw = np.random.default_rng(4)
    found = promised = 0
    for _ in range(240):
        stated = judge(retrained(draw, 1.0)[:1])[0].smallest
        if np.isfinite(stated):
            (row,) = retrained(draw, 1.0)[:1]
            promised += 1
            found += judge([row - stated])[0].finding is Finding.REGRESSED
    assert promised >= 210
    assert 0.72 <= found / promised <= 0.92


def test_too_few_seeds_promise_nothing() -> None:
    """Two seeds of one model have one degree of freedom, with which no drop is found 8 times in 10."""
    draw = np.random.default_rng(2)
    (row,) = judge([0.02 * draw.standard_normal((2, 1)) + 1e-4 * draw.standard_normal((2, 80))])
    assert row.smallest > 0.2


def test_neighbours_that_are_ranked_apart_are_not_called_too_near(tmp_path: Path) -> None:
    """Rank 1 and rank 2 for certain: no warning says that their gap cannot be shown."""
    warned = 0
    for place, gap in enumerate((0.0, 0.004, 0.02, 0.06)):
        stored = [
            make_record(tmp_path / str(place), model, seed, gain=0.1 + gain, n=120)
            for model, gain in (("gpt2", 0.05), ("phi-1.5", gap))
            for seed in (0, 1, 2)
        ]
        (first, second) = board(stored).groups[0].rows
        hidden = [doubt for doubt in doubts(stored) if doubt.code == Code.FEW_EXAMPLES]
        if first.rank == (1, 1) and second.rank == (2, 2):
            assert not hidden
        else:
            warned += bool(hidden)
    assert warned


def test_a_gap_that_ranks_show_is_no_warning_although_it_would_be_found_less_than_eight_times_in_ten(
    tmp_path: Path,
) -> None:
    """Ranks use an observed gap; the power calculation asks for a larger one."""
    seen = False
    for place in range(6):
        stored = [
            make_record(tmp_path / str(place), model, gain=0.1 + gain, n=120)
            for model, gain in (("gpt2", 0.0), ("phi-1.5", 0.012 + 0.004 * place))
        ]
        (first, second) = board(stored).groups[0].rows
        tables = [np.array(row.stored[0].scores["rows"]["tuned"]["rougeL"]["f"]) for row in (first, second)]
        groups = np.asarray(first.stored[0].scores["groups"])
        from bench.stats import compare as paired

        result = paired(tables[1], tables[0], groups)
        if first.rank == (1, 1) and result.interval.mean < result.smallest_detectable():
            seen = True
            assert not [doubt for doubt in doubts(stored) if doubt.code == Code.FEW_EXAMPLES]
    assert seen


def test_none_above_the_copy_row_is_a_paired_test(tmp_path: Path) -> None:
    """Intervals that overlap the reference's do not decide: the differences of the same examples do."""
    stored = [
        make_record(tmp_path, model, seed, gain=gain)
        for model, gain in (("gpt2", 0.16), ("phi-1.5", 0.11), ("llama-2-7b", 0.05))
        for seed in range(3)
    ]
    group = board(stored).groups[0]
    rows = {row.model: list(row.stored) for row in group.rows}
    for reference in group.references:
        found = [doubt for doubt in table_doubts(rows) if doubt.names == (reference.name,)]
        codes = (Code.EQUALS_REFERENCE, Code.BELOW_REFERENCE)
        doubtful = {doubt.model for doubt in found if doubt.code in codes}
        assert clearly_above(rows, reference.name) == set(rows) - doubtful
    bar = group.references[0]
    overlapping = {row.model for row in group.rows if row.tuned["rougeL"].low <= bar.scores["rougeL"].high}
    assert overlapping & clearly_above(rows, bar.name)
    count = len(clearly_above(rows, bar.name))
    assert f"{count} of 3 clearly beat" in facts.headline(group)


def test_a_reference_row_that_cannot_be_read_is_beaten_by_nobody(tmp_path: Path) -> None:
    """What was not tested is not above."""
    stored = make_board(tmp_path, ["gpt2"], seeds=(0,))
    assert clearly_above({"gpt2": stored}, "no such row") == set()


def sides(out: Path, shift: float = 0.0, changed: float = 0.4) -> tuple[Side, Side]:
    old, new = [], []
    for model in ("gpt2", "phi-1.5", "llama-2-7b", "mistral-7b-v0.3"):
        for seed in range(3):
            old.append(make_record(out, model, seed))
            new.append(
                make_record(out, model, seed, versions={"trl": "1.15.0"}, shift=shift, changed=changed)
            )
    return Side("old", tuple(old)), Side("new", tuple(new))


def test_a_gate_corrects_over_all_metrics_that_it_judges(tmp_path: Path) -> None:
    """Rows by Holm over models and metrics together, all models together by Holm over the metrics."""
    one, four = (compare(*sides(tmp_path), metrics) for metrics in (("rougeL",), METRICS))
    assert [row.p_adjusted for row in four.rows] == pytest.approx(list(holm([row.p for row in four.rows])))
    assert len(four.rows) == 4 * len(one.rows)
    shifts = [pooled.shift.p for pooled in four.pooled]
    assert [pooled.p_adjusted for pooled in four.pooled] == pytest.approx(list(holm(shifts)))
    assert one.pooled[0].p_adjusted == one.pooled[0].shift.p


def test_a_drift_of_one_metric_among_four_needs_a_corrected_p(tmp_path: Path) -> None:
    """A p of .02 is a drift where one metric is judged, and none where four are."""
    import bench.judge.stack as stack
    from bench import stats

    real = stats.pooled_shift
    shift = real([np.linspace(-0.05, 0.02, 40) + 0.001 * n for n in range(4)])
    assert stack.drifted(shift, p_adjusted=0.02)
    assert not stack.drifted(shift, p_adjusted=0.08)


def test_training_noise_is_that_of_each_metric(tmp_path: Path) -> None:
    """ROUGE-2 is half as noisy as ROUGE-1: one metric's noise never stands for another's."""
    side, _ = sides(tmp_path)
    effects = retraining(side, METRICS).effects
    assert set(effects) == set(METRICS)
    assert effects["rouge2"].total.variance < 0.5 * effects["rouge1"].total.variance


def test_a_noisy_model_is_gated_by_its_own_noise(tmp_path: Path) -> None:
    """A quiet model's drop of that size is none for a model that moves as much without any change."""
    quiet_ones = ("phi-1.5", "llama-2-7b", "bart-large-xsum", "gpt-neo-125m", "gpt-neo-1.3b", "llama-3.1-8b")
    for model in ("gpt2", *quiet_ones):
        for seed in range(5):
            moves = 0.03 * (seed % 2) if model == "gpt2" else 0.0
            make_record(tmp_path / "history", model, seed, shift=moves)
    records = Ledger(tmp_path / "history").load()[0]
    known = retraining(Side("history", tuple(records)), METRICS)
    loud, quiet = known.of("gpt2", "mini", "rougeL"), known.of("phi-1.5", "mini", "rougeL")
    assert loud is not None
    assert quiet == known.effects["rougeL"].total
    assert loud.variance > 2 * quiet.variance
    assert known.of("gpt2", "mini", "bertscore") is None
    before, after = (
        Side(
            side,
            tuple(
                make_record(tmp_path / side, model, shift=shift, changed=0.2) for model in ("gpt2", "phi-1.5")
            ),
        )
        for side, shift in (("before", 0.0), ("after", -0.05))
    )
    rows = {row.model: row.finding for row in compare(before, after, ["rougeL"], noise=known).rows}
    assert rows == {"gpt2": Finding.UNCERTAIN, "phi-1.5": Finding.REGRESSED}


def test_a_metrics_rows_are_judged_alike_alone_and_beside_others(tmp_path: Path) -> None:
    """But for the correction: interval and p of a row do not depend on what else is compared."""
    one, four = (compare(*sides(tmp_path, shift=-0.02), metrics) for metrics in (("rougeL",), METRICS))
    same = [row for row in four.rows if row.metric == "rougeL"]
    assert [row.difference for row in same] == [row.difference for row in one.rows]
    assert [row.p for row in same] == [row.p for row in one.rows]
    assert problems(one)
