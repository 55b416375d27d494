"""Looks for what would make a benchmark on a data set misleading.

All checks are of the examples as runs see them: split, deduplicated, with leaks removed. The smallest
difference that the test part can show is that of the two rows that need no model, paired on the same
questions: models that answer in words differ from each other about as much.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from bench import stats
from bench.curate.files.repair import looks_damaged
from bench.curate.fitness import language, personal
from bench.curate.fitness.findings import THRESHOLDS, DataFinding, Fault
from bench.data import prepare, shape
from bench.data.prepare import Prepared
from bench.judge.doubts import LEAKED_SCORE, LEAKED_WORDS
from bench.score.rouge import Rouge
from bench.score.rows import reference_texts, score_texts
from bench.spec import Example

METRIC = "rougeL"
#: Tokens of an English word, where no model's tokenizer counts them.
TOKENS_PER_WORD = 4 / 3
SAMPLES = 3


@dataclass(frozen=True)
class Limits:
    """The parts of a contract that a data set is held against."""

    max_new_tokens: int = 96
    eval_limit: int | None = 200
    #: Tokens of a text by the tokenizer of a model; none estimates them from its words.
    tokens: Callable[[str], int] | None = None

    def length(self, text: str) -> int:
        """Tokens of a text."""
        return self.tokens(text) if self.tokens else round(TOKENS_PER_WORD * len(text.split()))


@dataclass(frozen=True)
class Checked:
    """Findings, gravest first, and the facts behind those that were not made."""

    findings: list[DataFinding]
    #: The smallest true difference of ROUGE-L that is called clear with probability 0.8.
    smallest: float
    #: Row -> mean ROUGE-L of the rows that need no training.
    rows: dict[str, float]
    questions: int
    #: What was looked for.
    faults: tuple[Fault, ...] = tuple(THRESHOLDS)


def check(prepared: Prepared, limits: Limits) -> Checked:
    """The findings about a prepared data set. Raises `DataError` where a part of it is empty."""
    prepare.check_parts(prepared)
    if prepared.is_text:
        return _check_text(prepared)
    tested = prepare.first(prepared.test, limits.eval_limit)
    scores = _reference_scores(tested, prepared.train)
    groups = [example.group for example in tested]
    difference = stats.compare(scores["copy"], scores["nearest"], groups=groups)
    smallest = difference.smallest_detectable()
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    everything = (*prepared.train, *prepared.validation, *prepared.test)
    findings = [
        *_few(tested, smallest),
        *_personal(everything),
        *_leaked(tested, scores["nearest"]),
        *_overlap(prepared.counts),
        *_reference(means, len(tested)),
        *_answers(everything, limits),
        *_repeats(everything, prepared.counts),
        *_texts(everything),
    ]
    order = list(Fault)
    return Checked(
        sorted(findings, key=lambda item: order.index(item.fault)), smallest, means, len(set(groups))
    )


def _check_text(prepared: Prepared) -> Checked:
    """What would mislead in text, which asks nothing."""
    passages = (*prepared.train, *prepared.validation)
    findings = [
        *_personal(passages),
        *_duplicates(prepared.counts),
        *_texts(passages),
    ]
    faults = (Fault.PERSONAL, Fault.DUPLICATES, Fault.LANGUAGES, Fault.DAMAGED)
    return Checked(findings, math.inf, {}, 0, faults)


def _reference_scores(tested: Sequence[Example], train: Sequence[Example]) -> dict[str, list[float]]:
    table = score_texts(Rouge(stemmer=True), tested, reference_texts(tested, train))
    return {name: kinds[METRIC]["f"] for name, kinds in table.items()}


def _few(tested: Sequence[Example], smallest: float) -> Iterator[DataFinding]:
    limit = THRESHOLDS[Fault.FEW_QUESTIONS]
    if len(tested) < prepare.SMALLEST_TEST or smallest > limit:
        yield DataFinding(
            Fault.FEW_QUESTIONS, len(tested), prepare.SMALLEST_TEST, smallest, limit, names=(METRIC,)
        )


def _leaked(tested: Sequence[Example], nearest: Sequence[float]) -> Iterator[DataFinding]:
    words = [len(example.answers[0].split()) for example in tested]
    if sum(words) < LEAKED_WORDS * len(words):
        return  # short answers are equal by chance
    leaked = [example for example, score in zip(tested, nearest, strict=True) if score >= LEAKED_SCORE]
    yield from _above(Fault.LEAKED, leaked, tested, value=LEAKED_SCORE)


def _overlap(counts: dict[str, int]) -> Iterator[DataFinding]:
    parts = {reason: rows for reason, rows in counts.items() if "held-out part" in reason}
    dropped = sum(parts.values())
    if dropped > THRESHOLDS[Fault.OVERLAP] * counts["kept"]:
        names = tuple(f"{rows} {reason}" for reason, rows in parts.items())
        yield DataFinding(Fault.OVERLAP, dropped, counts["kept"], names=names)


def _reference(means: dict[str, float], tested: int) -> Iterator[DataFinding]:
    for name, value in means.items():
        if value > THRESHOLDS[Fault.REFERENCE]:
            yield DataFinding(
                Fault.REFERENCE, tested, tested, value, THRESHOLDS[Fault.REFERENCE], names=(name, METRIC)
            )


def _answers(examples: Sequence[Example], limits: Limits) -> Iterator[DataFinding]:
    yield from _above(Fault.IN_QUESTION, [e for e in examples if _is_given(e)], examples)
    yield from _above(Fault.ONE_WORD, [e for e in examples if len(e.answers[0].split()) == 1], examples)
    lengths = [limits.length(example.answers[0]) for example in examples]
    long = [e for e, length in zip(examples, lengths, strict=True) if length > limits.max_new_tokens]
    yield from _above(Fault.LONG, long, examples, value=max(lengths), limit=limits.max_new_tokens)
    (answer, count), *_ = Counter(shape.fold(example.answers[0]) for example in examples).most_common(1)
    if count > 1:
        same = [example for example in examples if shape.fold(example.answers[0]) == answer]
        yield from _above(Fault.SAME_ANSWER, same, examples)


def _is_given(example: Example) -> bool:
    """Whether the question holds its answer word for word; what a context holds is there to be found."""
    answer = shape.fold(example.answers[0])
    return bool(answer) and f" {answer} " in f" {shape.fold(example.question)} "


def _repeats(examples: Sequence[Example], counts: dict[str, int]) -> Iterator[DataFinding]:
    answers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for example in examples:
        answers[shape.fold(example.question), shape.fold(example.context)].add(shape.fold(example.answers[0]))
    several = [
        example
        for example in examples
        if len(answers[shape.fold(example.question), shape.fold(example.context)]) > 1
    ]
    yield from _above(Fault.CONTRADICTION, several, examples)
    yield from _duplicates(counts)


def _duplicates(counts: dict[str, int]) -> Iterator[DataFinding]:
    twice, read = counts.get("exact duplicate", 0), counts["read"]
    if twice > THRESHOLDS[Fault.DUPLICATES] * read:
        yield DataFinding(Fault.DUPLICATES, twice, read)


def _texts(examples: Sequence[Example]) -> Iterator[DataFinding]:
    damaged = [e for e in examples if any(map(looks_damaged, (e.question, e.context, *e.answers)))]
    yield from _above(Fault.DAMAGED, damaged, examples)
    spoken = Counter(
        language.language(f"{example.question} {example.context} {example.answers[0]}")
        for example in examples
    )
    spoken.pop("", None)
    known = spoken.total()
    others = known - max(spoken.values(), default=0)
    if others > max(THRESHOLDS[Fault.LANGUAGES] * known, 1):
        names = tuple(f"{name} ({count})" for name, count in spoken.most_common())
        yield DataFinding(Fault.LANGUAGES, others, known, names=names)


def _personal(examples: Sequence[Example]) -> Iterator[DataFinding]:
    kinds: dict[str, list[str]] = defaultdict(list)
    bearers = set()
    for example in examples:
        for text in (example.question, example.context, *example.answers):
            for kind, match in personal.found(text):
                kinds[kind].append(personal.masked(match))
                bearers.add(example.id)
    if bearers:
        names = tuple(f"{kind} ({len(matches)})" for kind, matches in kinds.items())
        samples = tuple(dict.fromkeys(chain.from_iterable(kinds.values())))[:SAMPLES]
        yield DataFinding(Fault.PERSONAL, len(bearers), len(examples), names=names, samples=samples)


def _above(
    fault: Fault, faulty: Sequence[Example], among: Sequence[Example], value: float = 0.0, limit: float = 0.0
) -> Iterator[DataFinding]:
    if len(faulty) > THRESHOLDS[fault] * len(among):
        samples = tuple(example.question for example in faulty[:SAMPLES])
        yield DataFinding(fault, len(faulty), len(among), value, limit, samples=samples)
