"""Whether a comparison is a reason to stop.

A gate looks at drops only. By row and pooled, each test spends 5% on both directions together, so a gate
without any change raises a false alarm in at most 5% of cases.
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
