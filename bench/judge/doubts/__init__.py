"""What makes a number doubtful, as fields; `bench.render.doubts` puts it into words.

A doubt changes no rank and stops nothing: a row that may not be ranked is refused or stands in another
table. Doubts about one row need its records alone. Those that compare rows or need scores per example are
in `bench.judge.doubts.table`. `THRESHOLDS` is the only place that says how much of a fault is too much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.stats import Interval
from bench.store.record import BASE, BASE_CHAT, Record


class Code(StrEnum):
    """The kinds of doubt; the first group is about one row, the second about its scores or its table."""

    FALLBACK = "fallback"
    ONE_SEED = "one-seed"
    MINI = "mini"
    DEQUANTISED = "dequantised"
    ADAPTER = "adapter"
    END_TOKEN = "end-token"
    OWN_TEMPLATE = "own-template"
    CHAT_BASE = "chat-base"
    TUNED = "tuned"
    REPEATED_EPOCHS = "repeated-epochs"
    TRUNCATED_TRAINING = "truncated-training"
    CUT_PROMPTS = "cut-prompts"
    CUT_ANSWERS = "cut-answers"
    EMPTY_ANSWERS = "empty-answers"
    ECHOED_ANSWERS = "echoed-answers"
    ALIKE_ANSWERS = "alike-answers"
    SMALLER_BATCH = "smaller-batch"
    DIRTY_TREE = "dirty-tree"

    UNEQUAL_EFFORT = "unequal-effort"
    MIXED_HARDWARE = "mixed-hardware"
    OVERLAP = "overlap"
    LEAK = "leak"
    EQUALS_REFERENCE = "equals-reference"
    BELOW_REFERENCE = "below-reference"
    FEW_EXAMPLES = "few-examples"


#: Share of a row's answers above which a fault is a doubt; for ALIKE_ANSWERS, the share of distinct
#: answers up to which they are all alike.
THRESHOLDS = {
    Code.CUT_ANSWERS: 0.05,
    Code.EMPTY_ANSWERS: 0.0,
    Code.ECHOED_ANSWERS: 0.05,
    Code.ALIKE_ANSWERS: 0.10,
    Code.LEAK: 0.05,
}
#: LEAK counts test questions to which the nearest training answer scores this ROUGE or more: none of the
#: course questions, 0.3% of Dolly's. One-word answers are equal by chance, so it is only asked where
#: reference answers have so many words on average.
LEAKED_SCORE = 0.8
LEAKED_WORDS = 8


@dataclass(frozen=True)
class Doubt:
    """One doubt about a row, or about a whole table where `model` is empty.

    Which fields are set depends on the code: `count` of `total` things, `names` (a data set, a reference
    row, reasons of a fallback), `values` (the scores that are compared, in the metric's units), and the
    paired `difference` of the two.
    """

    code: Code
    model: str = ""
    count: int = 0
    total: int = 0
    names: tuple[str, ...] = ()
    #: Label -> count, where a total has parts.
    parts: tuple[tuple[str, int], ...] = ()
    metric: str = ""
    values: tuple[float, ...] = ()
    difference: Interval | None = None


def row_doubts(records: Sequence[Record]) -> tuple[Doubt, ...]:
    """The doubts about one row, from the records of its seeds."""
    return (*_circumstances(records), *_training(records), *_answers(records), *_tree(records))


def _circumstances(records: Sequence[Record]) -> Iterator[Doubt]:
    run = records[0].run
    reasons = dict.fromkeys(reason for record in records for reason in record.backend.fallbacks)
    if reasons:
        yield Doubt(Code.FALLBACK, run.name, names=tuple(reasons))
    if len(records) == 1 and run.trained:
        yield Doubt(Code.ONE_SEED, run.name)
    if run.scale == "mini":
        yield Doubt(Code.MINI, run.name)
    if run.checkpoint.dequantised_from:
        yield Doubt(Code.DEQUANTISED, run.name, names=(run.checkpoint.dequantised_from,))
    if base := run.checkpoint.base:
        names = (run.checkpoint.source, str(run.checkpoint.adapter)[:8], base.revision[:8])
        yield Doubt(Code.ADAPTER, run.name, names=names)
    disagreements = dict.fromkeys(filter(None, (record.backend.end_token for record in records)))
    if disagreements:
        yield Doubt(Code.END_TOKEN, run.name, names=tuple(disagreements))
    if run.template != run.contract.template:
        yield Doubt(Code.OWN_TEMPLATE, run.name, names=(run.template,))
    bases = [records[0].scores[row]["rougeL"].mean for row in (BASE, BASE_CHAT) if row in records[0].scores]
    if len(set(bases)) > 1:
        yield Doubt(Code.CHAT_BASE, run.name, names=(run.template,), values=tuple(bases))
    if run.tuned_in:
        yield Doubt(Code.TUNED, run.name, count=run.tuned_in)


def _training(records: Sequence[Record]) -> Iterator[Doubt]:
    first = records[0]
    available, seen = first.data.selected.get("train", 0), first.spent.examples
    if 0 < available < seen:
        yield Doubt(Code.REPEATED_EPOCHS, first.run.name, count=seen, total=available)
    truncated = max(record.spent.truncated for record in records)
    if truncated:
        limit = first.run.contract.max_length
        yield Doubt(Code.TRUNCATED_TRAINING, first.run.name, count=truncated, values=(limit,))
    if cut := max(record.data.cut_prompts or 0 for record in records):
        contract = first.run.contract
        room = contract.max_length - contract.decoding.max_new_tokens
        total = first.written["tuned"].examples if "tuned" in first.written else cut
        yield Doubt(Code.CUT_PROMPTS, first.run.name, count=cut, total=total, values=(room,))


def _answers(records: Sequence[Record]) -> Iterator[Doubt]:
    run = records[0].run
    seeds = [record.written["tuned"] for record in records if "tuned" in record.written]
    total = sum(written.examples for written in seeds)
    if not total:
        return
    faults = {
        Code.CUT_ANSWERS: sum(written.truncated for written in seeds),
        Code.EMPTY_ANSWERS: sum(written.empty for written in seeds),
        Code.ECHOED_ANSWERS: sum(written.echoed for written in seeds),
    }
    for code, count in faults.items():
        if count > THRESHOLDS[code] * total:
            yield Doubt(code, run.name, count, total, values=(run.contract.decoding.max_new_tokens,))
    worst = min(seeds, key=lambda written: written.distinct / max(written.examples, 1))
    if worst.examples > 1 and worst.distinct <= max(1, THRESHOLDS[Code.ALIKE_ANSWERS] * worst.examples):
        yield Doubt(Code.ALIKE_ANSWERS, run.name, worst.distinct, worst.examples)
    yield from _batches(records)


def _batches(records: Sequence[Record]) -> Iterator[Doubt]:
    """Answers in smaller batches than the contract's, which memory did not allow."""
    run = records[0].run
    rows = [written for record in records for written in record.written.values()]
    smallest = min((written.batch for written in rows if written.batch), default=run.contract.decoding.batch)
    if smallest < run.contract.decoding.batch:
        yield Doubt(Code.SMALLER_BATCH, run.name, smallest, run.contract.decoding.batch)


def _tree(records: Sequence[Record]) -> Iterator[Doubt]:
    if any(record.provenance.dirty for record in records):
        yield Doubt(Code.DIRTY_TREE, records[0].run.name)
