"""Findings about a data set in words: what is wrong, how much of it there is, and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bench.curate.fitness.checks import Checked
from bench.curate.fitness.findings import DataFinding, Fault
from bench.render import words

_ROWS = {"copy": "a copy of the question", "nearest": "the answer of the nearest training question"}


def _few(finding: DataFinding) -> str:
    if math.isinf(finding.value):
        return f"{finding.count} test questions show no difference between models at all"
    return (
        f"{finding.count} test questions show differences of {finding.names[0]} from "
        f"{words.score(finding.value)} on, and models are often {words.score(finding.limit)} apart or less"
    )


def _share(text: str) -> Callable[[DataFinding], str]:
    return lambda finding: f"{finding.count:,} of {finding.total:,} {text}"


def _listed(text: str) -> Callable[[DataFinding], str]:
    return lambda finding: f"{finding.count:,} of {finding.total:,} {text}: {', '.join(finding.names)}"


def _reference(finding: DataFinding) -> str:
    return (
        f"{_ROWS[finding.names[0]]} scores {words.score(finding.value)} {finding.names[1]}, and tuned models "
        f"seldom reach {words.score(finding.limit)}"
    )


def _long(finding: DataFinding) -> str:
    return (
        f"{finding.count:,} of {finding.total:,} answers are longer than the {finding.limit:.0f} tokens that "
        f"are generated (the longest {finding.value:,.0f})"
    )


#: Fault -> its sentence and its remedy.
WORDS: dict[Fault, tuple[Callable[[DataFinding], str], str]] = {
    Fault.FEW_QUESTIONS: (_few, "add rows, raise --test-fraction, or raise --eval-limit where it binds"),
    Fault.PERSONAL: (
        _listed("examples hold what looks like personal data or a secret"),
        "remove or replace it before you train: a tuned model repeats it",
    ),
    Fault.LEAKED: (
        _share("test questions are answered by a training answer nearly word for word"),
        "give rows that say the same one 'group', so that they stay on one side of the split",
    ),
    Fault.OVERLAP: (
        _listed("rows are dropped from training because the test part has them"),
        "give rows that say the same one 'group', or remove the repetitions",
    ),
    Fault.REFERENCE: (
        _reference,
        "questions and answers share too much; remove rows that repeat the question or one answer, and "
        "compare models with this row",
    ),
    Fault.IN_QUESTION: (
        _share("answers stand in their questions word for word"),
        "ask without giving the answer away, or remove these rows",
    ),
    Fault.SAME_ANSWER: (
        _share("questions have one and the same answer"),
        "a model that always says it scores; leave a few of these rows",
    ),
    Fault.ONE_WORD: (
        _share("answers are one word, which ROUGE scores as all or nothing"),
        "write whole sentences, or read the exact matches instead",
    ),
    Fault.LONG: (_long, "raise --max-new-tokens, or shorten the answers: the rest is never scored"),
    Fault.CONTRADICTION: (
        _share("examples have a question that has several different answers"),
        "keep the right one, or list them as the answers of one row",
    ),
    Fault.DUPLICATES: (
        _share("rows are exact repetitions, which are dropped"),
        "look at how the rows were made",
    ),
    Fault.LANGUAGES: (
        _listed("examples are in another language than the most"),
        "make a data set for each language: a mean over both tells nothing about either",
    ),
    Fault.DAMAGED: (
        _share("examples hold text that was decoded wrongly"),
        "mend it by: bench data import FILE --to NAME (with the extra bench-sft[data])",
    ),
}


def text(checked: Checked, name: str) -> str:
    """All findings with their remedies, and what was looked for in vain."""
    lines = []
    for finding in checked.findings:
        sentence, remedy = in_words(finding)
        lines += [f"{finding.fault}: {sentence}", f"    {remedy}"]
        lines += [f"    e.g. {sample[:90]}" for sample in finding.samples]
    clean = [str(fault) for fault in checked.faults if fault not in {item.fault for item in checked.findings}]
    if clean:
        lines += ["", f"not found: {', '.join(clean)}"]
    rows = ", ".join(f"{_ROWS[row]} {words.score(value)}" for row, value in checked.rows.items())
    lines += [f"rows that need no training, ROUGE-L: {rows}"] if rows else []
    if not math.isinf(checked.smallest):
        lines += [
            f"smallest difference that {checked.questions} questions show: {words.score(checked.smallest)}"
        ]
    verdict = (
        f"{len(checked.findings)} findings" if checked.findings else "nothing that would mislead was found"
    )
    return "\n".join([*lines, f"{name}: {verdict}"])


def in_words(finding: DataFinding) -> tuple[str, str]:
    """What is wrong, and the remedy."""
    sentence, remedy = WORDS[finding.fault]
    return sentence(finding), remedy


def as_data(findings: Sequence[DataFinding]) -> list[dict[str, object]]:
    """Findings for `--json`."""
    return [
        {
            "fault": finding.fault.name.lower(),
            "count": finding.count,
            "total": finding.total,
            "sentence": in_words(finding)[0],
            "remedy": in_words(finding)[1],
            "samples": list(finding.samples),
        }
        for finding in findings
    ]
