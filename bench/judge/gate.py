"""Whether a comparison is a reason to stop.

A gate looks at drops only. By row and pooled, each test spends 5% on both directions together, over all
metrics that are judged, so a gate without any change raises a false alarm in at most 5% of cases. What
cannot be judged is no pass: a damaged record, a model of the baseline that is missing or was run under
another contract. Nor is a change on one seed: independent retraining alone turned 20 to 44% of such gates
red. With `--noise-from` it is judged by what retraining did before (`bench.judge.retraining`).
"""

from __future__ import annotations

from bench.judge.compare import Comparison
from bench.judge.pairing import Finding
from bench.spec import called


def problems(comparison: Comparison) -> list[str]:
    """Every reason to stop: models that regressed, models that fail now, and a drift downwards."""
    reasons, lucky = [], comparison.on_one_seed
    for row in comparison.rows:
        if row in lucky:
            continue
        if row.finding == Finding.REGRESSED and row.difference is not None:
            metric = f" {row.metric}" if len(comparison.metrics) > 1 else ""
            by = abs(row.difference.mean)
            reasons.append(f"{called(row.model, row.scale)} regressed by {by:.3f}{metric}")
        elif row.finding == Finding.NEWLY_FAILING:
            reasons.append(f"{called(row.model, row.scale)} fails now: {row.reason}")
    for pooled in comparison.pooled if not lucky else ():
        if pooled.is_drop:
            shift = pooled.shift.interval.mean
            way = "dropped" if shift < 0 else "rose"
            reasons.append(f"all models together {way} by {abs(shift):.3f} {pooled.metric}")
    return reasons


def unjudged(comparison: Comparison, allow_unchanged: bool = False) -> list[str]:
    """What a gate was asked to judge and cannot, by name; what was not run anew counts unless allowed."""
    rows = [
        f"{called(row.model, row.scale)}: {row.reason or row.finding}"
        for row in comparison.rows
        if row.finding in (Finding.INCOMPARABLE, Finding.GONE)
    ]
    if not allow_unchanged:
        remedy = "not run since the baseline was saved; run it, or --allow-unchanged"
        rows += [f"{called(row.model, row.scale)}: {remedy}" for row in comparison.rows if row.is_same_record]
    rows += [
        f"{called(row.model, row.scale)}: one seed a side, and retraining alone moves a score; "
        "run --seeds 0,1,2, or give --noise-from a set of records with several seeds"
        for row in comparison.on_one_seed
    ]
    return list(dict.fromkeys([*rows, *comparison.messages]))


def nothing_new(comparison: Comparison) -> bool:
    """Whether every row is the baseline's own record."""
    return not any(row.difference or row.finding == Finding.NEWLY_FAILING for row in comparison.rows)
