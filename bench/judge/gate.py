"""Whether a comparison is a reason to stop.

A gate looks at drops only. By row and pooled, each test spends 5% on both directions together, so a gate
without any change raises a false alarm in at most 5% of cases. What cannot be judged is no pass: a damaged
record, a model of the baseline that is missing or was run under another contract.
"""

from __future__ import annotations

from bench.judge.compare import Comparison
from bench.judge.pairing import Finding


def problems(comparison: Comparison) -> list[str]:
    """Every reason to stop: models that regressed, models that fail now, and a drift downwards."""
    reasons = []
    for row in comparison.rows:
        if row.finding == Finding.REGRESSED and row.difference is not None:
            where = row.metric if len(comparison.metrics) > 1 else row.scale
            reasons.append(f"{row.model} ({where}) regressed by {-row.difference.mean:.3f}")
        elif row.finding == Finding.NEWLY_FAILING:
            reasons.append(f"{row.model} ({row.scale}) fails now: {row.reason}")
    for pooled in comparison.pooled:
        if pooled.drift and pooled.shift.interval.mean < 0:
            reasons.append(
                f"all models together dropped by {-pooled.shift.interval.mean:.3f} {pooled.metric}"
            )
    return reasons


def unjudged(comparison: Comparison) -> list[str]:
    """What a gate was asked to judge and cannot, by name."""
    rows = [
        f"{row.model} ({row.scale}): {row.reason or row.finding}"
        for row in comparison.rows
        if row.finding in (Finding.INCOMPARABLE, Finding.GONE)
    ]
    return list(dict.fromkeys([*rows, *comparison.messages]))


def nothing_new(comparison: Comparison) -> bool:
    """Whether every row is the baseline's own record."""
    return not any(row.difference or row.finding == Finding.NEWLY_FAILING for row in comparison.rows)
