"""The rows of a run's score table: tuned, base, and the two that need no training.

Scores are kept per example, because a mean cannot be compared in pairs, split by unit or
explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import stats
from bench.record import Estimate
from bench.score.reference_rows import NearestAnswer, copy_question
from bench.score.rouge import Rouge
from bench.spec import Example

#: row -> metric -> "p", "r", "f" -> one value per example
Table = dict[str, dict[str, dict[str, list[float]]]]
DECIMALS = 6


def reference_texts(examples: Sequence[Example], train: Sequence[Example]) -> dict[str, list[str]]:
    """What the rows answer that need no model."""
    nearest = NearestAnswer((example.question, example.answers[0]) for example in train)
    return {
        "copy": [copy_question(example.question) for example in examples],
        "nearest": [nearest.answer(example.question) for example in examples],
    }


def score_texts(rouge: Rouge, examples: Sequence[Example], texts: dict[str, list[str]]) -> Table:
    """ROUGE of each row's texts against the examples' references."""
    table: Table = {}
    for row, answers in texts.items():
        columns = {kind: {"p": [], "r": [], "f": []} for kind in Rouge.KINDS}  # type: dict[str, dict[str, list[float]]]
        for example, answer in zip(examples, answers, strict=True):
            for kind, value in rouge.score(example.answers, answer).items():
                columns[kind]["p"].append(round(value.precision, DECIMALS))
                columns[kind]["r"].append(round(value.recall, DECIMALS))
                columns[kind]["f"].append(round(value.f, DECIMALS))
        table[row] = columns
    return table


def summarised(table: Table) -> dict[str, dict[str, Estimate]]:
    """Row -> metric -> mean F with its 95% interval."""
    return {
        row: {kind: _estimate(stats.mean_interval(columns["f"])) for kind, columns in kinds.items()}
        for row, kinds in table.items()
    }


def gains(table: Table, groups: Sequence[str]) -> dict[str, Estimate]:
    """Metric -> paired difference of tuned over base in F, with its 95% interval."""
    return {
        kind: _estimate(stats.paired_interval(table["base"][kind]["f"], columns["f"], groups))
        for kind, columns in table["tuned"].items()
    }


def _estimate(interval: Any) -> Estimate:
    return Estimate(mean=interval.mean, low=interval.low, high=interval.high)
