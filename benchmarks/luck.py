"""Do the promises hold where seeds share their luck, answers hardly change, and tests are small?

Part of `python -m benchmarks.calibration`.  What a seed does to the models is drawn from the records under
`reports/twins/runs`: the deviations of each model's seeds from its mean, all models of one seed together, so
luck that they share stays shared.  Tables are judged by `bench.judge.verdicts.judge`, as `compare` and `gate`
do, over all four metrics.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.judge.pairing import Finding
from bench.judge.retraining import Retraining
from bench.judge.verdicts import judge
from bench.stats import (
    Noise,
    SeedEffects,
    compare,
    mean_interval,
    pooled_shift,
    rank_ranges,
)

Floats = NDArray[np.float64]

RUNS = Path("reports/twins/runs")
METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
CALLED = (Finding.IMPROVED, Finding.REGRESSED)
#: Of a made table, where there are no records: training deviation, and the models' common share of variance.
DEVIATION, SHARED = 0.0052, 0.27
MODELS = 8


def metric_pool(folder: Path = RUNS) -> Floats | None:
    """Real F scores of runs that share their examples, (runs, metrics, examples); None without records."""
    by_ids: dict[tuple[str, ...], list[list[list[float]]]] = defaultdict(list)
    for path in sorted(folder.glob("*/scores.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        rows = stored["rows"]["tuned"]
        by_ids[tuple(stored["ids"])].append([rows[metric]["f"] for metric in METRICS])
    return np.array(max(by_ids.values(), key=len)) if by_ids else None


def real_luck(folder: Path = RUNS) -> Floats:
    """What seeds did to models, (seeds, models), in ROUGE-L: all models of one seed in one row."""
    means: dict[int, dict[str, float]] = defaultdict(dict)
    for path in sorted(folder.glob("*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        run = record["run"]
        means[run["seed"]][run["model"]["name"]] = record["scores"]["tuned"]["rougeL"]["mean"]
    models = set.intersection(*(set(row) for row in means.values())) if means else set()
    if len(means) < 3 or len(models) < MODELS:
        return made_luck(np.random.default_rng(0), 1000)
    table = np.array([[row[model] for model in sorted(models)] for _, row in sorted(means.items())])
    deviations: Floats = (table - table.mean(axis=0)) * (len(table) / (len(table) - 1)) ** 0.5
    return deviations


def made_luck(
    draw: np.random.Generator, seeds: int, deviation: float = DEVIATION, noisiest: float = 1.0
) -> Floats:
    """The same drawn: (seeds, models), the last model `noisiest` times as noisy as the others."""
    own = np.ones(MODELS)
    own[-1] = noisiest
    together = SHARED**0.5 * draw.standard_normal((seeds, 1))
    luck: Floats = deviation * (together + (1 - SHARED) ** 0.5 * own * draw.standard_normal((seeds, MODELS)))
    return luck


def known_noise(folder: Path = RUNS) -> Retraining:
    """What a long history would know of this luck, models named by their places: "0", "1", …"""
    effects = real_luck(folder)
    shared = float(effects.mean(axis=1).var(ddof=1)) if len(effects) > 2 else 0.0
    total = float(effects.var())
    parts = (total, max(total - shared, 0.0), shared)
    known = SeedEffects(*(Noise(part, 2 * part**2 / 20) for part in parts))
    alone = {
        (str(place), "", metric): float(variance)
        for place, variance in enumerate(effects.var(axis=0))
        for metric in METRICS
    }
    return Retraining(dict.fromkeys(METRICS, known), alone)


def unchanged(draw: np.random.Generator, pool: Floats, examples: int, seeds: int) -> tuple[Floats, Floats]:
    """Two sides (models, metrics, seeds, examples) that differ by chance alone, luck not yet added.

    Each is the scores of two real runs, swapped at random example by example, the same for all metrics.
    """
    chosen = draw.integers(pool.shape[2], size=examples)
    pairs = np.array([draw.choice(len(pool), 2, replace=False) for _ in range(MODELS * seeds)])
    swap = draw.random((MODELS * seeds, 1, examples)) < 0.5
    first, second = pool[pairs[:, 0]][:, :, chosen], pool[pairs[:, 1]][:, :, chosen]
    shape = (MODELS, seeds, pool.shape[1], examples)
    sides = np.where(swap, second, first), np.where(swap, first, second)
    a, b = (side.reshape(shape).transpose(0, 2, 1, 3) for side in sides)
    return a, b


def false_gates(
    pool: Floats, luck: Floats, rounds: int, examples: int, seeds: int, noise: Retraining | None = None
) -> tuple[float, float]:
    """How often an unchanged table over all metrics holds a verdict, and how often its drift is called."""
    draw = np.random.default_rng(examples + seeds)
    called = drift = 0
    for _ in range(rounds):
        a, b = unchanged(draw, pool, examples, seeds)
        moved = luck[draw.integers(len(luck), size=seeds)] - luck[draw.integers(len(luck), size=seeds)]
        change = b - a + moved.T[:, None, :, None]
        rows = [table for model in change for table in model]
        shared = noise.shared("rougeL") if noise else None
        known = (
            [noise.of(str(place), "", metric) for place in range(MODELS) for metric in METRICS]
            if noise
            else None
        )
        judged = judge(rows, noise=known, common=seeds > 1, metrics=METRICS * MODELS)
        called += any(row.finding in CALLED for row in judged)
        drift += pooled_shift(list(change[:, 2]), flips=1, common=seeds > 1, shared=shared).drifted()
    return called / rounds, drift / rounds


def board_intervals(
    pool: Floats, rounds: int, examples: int, seeds: int, noisiest: float = 1.0
) -> tuple[float, float, float]:
    """How often a model's interval on a board, the last model's, and all rank ranges hold the truth."""
    draw = np.random.default_rng(examples + 10 * seeds)
    main = pool[:: len(pool) // MODELS][:MODELS, 2]
    truth = main.mean(axis=1)
    ranks = 1 + (truth[None, :] > truth[:, None]).sum(axis=1)
    held = last = ranked = 0
    for _ in range(rounds):
        chosen = draw.integers(main.shape[1], size=examples)
        scores = main[:, None, chosen] + made_luck(draw, seeds, noisiest=noisiest).T[:, :, None]
        scores = scores + 0.05 * draw.standard_normal(scores.shape)
        inside = []
        for place in (int(draw.integers(MODELS)), MODELS - 1):
            estimate = mean_interval(scores[place])
            inside.append(bool(estimate.low <= truth[place] <= estimate.high))
        held, last = held + inside[0], last + inside[1]
        spans = rank_ranges(list(scores), common=True)
        ranked += all(low <= rank <= high for (low, high), rank in zip(spans, ranks, strict=True))
    return held / rounds, last / rounds, ranked / rounds


def sparse_changes(rounds: int, changed: int, examples: int = 200) -> float:
    """How often the interval of a change of few answers, zero on average, leaves out zero."""
    draw = np.random.default_rng(changed)
    out = 0
    for _ in range(rounds):
        change = np.zeros(examples)
        change[draw.choice(examples, changed, replace=False)] = draw.laplace(0, 0.15, changed)
        estimate = compare(np.zeros(examples), change).interval
        out += not estimate.low <= 0 <= estimate.high
    return out / rounds


def stated_power(pool: Floats, rounds: int, examples: int, seeds: int, noisiest: float = 1.0) -> float:
    """How often a drop of the size that a table states for its last row is found when all is repeated."""
    draw = np.random.default_rng(examples + 100 * seeds)
    found = 0
    for _ in range(rounds):
        stated = judge(_retrained(draw, pool, examples, seeds, noisiest))[-1].smallest
        again = _retrained(draw, pool, examples, seeds, noisiest)
        again[-1] = again[-1] - stated
        found += judge(again)[-1].finding is Finding.REGRESSED
    return found / rounds


def _retrained(
    draw: np.random.Generator, pool: Floats, examples: int, seeds: int, noisiest: float
) -> list[Floats]:
    """Differences (seeds, examples) of models trained again with seeds of their own."""
    a, b = unchanged(draw, pool, examples, seeds)
    moved = made_luck(draw, seeds, noisiest=noisiest) - made_luck(draw, seeds, noisiest=noisiest)
    return list((b - a)[:, 2] + moved.T[:, :, None])
