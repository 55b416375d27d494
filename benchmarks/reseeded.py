"""Do other seeds land where the board says?  `python -m benchmarks.reseeded BOARD OTHER`.

Both are folders of records of one plan under different seeds, such as `reports/twins` and what
`bench run --models all --seeds 5,6,7,8,9 --out other` leaves. Printed are each model's score with its 95%
interval on the board, its score under the other seeds, and the shift of all models together, which has to be
silent: the k-th seed of one folder is set against the k-th of the other. The last line is
`reseeded ratio VALUE`: the share of models inside their intervals.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.judge.board import board
from bench.stats import PooledShift, pooled_shift
from bench.store.ledger import Ledger, Stored

METRIC = "rougeL"


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", type=Path)
    parser.add_argument("other", type=Path)
    asked = parser.parse_args()
    ours, theirs = (Ledger(folder).load()[0] for folder in (asked.board, asked.other))
    means = {row.model: row.tuned[METRIC].mean for row in board(theirs).groups[0].rows}
    inside = 0
    for row in board(ours).groups[0].rows:
        span = row.tuned[METRIC]
        held = span.low <= means[row.model] <= span.high
        inside += held
        print(
            f"{row.model:<18} {span.mean:.4f} [{span.low:.4f}, {span.high:.4f}]  "
            f"other seeds {means[row.model]:.4f}  {'inside' if held else 'OUTSIDE'}"
        )
    shift = drift(ours, theirs)
    span, told = shift.interval, "a drift" if shift.drifted() else "no drift"
    print(
        f"all models together {span.mean:+.4f} [{span.low:+.4f}, {span.high:+.4f}], p {shift.p:.2f}: {told}"
    )
    print(f"reseeded ratio {inside / len(means):.3f}")


def drift(ours: list[Stored], theirs: list[Stored]) -> PooledShift:
    """The shift of all models together from one set of seeds to the other."""
    before, after = _tables(ours), _tables(theirs)
    if set(before) != set(after) or any(before[model].shape != after[model].shape for model in before):
        raise SystemExit("the two folders hold other models, or another number of seeds or questions")
    return pooled_shift([after[model] - before[model] for model in sorted(before)], common=True)


def _tables(stored: list[Stored]) -> dict[str, NDArray[np.float64]]:
    """Model -> its scores (seeds, questions), by seed."""
    rows: dict[str, dict[int, list[float]]] = defaultdict(dict)
    for item in stored:
        rows[item.record.run.name][item.record.run.seed] = item.scores["rows"]["tuned"][METRIC]["f"]
    return {model: np.array([scores[seed] for seed in sorted(scores)]) for model, scores in rows.items()}


if __name__ == "__main__":
    main()
