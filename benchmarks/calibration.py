"""Does every promise of `bench.stats` hold on scores like ours?  `python -m benchmarks.calibration`.

Each check draws many data sets whose truth is known, asks `bench.stats`, and sets what was measured beside
what was promised.  Examples are drawn with replacement from the per-example scores of the records under
`reports/twins/runs` (`--runs DIR`: others), whose own means are then the truth; without enough records, from
made scores of the same kind. Checks with several seeds add made training noise, because only there it is
known. The last line is `calibration ratio VALUE`: the worst measured over promised false-alarm rate.
"""

import json
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.stats import (
    Noise,
    PairedDifference,
    Verdict,
    compare,
    holm,
    mean_interval,
    pooled_shift,
    rank_ranges,
    seed_noise,
    verdict,
)
from benchmarks import luck

Floats = NDArray[np.float64]

MODELS = 8
EXAMPLES = 160
SEED_SHIFT = 0.04  # training noise of made runs in standard normal units, about 0.0045 ROUGE-L
CALLED = (Verdict.IMPROVED, Verdict.REGRESSED)


@dataclass(frozen=True)
class Check:
    """One promise and what was measured; `alarm` marks rates of false alarms, where lower is better."""

    name: str
    promised: float
    measured: float
    kept: bool
    alarm: bool = False


def real_scores(folder: Path = luck.RUNS) -> Floats | None:
    """ROUGE-L F of the records under `folder`, (runs, examples), of the largest set of runs that share all
    ids.

    None when fewer than four runs share at least 60 examples.
    """
    by_ids: dict[tuple[str, ...], list[list[float]]] = defaultdict(list)
    for path in sorted(folder.glob("*/scores.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        by_ids[tuple(stored["ids"])].append(stored["rows"]["tuned"]["rougeL"]["f"])
    enough = [runs for ids, runs in by_ids.items() if len(runs) >= 4 and len(ids) >= 60]
    return np.array(max(enough, key=lambda runs: len(runs) * len(runs[0]))) if enough else None


def from_normal(deviates: Floats) -> Floats:
    """Standard normal deviates as ROUGE-L: skewed to the right, mean 0.2, sd 0.12, 5% exactly zero."""
    from scipy.special import gammaincinv, ndtr

    grid = np.linspace(-7, 7, 2801)
    scores = np.minimum(gammaincinv(2.8, ndtr(grid)) / 14, 1.0)
    scores[ndtr(grid) < 0.05] = 0.0
    made: Floats = np.interp(deviates, grid, scores)
    return made


def made_runs(
    draw: np.random.Generator, models: Sequence[float], seeds: int, examples: int, copies: int = 1
) -> Floats:
    """Scores (copies, models, seeds, examples) of models that lie `models` apart in standard normal units.

    Of a deviate's variance 45% is the example's, 15% the example's for this model; the rest is the run's,
    so seeds of one model correlate at 0.6 within an example.  Copies are the same models, trained again.
    """
    shape = (copies, len(models), seeds, examples)
    example = np.sqrt(0.45) * draw.standard_normal(examples)
    habit = np.sqrt(0.15) * draw.standard_normal((len(models), 1, examples))
    training = SEED_SHIFT * draw.standard_normal((*shape[:3], 1))
    run = np.sqrt(0.4 - SEED_SHIFT**2) * draw.standard_normal(shape)
    return from_normal(example + habit + training + run + np.asarray(models)[:, None, None])


def true_mean(model: float) -> float:
    """The mean score over all examples and trainings of a made model at `model`."""
    from scipy.special import ndtri

    return float(from_normal(model + ndtri((np.arange(200_000) + 0.5) / 200_000)).mean())


def made_pool(runs: int = 12, examples: int = 600, seed: int = 4) -> Floats:
    """Made scores in place of records: (runs, examples), models a little apart."""
    draw = np.random.default_rng(seed)
    return made_runs(draw, list(np.linspace(-0.15, 0.15, runs)), 1, examples)[0, :, 0]


def unchanged_pair(draw: np.random.Generator, pool: Floats, examples: int) -> tuple[Floats, Floats]:
    """Two runs that differ, but not on average: real scores of two runs, swapped at random per example."""
    first, second = pool[draw.choice(len(pool), 2, replace=False)]
    chosen = draw.integers(pool.shape[1], size=examples)
    swap = draw.random(examples) < 0.5
    a, b = first[chosen], second[chosen]
    return np.where(swap, b, a), np.where(swap, a, b)


def table_verdicts(rows: Sequence[PairedDifference], threshold: float = 0.01) -> list[Verdict]:
    """The verdicts of a whole table, as a report gives them."""
    adjusted = holm([row.p for row in rows])
    return [
        verdict(row.interval, float(p), threshold, row.smallest_detectable())
        for row, p in zip(rows, adjusted, strict=True)
    ]


def alarm(name: str, hits: int, rounds: int, promised: float = 0.05) -> Check:
    """A false-alarm rate; kept when not above the promise by more than chance (97.5% point) allows."""
    slack = 1.96 * np.sqrt(promised * (1 - promised) / rounds)
    return Check(name, promised, hits / rounds, bool(hits / rounds <= promised + slack), alarm=True)


def unchanged_tables(pool: Floats, rounds: int, seed: int = 1) -> list[Check]:
    """A/A: tables of eight one-seed comparisons in which nothing changed."""
    draw = np.random.default_rng(seed)
    called = clear = 0
    for _ in range(rounds):
        rows = [compare(*unchanged_pair(draw, pool, EXAMPLES)) for _ in range(MODELS)]
        called += any(word in CALLED for word in table_verdicts(rows))
        clear += any(word in CALLED for word in table_verdicts(rows, 0.0))
    return [
        alarm("A/A tables, one seed", called, rounds),
        alarm("A/A tables, one seed, threshold 0", clear, rounds),
    ]


def retrained_tables(rounds: int, seed: int = 2) -> list[Check]:
    """A/A: tables of eight models trained again with three new seeds; noise from own seeds, then pooled."""
    draw = np.random.default_rng(seed)
    apart = list(np.linspace(-0.3, 0.3, MODELS))
    hits = {(way, threshold): 0 for way in ("own", "pooled") for threshold in (0.01, 0.0)}
    for _ in range(rounds):
        before, after = made_runs(draw, apart, 3, EXAMPLES, copies=2)
        pooled = seed_noise([*before, *after])
        noises: dict[str, Noise | None] = {"own": None, "pooled": pooled}
        for way, noise in noises.items():
            rows = [compare(a, b, noise=noise) for a, b in zip(before, after, strict=True)]
            for threshold in (0.01, 0.0):
                hits[way, threshold] += any(word in CALLED for word in table_verdicts(rows, threshold))
    return [
        alarm(f"A/A tables, three seeds, {way} noise{'' if threshold else ', threshold 0'}", count, rounds)
        for (way, threshold), count in hits.items()
    ]


def planted_drops(pool: Floats, rounds: int, seed: int = 3) -> list[Check]:
    """One row of a table of eight drops; it is called regressed as often as its stated power says.

    Holm's correction lets the first row pass at alpha / 8, which is the alpha that the promise is made for.
    """
    draw = np.random.default_rng(seed)
    checks = []
    for examples, drop in [(EXAMPLES, 0.01), (EXAMPLES, 0.02), (EXAMPLES, 0.03), (500, 0.02), (500, None)]:
        found, promise = 0, 0.0
        for _ in range(rounds):
            rows = [compare(*unchanged_pair(draw, pool, examples)) for _ in range(MODELS)]
            size = drop or rows[0].smallest_detectable(0.8, 0.05 / MODELS, 0.01)
            promise += rows[0].detection_rate(size, 0.05 / MODELS, 0.01) / rounds
            a, b = unchanged_pair(draw, pool, examples)
            rows[0] = compare(a, b - size)
            found += table_verdicts(rows)[0] is Verdict.REGRESSED
        name = f"drop of {drop:.2f}" if drop else "drop of the stated size at power 80%"
        rate = found / rounds
        slack = 0.03 + 1.96 * np.sqrt(0.25 / rounds)
        checks.append(
            Check(f"{name} found, {examples} examples", promise, rate, abs(rate - promise) <= slack)
        )
    return checks


def coverage(name: str, held: int, rounds: int) -> Check:
    """Coverage of 95% intervals; kept within 93 to 97%, give or take the rounds' own noise."""
    slack = 1.96 * np.sqrt(0.05 * 0.95 / rounds)
    return Check(name, 0.95, held / rounds, bool(0.93 - slack < held / rounds < 0.97 + slack))


def intervals_of_one_run(pool: Floats, rounds: int, seed: int = 5) -> list[Check]:
    """How often a mean's interval, and a difference's, holds the truth."""
    draw = np.random.default_rng(seed)
    truth = pool.mean(axis=1)
    checks = []
    for examples in (60, EXAMPLES, 300):
        mean_held = pair_held = 0
        for _ in range(rounds):
            one, two = draw.choice(len(pool), 2, replace=False)
            chosen = draw.integers(pool.shape[1], size=examples)
            mean = mean_interval(pool[one][chosen])
            change = compare(pool[one][chosen], pool[two][chosen]).interval
            mean_held += mean.low <= truth[one] <= mean.high
            pair_held += change.low <= truth[two] - truth[one] <= change.high
        checks.append(coverage(f"interval of a mean, {examples} examples", mean_held, rounds))
        checks.append(coverage(f"interval of a difference, {examples} examples", pair_held, rounds))
    return checks


def intervals_of_paraphrases(pool: Floats, rounds: int, seed: int = 6) -> list[Check]:
    """Coverage when every question is asked in one to four wordings that score alike."""
    draw = np.random.default_rng(seed)
    gap = pool[1] - pool[0]
    wordings = np.tile([1, 2, 3, 4], 20)
    truth, held, plain = float(gap.mean()), 0, 0
    for _ in range(rounds):
        question = draw.integers(gap.size, size=80)
        groups = np.repeat(np.arange(80), draw.permutation(wordings))
        change = gap[question][groups] + 0.03 * draw.standard_normal(groups.size)
        base = np.zeros(groups.size)
        grouped = compare(base, change, groups=groups).interval
        alone = compare(base, change).interval
        held += grouped.low <= truth <= grouped.high
        plain += alone.low <= truth <= alone.high
    return [
        coverage("interval of a difference, paraphrase groups", held, rounds),
        Check("  the same with groups ignored (no promise)", float("nan"), plain / rounds, True),
    ]


def intervals_of_seeds(rounds: int, seed: int = 7) -> list[Check]:
    """Coverage with three seeds and real training noise, for a mean and for the gap of two models."""
    draw = np.random.default_rng(seed)
    apart = list(np.linspace(-0.3, 0.3, MODELS))
    truth = [true_mean(model) for model in apart]
    mean_held = own = pooled = 0
    for _ in range(rounds):
        runs = made_runs(draw, apart, 3, EXAMPLES)[0]
        one, two = draw.choice(MODELS, 2, replace=False)
        gap = truth[two] - truth[one]
        mean = mean_interval(runs[one])
        mean_held += mean.low <= truth[one] <= mean.high
        alone = compare(runs[one], runs[two]).interval
        shared = compare(runs[one], runs[two], noise=seed_noise(runs)).interval
        own += alone.low <= gap <= alone.high
        pooled += shared.low <= gap <= shared.high
    return [
        coverage("interval of a mean, three seeds", mean_held, rounds),
        coverage("interval of a difference, three seeds, own noise", own, rounds),
        coverage("interval of a difference, three seeds, pooled noise", pooled, rounds),
    ]


def at_least(name: str, held: int, rounds: int, promised: float) -> Check:
    """A rate that must not be below its promise by more than chance allows."""
    slack = 1.96 * np.sqrt(promised * (1 - promised) / rounds)
    return Check(name, promised, held / rounds, bool(held / rounds >= promised - slack))


def holds_ranks(ranges: Sequence[tuple[int, int]], truth: Floats) -> bool:
    """Whether every model's true rank lies in its range; models with equal truth share the better rank."""
    ranks = 1 + (truth[None, :] > truth[:, None]).sum(axis=1)
    return all(low <= rank <= high for (low, high), rank in zip(ranges, ranks, strict=True))


def boards(pool: Floats, rounds: int, seed: int = 8) -> list[Check]:
    """Boards of one-seed runs, of three-seed models, and of models that are all equal."""
    draw = np.random.default_rng(seed)
    apart = list(np.linspace(-0.3, 0.3, MODELS))
    made_truth = np.array([true_mean(model) for model in apart])
    one = three = told_apart = 0
    for _ in range(rounds):
        chosen = draw.integers(pool.shape[1], size=EXAMPLES)
        one += holds_ranks(rank_ranges(list(pool[:, chosen])), pool.mean(axis=1))
        three += holds_ranks(rank_ranges(list(made_runs(draw, apart, 3, EXAMPLES)[0])), made_truth)
        equal = rank_ranges(list(made_runs(draw, [0.0] * MODELS, 3, EXAMPLES)[0]))
        told_apart += any(span != (1, MODELS) for span in equal)
    return [
        at_least(f"boards of {len(pool)} one-seed runs whose ranges hold all true ranks", one, rounds, 0.95),
        at_least("boards of 8 three-seed models whose ranges hold all true ranks", three, rounds, 0.95),
        alarm("boards of 8 equal models with two told apart", told_apart, rounds),
    ]


def stack_changes(draw: np.random.Generator, pool: Floats, shifts: Floats) -> Floats:
    """Differences (models, examples) of a change of the stack that all models meet on the same examples.

    In 30% of all places the sign is the example's own, the same for every model, as when a change favours
    some questions: two models' differences correlate at 0.09 in sign.  Each model is also retrained, which
    moves it as a whole.
    """
    chosen = draw.integers(pool.shape[1], size=EXAMPLES)
    together = np.where(draw.random(EXAMPLES) < 0.5, 1.0, -1.0)
    alone = np.where(draw.random((shifts.size, EXAMPLES)) < 0.5, 1.0, -1.0)
    signs = np.where(draw.random(alone.shape) < 0.3, together, alone)
    first = draw.integers(len(pool), size=shifts.size)
    second = (first + draw.integers(1, len(pool), size=shifts.size)) % len(pool)
    gaps: Floats = np.abs(pool[second][:, chosen] - pool[first][:, chosen])
    return signs * gaps + (shifts + 0.004 * draw.standard_normal(shifts.size))[:, None]


def stacks(pool: Floats, rounds: int, seed: int = 9) -> list[Check]:
    """37 models: nothing changed, and 35 of them lower by 1 to 2 points, each inside its own noise."""
    draw = np.random.default_rng(seed)
    drift = counted = naive = flagged = 0
    alone = 0.0
    for _ in range(rounds):
        calm = pooled_shift(list(stack_changes(draw, pool, np.zeros(37))), flips=400)
        drift += calm.drifted()
        counted += calm.sign_p <= 0.05
        naive += calm.sign.p <= 0.05
        lower = stack_changes(draw, pool, np.append(-draw.uniform(0.01, 0.02, 35), [0.0, 0.0]))
        shift = pooled_shift(list(lower), flips=1)
        flagged += shift.drifted() and shift.interval.high < 0
        rows = [compare(np.zeros(EXAMPLES), row) for row in lower]
        alone += sum(word in CALLED for word in table_verdicts(rows)) / 37 / rounds
    return [
        alarm("37 models, nothing changed: called a drift", drift, rounds),
        alarm("37 models, nothing changed: sign count, joint flips", counted, rounds),
        Check("  the same, binomial sign test (no promise)", float("nan"), naive / rounds, True),
        at_least("35 of 37 models lower by 0.01 to 0.02: called a drift", flagged, rounds, 0.95),
        Check("  of these rows, called regressed alone (no promise)", float("nan"), alone, True),
    ]


def power(name: str, found: float, rounds: int, promised: float = 0.8) -> Check:
    """A rate of drops found; kept within 0.05 of the promise, give or take the rounds' own noise."""
    slack = 0.05 + 1.96 * np.sqrt(promised * (1 - promised) / rounds)
    return Check(name, promised, found, bool(abs(found - promised) <= slack))


def shared_luck(rounds: int, folder: Path) -> list[Check]:
    """Tables over all metrics, boards and sparse changes, with luck that the models of one seed share."""
    pool = luck.metric_pool(folder)
    if pool is None:
        pool = np.repeat(made_pool()[:, None], len(luck.METRICS), axis=1)
    real, known = luck.real_luck(folder), luck.known_noise(folder)
    checks = []
    for examples in (30, 200, 1000):
        for seeds, noise in ((1, known), (3, None)):
            called, drift = luck.false_gates(pool, real, rounds, examples, seeds, noise)
            name = f"unchanged, 4 metrics, {examples} examples, {seeds} seed{'s' * (seeds > 1)}"
            checks.append(alarm(f"{name}: a verdict", round(called * rounds), rounds))
            checks.append(alarm(f"{name}: a drift", round(drift * rounds), rounds))
    for examples, noisiest in ((60, 1.0), (200, 1.0), (200, 3.0), (1000, 3.0)):
        held, last, ranked = luck.board_intervals(pool, rounds, examples, 3, noisiest)
        name = f"board, {examples} examples, 3 seeds" + (
            ", one model 3 times as noisy" if noisiest > 1 else ""
        )
        checks.append(coverage(f"{name}: a row's interval", round(held * rounds), rounds))
        checks.append(coverage(f"{name}: the last row's", round(last * rounds), rounds))
        checks.append(at_least(f"{name}: all ranks held", round(ranked * rounds), rounds, 0.95))
    for seeds, noisiest in ((3, 1.0), (3, 3.0), (5, 1.0), (5, 3.0)):
        found = luck.stated_power(pool, rounds, 200, seeds, noisiest)
        name = "the noisiest of 8 models" if noisiest > 1 else "one of 8 models alike"
        checks.append(power(f"stated drop found, 200 examples, {seeds} seeds, {name}", found, rounds))
    for changed in (3, 5, 8, 10, 20):
        out = luck.sparse_changes(2 * rounds, changed)
        checks.append(
            alarm(f"{changed} of 200 answers changed: zero left out", round(out * 2 * rounds), 2 * rounds)
        )
    return checks


def all_checks(pool: Floats, rounds: int, folder: Path = luck.RUNS) -> list[Check]:
    """Every check, with `rounds` data sets each, half as many or twice as many."""
    return [
        *unchanged_tables(pool, 2 * rounds),
        *retrained_tables(rounds),
        *planted_drops(pool, rounds // 2),
        *intervals_of_one_run(pool, 2 * rounds),
        *intervals_of_paraphrases(pool, 2 * rounds),
        *intervals_of_seeds(2 * rounds),
        *boards(pool, rounds),
        *stacks(pool, rounds),
        *shared_luck(rounds // 2, folder),
    ]


def as_table(checks: Sequence[Check]) -> str:
    """Promised beside measured, one check a line."""
    width = max(len(check.name) for check in checks)
    lines = [f"{'check':{width}}  promised  measured"]
    for check in checks:
        promised = "" if np.isnan(check.promised) else f"{check.promised:.3f}"
        missed = "" if check.kept else "  not kept"
        lines.append(f"{check.name:{width}}  {promised:>8}  {check.measured:8.3f}{missed}")
    return "\n".join(lines)


def main(rounds: int = 1000, folder: Path = luck.RUNS) -> None:
    """Run every check and print the table."""
    pool = real_scores(folder)
    kind = f"records under {folder}" if pool is not None else "made scores (no records yet)"
    pool = made_pool() if pool is None else pool
    print(
        f"{rounds} rounds; one-seed scores: {kind}, {pool.shape[0]} runs x {pool.shape[1]} examples, ", end=""
    )
    print(f"mean {pool.mean():.3f}, sd {pool.std():.3f}, {100 * (pool == 0).mean():.0f}% zero\n")
    checks = all_checks(pool, rounds, folder)
    print(as_table(checks))
    print(f"\ncalibration ratio {max(one.measured / one.promised for one in checks if one.alarm):.3f}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000, help="data sets drawn (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=luck.RUNS, help="records to draw from")
    chosen = parser.parse_args()
    main(chosen.rounds, chosen.runs)
