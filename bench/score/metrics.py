"""Further metrics of the `evaluate` library by name, such as `bleu`, beside the project's own ROUGE.

`evaluate` fetches a metric's code from the Hugging Face Hub when it is first used, so every failure to get
one is reported in one line with its remedy. A path of a metric script on this machine is a name too.

These are corpus-level numbers: they accompany a record and never rank it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from numbers import Real
from statistics import fmean
from typing import Any, Protocol

from bench.errors import MetricUnavailable


class Metric(Protocol):
    """What is used of `evaluate.EvaluationModule`."""

    def compute(self, *, predictions: Sequence[str], references: Sequence[Any]) -> Mapping[str, Any] | None:
        """The metric's values by name."""


def load_metric(name: str) -> Metric:
    """The metric that `evaluate` knows by `name`.

    Raises MetricUnavailable when it cannot be had: no `evaluate`, no network, no such metric, or a package
    that the metric needs is missing.
    """
    try:
        evaluate = import_module("evaluate")  # late: it takes seconds, and few runs ask for further metrics
    except ImportError as error:
        raise MetricUnavailable(
            f"metric '{name}': {_line(error)}; install it with: pip install evaluate"
        ) from error
    try:
        metric: Metric = evaluate.load(name)
    except ImportError as error:
        raise MetricUnavailable(
            f"metric '{name}' needs a package: {_line(error)};"
            " install it, or leave the metric out of --metrics"
        ) from error
    except Exception as error:  # the libraries below raise classes that have nothing in common
        raise MetricUnavailable(
            f"metric '{name}' could not be loaded: {_line(error)}; check the name and the network"
            " (it is kept once fetched), or leave it out of --metrics"
        ) from error
    return metric


def score_corpus(metric: Metric, predictions: Sequence[str], references: Sequence[Any]) -> dict[str, float]:
    """The metric's values over all examples, by the metric's own names and in its own units.

    A list with one number per prediction is averaged; what is no number (a hash, n-gram precisions) is left
    out. `references` holds one text, or a list of texts, per prediction.
    """
    values = metric.compute(predictions=predictions, references=references) or {}
    scores: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Real):
            scores[key] = float(value)
        elif _is_per_example(value, len(predictions)):
            scores[key] = fmean(value)
    return scores


def _is_per_example(value: object, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count > 0
        and all(isinstance(number, Real) for number in value)
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
