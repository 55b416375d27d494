"""What changed between two sets of records, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from records import ALL_MODELS, VERSIONS, make_contract, make_failure, make_pairs, make_record

from bench import cli, stats
from bench.errors import Incomparable, UnknownName
from bench.judge.compare import ComparedRow, Comparison, compare, to_data, with_texts
from bench.judge.pairing import Finding
from bench.judge.stack import drifted
from bench.judge.verdicts import judge
from bench.render.text import comparison as compare_text
from bench.spec import Decoding
from bench.store.ledger import Stored
from bench.store.record import Failure
from bench.store.scores import Series, aligned, series
from bench.store.sides import Side

GOLDEN = Path(__file__).parent / "golden"
NEW = {"trl": "1.15.0", "transformers": "5.17.1"}
LATER = "2026-11-21T10:00:00Z"


def sides(
    a: list[Stored],
    b: list[Stored],
    failures_a: tuple[Failure, ...] = (),
    failures_b: tuple[Failure, ...] = (),
) -> tuple[Side, Side]:
    """The two sides of a comparison, as `select` returns them."""
    return Side("before", tuple(a), failures_a), Side("after", tuple(b), failures_b)


def only(result: Comparison) -> ComparedRow:
    """The row of a comparison that has one."""
    assert len(result.rows) == 1
    return result.rows[0]


def both(
    out: Path, model: str = "gpt2", seeds: tuple[int, ...] = (0, 1, 2), **after: object
) -> tuple[Side, Side]:
    """A model under two versions of trl; `after` says what is different in the newer."""
    a = [make_record(out, model, seed) for seed in seeds]
    b = [make_record(out, model, seed, versions=NEW, finished=LATER, **after) for seed in seeds]
    return sides(a, b)


def mean_score(stored: Stored) -> float:
    """The tuned ROUGE-L of a record."""
    return float(np.mean(stored.scores["rows"]["tuned"]["rougeL"]["f"]))


def test_a_planted_drop_is_a_regression_and_its_mirror_an_improvement(tmp_path: Path) -> None:
    """The difference is that of the means, and A against B is B against A turned around."""
    a, b = both(tmp_path, shift=-0.03, changed=0.5)
    row, back = only(compare(a, b)), only(compare(b, a))
    assert (row.finding, back.finding) == (Finding.REGRESSED, Finding.IMPROVED)
    means = [np.mean([one.scores["rows"]["tuned"]["rougeL"]["f"] for one in side.records]) for side in (a, b)]
    assert row.difference is not None
    assert back.difference is not None
    assert row.difference.mean == pytest.approx(means[1] - means[0])
    assert row.difference.low == pytest.approx(-back.difference.high)
    assert (row.seeds, row.examples) == ((0, 1, 2), 60)


def test_a_clear_difference_below_the_threshold_does_not_count(tmp_path: Path) -> None:
    """It is real and it is small: unchanged."""
    a, b = both(tmp_path, shift=-0.006)
    assert only(compare(a, b)).finding == Finding.UNCHANGED
    assert only(compare(a, b, threshold=0.001)).finding == Finding.REGRESSED


def test_noise_is_too_uncertain_to_tell(tmp_path: Path) -> None:
    """Where a drop of the threshold's size could not have been found, nothing is called unchanged."""
    a, b = both(tmp_path, "phi-1.5", changed=1.0)
    row = only(compare(a, b))
    assert row.finding == Finding.UNCERTAIN
    assert row.smallest is not None
    assert row.smallest > 0.01


def test_the_same_answers_are_unchanged_whatever_other_models_do(tmp_path: Path) -> None:
    """The training noise of others says nothing about a model whose answers are equal to the letter."""
    a, b = both(tmp_path, "gpt2")
    more_a, more_b = both(tmp_path, "phi-1.5", changed=0.9)
    result = compare(*sides([*a.records, *more_a.records], [*b.records, *more_b.records]))
    gpt2, phi = result.rows
    assert (gpt2.finding, gpt2.identical) == (Finding.UNCHANGED, True)
    assert gpt2.difference == stats.Interval(0.0, 0.0, 0.0)
    assert not phi.identical


def test_the_same_record_on_both_sides_is_unchanged(tmp_path: Path) -> None:
    """And is no cluster of a shift of all models together."""
    one = make_record(tmp_path)
    result = compare(*sides([one], [one]))
    assert (only(result).finding, only(result).reason) == (Finding.UNCHANGED, "same record")
    assert result.pooled == ()


def test_another_record_under_the_same_run_id_is_compared(tmp_path: Path) -> None:
    """An id leaves out what it does not know of; the record says what came out."""
    a = make_record(tmp_path / "a", gain=0.2)
    b = make_record(tmp_path / "b", gain=0.2, shift=-0.1)
    assert a.record.id == b.record.id
    assert only(compare(*sides([a], [b]))).finding == Finding.REGRESSED


def test_of_several_versions_the_newest_counts(tmp_path: Path) -> None:
    """By the time at which they finished, in whatever order they are given."""
    old = make_record(tmp_path, versions={"trl": "1.12.0"}, finished="2026-11-01T00:00:00Z", shift=0.2)
    new = make_record(tmp_path, versions={"trl": "1.13.0"}, finished="2026-11-02T00:00:00+00:00")
    b = make_record(tmp_path, versions=NEW)
    for order in ([old, new], [new, old]):
        assert only(compare(*sides(order, [b]))).runs_a == (new.record.id,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": 100}, "budget.steps: 60 | 100"),
        ({"decoding": Decoding(max_new_tokens=32, batch=128)}, "decoding.max_new_tokens: 96 | 32"),
        ({"scorer": "rouge:no-stem"}, "scorer: rouge:f1:stem"),
        ({"name": "dolly"}, r"train.name: course-qa | dolly \(and 3 more\)"),
    ],
)
def test_other_contracts_are_incomparable_with_the_part_that_differs(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    """Never regressed: nobody can say."""
    a = make_record(tmp_path)
    b = make_record(tmp_path, contract=make_contract(**change))  # type: ignore[arg-type]
    kept = make_record(tmp_path, "phi-1.5")
    row = next(row for row in compare(*sides([a, kept], [b, kept])).rows if row.model == "gpt2")
    assert row.finding == Finding.INCOMPARABLE
    assert row.reason.startswith(reason.replace("\\", ""))


def test_other_scales_are_incomparable(tmp_path: Path) -> None:
    """A twin is no checkpoint, whatever the contract."""
    a, b = make_record(tmp_path, scale="mini"), make_record(tmp_path, scale="full")
    with pytest.raises(Incomparable, match=r"gpt2: scale: mini \| full"):
        compare(*sides([a], [b]))


def test_seeds_pair_with_themselves(tmp_path: Path) -> None:
    """A seed on one side only is named and left out; none in common is incomparable."""
    a = [make_record(tmp_path, seed=seed) for seed in (0, 1)]
    b = [make_record(tmp_path, seed=seed, versions=NEW) for seed in (1, 2)]
    row = only(compare(*sides(a, b)))
    assert (row.seeds, row.reason) == ((1,), "seeds 0, 2 on one side only")
    with pytest.raises(Incomparable, match=r"no seed in common: 0 \| 2"):
        compare(*sides(a[:1], b[1:]))


def test_seeds_whose_record_is_the_same_are_left_out(tmp_path: Path) -> None:
    """One of three seeds was run again and is worse: its difference is not diluted to a third."""
    a = [make_record(tmp_path, "gpt2", seed) for seed in (0, 1, 2)]
    again = make_record(tmp_path, "gpt2", 0, versions=NEW, shift=-0.06)
    row = only(compare(*sides(a, [again, *a[1:]])))
    assert row.seeds == (0,)
    assert row.reason == "seeds 1, 2 the same record on both sides, left out"
    assert row.difference is not None
    assert row.difference.mean < -0.04


def test_models_on_one_side_are_new_or_gone(tmp_path: Path) -> None:
    """They are listed and not judged."""
    a, b = both(tmp_path)
    gone, new = make_record(tmp_path, "phi-1.5"), make_record(tmp_path, "llama-2-7b")
    result = compare(*sides([*a.records, gone], [*b.records, new]))
    assert {row.model: row.finding for row in result.rows if row.model != "gpt2"} == {
        "phi-1.5": Finding.GONE,
        "llama-2-7b": Finding.NEW,
    }


def test_a_model_that_finished_and_now_dies_is_newly_failing(tmp_path: Path) -> None:
    """With stage and reason; the seeds that still run are compared."""
    a = [make_record(tmp_path, "phi-1.5", seed) for seed in (0, 1)]
    b = [make_record(tmp_path, "phi-1.5", 1, versions=NEW)]
    failure = make_failure(tmp_path, "phi-1.5", 0, reason="0 active drivers\nmore")
    failing, judged = sorted(compare(*sides(a, b, (), (failure,))).rows, key=lambda row: row.finding)
    assert (failing.finding, failing.reason) == (Finding.NEWLY_FAILING, "seed 0: train: 0 active drivers")
    assert (judged.finding, judged.seeds) == (Finding.UNCHANGED, (1,))


def test_a_model_that_failed_before_is_new(tmp_path: Path) -> None:
    """To be repaired is no regression."""
    failure = make_failure(tmp_path, "phi-1.5")
    a, b = both(tmp_path)
    repaired = make_record(tmp_path, "phi-1.5")
    rows = compare(*sides(list(a.records), [*b.records, repaired], (failure,))).rows
    assert (rows[1].finding, rows[1].reason) == (Finding.NEW, "failed before")


def test_examples_pair_by_id() -> None:
    """Another order changes nothing, and what only one side has is left out."""
    first = Series(("x", "y", "z"), ("g", "g", "h"), {"rougeL": np.array([0.1, 0.2, 0.3])})
    second = Series(("z", "w", "x"), ("h", "i", "g"), {"rougeL": np.array([0.7, 0.8, 0.9])})
    values, ids, groups = aligned([first, second], "rougeL")
    assert (ids, groups) == (("x", "z"), ("g", "h"))
    assert values.tolist() == [[0.1, 0.3], [0.9, 0.7]]


def test_scores_are_read_sparingly_and_exactly(tmp_path: Path) -> None:
    """Every row and metric is what parsing the whole file gives; an unknown metric is named."""
    one = make_record(tmp_path)
    for row in ("tuned", "base", "copy", "nearest"):
        found = series(one, ("rouge1", "rougeLsum"), row)
        for metric, values in found.values.items():
            assert values.tolist() == one.scores["rows"][row][metric]["f"]
    assert list(found.ids) == one.scores["ids"]
    with pytest.raises(UnknownName, match="unknown metric 'rougeX'; did you mean 'rougeL'"):
        compare(*sides([one], [one]), metrics=("rougeX",))


def test_edited_scores_are_left_out_with_a_message(tmp_path: Path) -> None:
    """The record's own digest still fits; the scores' does not."""
    a, b = both(tmp_path, seeds=(0, 1))
    (b.records[0].folder / "scores.json").write_text("{}", encoding="utf-8")
    result = compare(a, b)
    assert only(result).seeds == (1,)
    assert "scores.json: missing, edited or cut short" in result.messages[0]


def test_p_is_adjusted_over_the_table(tmp_path: Path) -> None:
    """A row's raw p is its own; the more rows, the larger the adjusted one."""
    a, b = both(tmp_path, "gpt2", changed=0.5)
    alone = only(compare(a, b))
    others = [both(tmp_path, model, changed=0.5) for model in ("phi-1.5", "llama-2-7b", "gpt-neo-125m")]
    rows = compare(
        *sides(
            [*a.records, *(one for side, _ in others for one in side.records)],
            [*b.records, *(one for _, side in others for one in side.records)],
        )
    ).rows
    assert alone.p == alone.p_adjusted
    assert [row.p_adjusted for row in rows] == stats.holm([row.p for row in rows]).tolist()  # type: ignore
    assert all(row.smallest > alone.smallest / 2 for row in rows)  # type: ignore[operator]


def test_a_drop_of_the_promised_size_is_found_as_often_as_promised() -> None:
    """`smallest` holds over the whole table: eight rows, the planted drop in one of them."""
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(150):
        table = [0.1 * generator.standard_normal((1, 80)) for _ in range(8)]
        smallest = judge(table)[0].smallest
        fresh = 0.1 * generator.standard_normal((1, 80))
        hits += judge([fresh - smallest, *table[1:]])[0].finding == Finding.REGRESSED
    assert 0.70 <= hits / 150 <= 0.90


def test_equal_versions_are_called_changed_in_at_most_one_table_of_twenty() -> None:
    """A/A: eight models of three seeds with training noise of their own, 200 tables; 5% and its error."""
    generator = np.random.default_rng(1)
    false = 0
    for _ in range(200):
        noise = generator.choice([0.003, 0.02], size=8)
        table = [
            0.08 * generator.standard_normal((3, 40)) + sd * generator.standard_normal((3, 1)) for sd in noise
        ]
        words = {one.finding for one in judge(table, threshold=0.0)}
        false += bool(words & {Finding.REGRESSED, Finding.IMPROVED})
    assert false <= 19  # the 99.5% point of 200 tosses at 5%


def test_a_one_seed_row_borrows_the_training_noise_of_the_others() -> None:
    """Its interval is wider than its examples alone make it."""
    generator = np.random.default_rng(2)
    single = 0.05 * generator.standard_normal((1, 100))
    noisy = [0.05 * generator.standard_normal((3, 100)) + 0.03 * generator.standard_normal((3, 1))] * 3
    alone, among = judge([single])[0], judge([single, *noisy])[0]
    assert among.difference.high - among.difference.low > 2 * (alone.difference.high - alone.difference.low)
    assert among.smallest > alone.smallest


def test_a_row_far_quieter_than_the_table_keeps_a_finite_interval() -> None:
    """The others' noise, known to a spread larger than the row's own, must not blow it up."""
    generator = np.random.default_rng(5)
    loud = [0.1 * generator.standard_normal((3, 60)) for _ in range(5)]
    quiet = -0.004 + 1e-6 * generator.standard_normal((3, 60))
    found = judge([*loud, quiet])[-1]
    assert found.difference.high - found.difference.low < 0.1
    assert found.smallest < 0.5


def test_thirty_five_of_thirty_seven_small_drops_are_a_drift(tmp_path: Path) -> None:
    """Each model drops by one or two points inside its own noise; together it cannot be missed."""
    a, b = [], []
    for place in range(37):
        target = 0.010 if place >= 35 else -0.010 - 0.008 * (place % 8) / 7
        one: dict[str, Any] = {"contract": make_contract(steps=60 + 5 * (place // 8)), "changed": 0.5}
        named = ALL_MODELS[place % 8], place
        a.append(make_record(tmp_path, *named, **one))
        noisy = make_record(tmp_path / "noise", *named, versions=NEW, **one)
        by_chance = mean_score(noisy) - mean_score(a[-1])
        b.append(make_record(tmp_path, *named, versions=NEW, shift=target - by_chance, **one))
    result = compare(*sides(a, b))
    assert len(result.found(Finding.UNCERTAIN)) == 37
    (pooled,) = result.pooled
    assert pooled.drift
    assert pooled.shift.interval.high < -0.008
    assert "DRIFT DOWN. 35 of 37 models dropped; pooled shift \N{MINUS SIGN}0.01" in compare_text.pooled(
        pooled
    )


def test_no_drift_is_seen_where_there_is_none() -> None:
    """A/A: 37 models that share 60 test examples, 200 sets; at most 5% and its error."""
    generator = np.random.default_rng(3)
    false = 0
    for _ in range(200):
        shared = 0.03 * generator.standard_normal(60)
        own = 0.08 * generator.standard_normal((37, 60)) + 0.01 * generator.standard_normal((37, 1))
        false += drifted(stats.pooled_shift(list(shared + own), flips=10), drift=0.0)
    assert false <= 19


def test_a_drift_needs_several_models_and_a_size_that_matters() -> None:
    """Two models are no stack, and a thousandth is no drift."""
    generator = np.random.default_rng(4)
    table = [-0.03 + 0.001 * generator.standard_normal(60) for _ in range(5)]
    assert drifted(stats.pooled_shift(table))
    assert not drifted(stats.pooled_shift(table[:2]))
    assert not drifted(stats.pooled_shift([one + 0.029 for one in table]))


def test_cost_is_compared_between_like_hardware_only(tmp_path: Path) -> None:
    """Elsewhere the reason stands in its place."""
    a = make_record(tmp_path, hardware="2 cores")
    like = make_record(tmp_path, versions=NEW, hardware="2 cores")
    other = make_record(tmp_path, versions=NEW, hardware="64 cores")
    row = only(compare(*sides([a], [like])))
    assert [(cost.unit, cost.ratio) for cost in row.costs] == [("tokens/s", 1), ("bytes", 1), ("s", 1)]
    row = only(compare(*sides([a], [other])))
    assert (row.costs, row.cost_reason) == ((), "other hardware (hardware: 2 cores | 64 cores)")


def test_the_environment_is_compared_package_by_package(tmp_path: Path) -> None:
    """What differs is listed with the models that it concerns, what is equal is not."""
    a = make_record(tmp_path, extra_versions={"numpy": "2.4.6"})
    b = make_record(tmp_path, versions=NEW, extra_versions={"numpy": "2.5.0", "triton": "3.1"}, dirty=True)
    changes = {change.what: (change.a, change.b) for change in compare(*sides([a], [b])).environment}
    assert changes == {
        "numpy": ("2.4.6", "2.5.0"),
        "triton": ("absent", "3.1"),
        "trl": (VERSIONS["trl"], "1.15.0"),
        "transformers": (VERSIONS["transformers"], "5.17.1"),
        "commit": ("0123abc0", "0123abc0+dirty"),
    }


def test_the_examples_that_moved_most_carry_both_texts(tmp_path: Path) -> None:
    """Largest first, with what either version wrote."""
    a, b = both(tmp_path, seeds=(0,), changed=0.3)
    moved = only(with_texts(compare(a, b), a, b)).moved
    sizes = [abs(move.b - move.a) for move in moved]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size > 0 for size in sizes)
    texts = {row["id"]: row["tuned"] for row in b.records[0].completions}
    assert all(move.text_b == texts[move.id] for move in moved)
    assert all(move.text_b == move.text_a + " which is what the newer version says." for move in moved)
    assert all(move.question for move in moved)


def test_nothing_in_common_says_what_each_side_holds(tmp_path: Path) -> None:
    """Also where a side is empty or unreadable."""
    a, b = make_record(tmp_path, "gpt2"), make_record(tmp_path, "phi-1.5")
    with pytest.raises(Incomparable, match=r"'before' and 'after' have no run in common: gpt2 \| phi-1.5"):
        compare(*sides([a], [b]))
    with pytest.raises(Incomparable, match="'after' holds no records"):
        compare(*sides([a], []))


def test_several_metrics_share_one_correction(tmp_path: Path) -> None:
    """A row for each model and metric, grouped by metric."""
    a, b = both(tmp_path, shift=-0.05, changed=0.2)
    result = compare(a, b, metrics=("rougeL", "rouge1"))
    assert [(row.model, row.metric) for row in result.rows] == [("gpt2", "rougeL"), ("gpt2", "rouge1")]
    assert [one.metric for one in result.pooled] == ["rougeL", "rouge1"]
    assert "p by Holm over 2 rows" in compare_text.terminal(result)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the builder's own interval of one example
def test_the_data_is_strict_json(tmp_path: Path) -> None:
    """An infinite bound becomes null: one example has no spread."""
    a, b = make_record(tmp_path, n=1), make_record(tmp_path, versions=NEW, n=1)
    data = json.loads(json.dumps(to_data(compare(*sides([a], [b]))), allow_nan=False))
    assert data["rows"][0]["difference"]["low"] is None
    assert data["rows"][0]["smallest"] is None


def golden_comparison(out: Path) -> Comparison:
    """One of each: a table with every word in it."""
    a = [make_record(out, model, seed) for model in ALL_MODELS[:6] for seed in (0, 1, 2)]
    b = [
        make_record(
            out,
            model,
            seed,
            versions=NEW,
            finished=LATER,
            changed=0.0 if model == "gpt-neo-1.3b" else 0.4,
            shift={"gpt2": -0.04, "bart-large-xsum": 0.04}.get(model, -0.004),
            hardware="64 cores" if model == "llama-2-7b" else "2 x86_64 cores, 8 GB",
            extra_versions={"numpy": "2.5.0"},
        )
        for model in ALL_MODELS[:5]
        for seed in (0, 1, 2)
        if (model, seed) != ("gpt-neo-125m", 2)
    ]
    b.append(make_record(out, "llama-3.1-8b", contract=make_contract(steps=100)))
    a.append(make_record(out, "mistral-7b-v0.3"))
    b.append(a[-1])
    a.append(make_record(out, "phi-1.5"))
    failure = make_failure(out, "phi-1.5", reason="'NoneType' object | has <no> attribute 'apply'")
    return compare(
        Side("trl==1.14.2", tuple(a)),
        Side("trl==1.15.0", tuple(b), (failure,), ("reports/runs/x/record.json: edited",)),
    )


def test_the_terminal_table_is_the_golden_one(tmp_path: Path) -> None:
    """At most 100 columns, every word in it."""
    text = compare_text.terminal(golden_comparison(tmp_path))
    assert max(map(len, text.splitlines())) <= 100
    assert text + "\n" == (GOLDEN / "compare.txt").read_text(encoding="utf-8")


def test_the_markdown_is_the_golden_one(tmp_path: Path) -> None:
    """A reason of a library cannot break the table."""
    text = compare_text.markdown(golden_comparison(tmp_path))
    assert r"'NoneType' object \| has &lt;no&gt; attribute" in text
    assert text == (GOLDEN / "compare.md").read_text(encoding="utf-8")


def test_a_long_table_shows_what_changed_and_counts_the_rest(tmp_path: Path) -> None:
    """Sixty rows are enough for a terminal."""
    a, b = [], []
    for place in range(70):
        contract = make_contract(steps=10 + place)
        a.append(make_record(tmp_path, contract=contract, n=20))
        shift = -0.1 if place == 30 else 0.0
        b.append(make_record(tmp_path, contract=contract, n=20, versions=NEW, shift=shift))
    text = compare_text.terminal(compare(*sides(a, b)))
    assert "69 further rows are not shown" in text
    assert text.count("regressed") >= 2
    assert len(text.splitlines()) < 30


@pytest.mark.slow
def test_five_thousand_records_are_compared_in_seconds(tmp_path: Path) -> None:
    """2,500 pairs that all must be read, checked in full for the first time and judged, in processor time.

    Two busy cores slow each other down, so the limit leaves room for that: about 15 s of an idle core.
    """
    make_pairs(tmp_path, 2500)
    begin = process_time()
    parser_words = ["compare", "trl==1.14.2", "trl==1.15.0", "--out", str(tmp_path)]
    assert cli.run_verb([*parser_words, "--markdown", str(tmp_path / "c.md")]) == 0
    assert process_time() - begin < 45
    assert "2,500 unchanged" in (tmp_path / "c.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_comparison_keeps_to_the_terminal(tmp_path: Path, width: int) -> None:
    """The verdict first, no line wider than asked; the two values' intervals where there is room."""
    a = [make_record(tmp_path, model, seed, n=120) for model in ALL_MODELS for seed in (0, 1, 2)]
    b = [
        make_record(tmp_path, model, seed, n=120, versions=NEW, changed=0.4, shift=-0.05 * (model == "gpt2"))
        for model in ALL_MODELS
        for seed in (0, 1, 2)
    ]
    text = compare_text.terminal(compare(*sides(a, b)), width=width)
    assert text.startswith("Regressed: gpt2 twin by ")
    assert max(map(len, text.splitlines())) <= width
    assert ("finds" in text) == (width > 80)
    assert ("] " in text.split("Not compared")[0] and " to 0." in text) == (width == 140)
