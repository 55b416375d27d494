"""What would make a benchmark on a data set misleading, as fields; `bench.render.findings` has the words.

`THRESHOLDS` is the only place that says how much of a fault is too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """The kinds of findings, gravest first."""

    FEW_QUESTIONS = "too few test questions"
    PERSONAL = "personal data"
    LEAKED = "answers of the test part in the training part"
    OVERLAP = "near duplicates across the split"
    REFERENCE = "a row without training scores high"
    IN_QUESTION = "answers inside their questions"
    SAME_ANSWER = "the same answer to many questions"
    ONE_WORD = "answers of one word"
    LONG = "answers longer than the limit"
    CONTRADICTION = "several answers to one question"
    DUPLICATES = "rows more than once"
    LANGUAGES = "several languages"
    DAMAGED = "text that was decoded wrongly"


#: Share of the examples above which a fault is a finding; for FEW_QUESTIONS the smallest difference of
#: ROUGE-L that must be seen (the models of this project's boards lie 0.02 to 0.1 apart), for REFERENCE the
#: ROUGE-L that models reach: 0.31 is the best free-running score on held-out course questions that was
#: published (BART, 127 questions), 0.24 was measured here (SmolLM2) and by others (Dolly, OpenLLaMA-3B).
THRESHOLDS: dict[Fault, float] = {
    Fault.FEW_QUESTIONS: 0.05,
    Fault.PERSONAL: 0.0,
    Fault.LEAKED: 0.05,
    Fault.OVERLAP: 0.10,
    Fault.REFERENCE: 0.31,
    Fault.IN_QUESTION: 0.05,
    Fault.SAME_ANSWER: 0.10,
    Fault.ONE_WORD: 0.20,
    Fault.LONG: 0.05,
    Fault.CONTRADICTION: 0.05,
    Fault.DUPLICATES: 0.10,
    Fault.LANGUAGES: 0.02,
    Fault.DAMAGED: 0.0,
}


@dataclass(frozen=True)
class DataFinding:
    """One fault of a data set: `count` of `total` examples.

    `value` and `limit` are set where a score or a length is what is wrong; `names` says which kinds, rows or
    languages; `samples` are texts of examples, in which personal data is masked.
    """

    fault: Fault
    count: int = 0
    total: int = 0
    value: float = 0.0
    limit: float = 0.0
    names: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
