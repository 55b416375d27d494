"""chrF: character n-gram F-score by sacrebleu, whose signature is the metric's identity.

Popović (2015), "chrF: character n-gram F-score for automatic MT evaluation". sacrebleu gives 0 to 100; here a
score is a fraction, as all others are. This is the one module that imports sacrebleu.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.errors import MetricUnavailable


def chrf() -> tuple[Callable[[Sequence[str], str], float], str]:
    """What scores an answer against its references (0 to 1), and sacrebleu's signature of it.

    Raises `MetricUnavailable` where sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import CHRF
    except ImportError:
        raise MetricUnavailable(
            "metric 'chrf' needs sacrebleu; pip install 'bench-sft[scores]', or leave it out of --metrics"
        ) from None
    metric = CHRF()
    metric.sentence_score("a", ["a"])  # before a first score there is no signature
    parts = str(metric.get_signature()).split("|")
    # The number of references is the example's own.
    signature = "|".join("nrefs:var" if part.startswith("nrefs:") else part for part in parts)

    def score(references: Sequence[str], answer: str) -> float:
        return float(metric.sentence_score(answer, list(references)).score) / 100

    return score, signature
