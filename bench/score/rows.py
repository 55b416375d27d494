"""The rows of a run's score table: tuned, base, and the two that need no training.

Scores are kept per example, because a mean cannot be compared in pairs, split by group or explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import stats
from bench.score.metrics import load_metric, score_corpus
from bench.score.reference_rows import NearestAnswer
from bench.score.rouge import Rouge
from bench.spec import Example
from bench.store.record import BASE, BASE_CHAT

#: row -> metric -> "p", "r", "f" -> one value per example
Table = dict[str, dict[str, dict[str, list[float]]]]
DECIMALS = 6
#: The metric by which the better of two rows of the untuned model is chosen.
MAIN = "rougeL"


@dataclass(frozen=True)
class Scores:
    """Every score of one run."""

    table: Table
    #: Row -> metric -> mean F with its 95% interval.
    means: dict[str, dict[str, stats.Interval]]
    #: Metric -> paired difference of tuned over `gain_over` in F, with its 95% interval.
    gain: dict[str, stats.Interval]
    #: Of the untuned model's rows, the one that scores best.
    gain_over: str
    #: Row -> name -> value over the whole corpus, of further `evaluate` metrics.
    further: dict[str, dict[str, float]]


def score_run(
    rouge: Rouge,
    examples: Sequence[Example],
    pool: Sequence[Example],
    answers: dict[str, list[str]],
    metrics: Sequence[str] = (),
) -> Scores:
    """Score "tuned", the rows of the untuned model and the reference rows on the same examples.

    Where the untuned model answered in two templates, the gain is over the row with the higher mean `MAIN`.
    `pool` holds the training examples, among which the nearest answer is looked up; `metrics` names
    further `evaluate` metrics.
    """
    texts = {**answers, **reference_texts(examples, pool)}
    table = score_texts(rouge, examples, texts)
    groups = [example.group or example.id for example in examples]
    estimates = means(table, groups)
    untuned = [row for row in (BASE, BASE_CHAT) if row in answers]
    over = max(untuned, key=lambda row: estimates[row][MAIN].mean)
    gain = {
        kind: stats.paired_interval(table[over][kind]["f"], columns["f"], groups)
        for kind, columns in table["tuned"].items()
    }
    return Scores(table, estimates, gain, over, _further(metrics, texts, examples))


def reference_texts(examples: Sequence[Example], train: Sequence[Example]) -> dict[str, list[str]]:
    """What the rows answer that need no model; where text is trained on, no question is the nearest."""
    copied = {"copy": [example.question for example in examples]}
    if any(example.is_text for example in train):
        return copied
    nearest = NearestAnswer((example.question, example.answers[0]) for example in train)
    return copied | {"nearest": [nearest.answer(example.question) for example in examples]}


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


def means(table: Table, groups: Sequence[str]) -> dict[str, dict[str, stats.Interval]]:
    """Row -> metric -> mean F with its 95% interval, which never leaves 0 to 1; paraphrases count once."""
    return {
        row: {
            kind: stats.mean_interval(columns["f"], groups=groups).within(0, 1)
            for kind, columns in kinds.items()
        }
        for row, kinds in table.items()
    }


def _further(
    names: Sequence[str], texts: dict[str, list[str]], examples: Sequence[Example]
) -> dict[str, dict[str, float]]:
    references = [example.answers[0] for example in examples]
    values: dict[str, dict[str, float]] = {}
    for name in names:
        metric = load_metric(name)
        for row, answers in texts.items():
            values.setdefault(row, {}).update(score_corpus(metric, answers, references))
    return values
