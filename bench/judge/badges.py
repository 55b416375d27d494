"""What a reader must know about a row before trusting its number: short names with a reason each.

A badge never changes a rank; a row that may not be ranked is in another table or is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.store.record import Record

#: Share of answers at the limit of new tokens from which a row says so.
MANY_CUT = 0.1


@dataclass(frozen=True)
class Badge:
    """A note on a row: two words, the sentence behind them, and how much of it this row has."""

    name: str
    reason: str
    amount: str = ""


def badges(records: Sequence[Record]) -> tuple[Badge, ...]:
    """The badges of one row, from the records of its seeds."""
    found: list[tuple[str, ...]] = []
    first = records[0]
    fallbacks = dict.fromkeys(reason for record in records for reason in record.backend.fallbacks)
    if fallbacks:
        found.append(("fallback", "; ".join(fallbacks)))
    if len(records) == 1:
        found.append(("one seed", "trained once: how much training luck moves this score was not measured"))
    if first.run.scale == "mini":
        found.append(
            ("mini", "a miniature twin: says whether the harness learns, not how good the checkpoint is")
        )
    found += _weights(records)
    if first.run.template != first.run.contract.template:
        found.append(
            ("own template", f"prompted with '{first.run.template}', as its published recipe needs it")
        )
    found += _training(records) + _answers(records)
    if any(record.provenance.dirty for record in records):
        found.append(("dirty tree", "the program's source had changes that no commit holds"))
    return tuple(Badge(*one) for one in found)


def _weights(records: Sequence[Record]) -> list[tuple[str, ...]]:
    badges: list[tuple[str, ...]] = []
    stored = records[0].run.checkpoint.dequantised_from
    if stored:
        badges.append(("dequantised", f"weights dequantised from {stored}, not the published ones"))
    sentences = dict.fromkeys(record.backend.end_token for record in records if record.backend.end_token)
    if sentences:
        badges.append(("end token", "; ".join(sentences)))
    return badges


def _training(records: Sequence[Record]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    first = records[0]
    there, seen = first.data.selected.get("train", 0), first.spent.examples
    if 0 < there < seen:
        found.append(
            ("repeated epochs", f"{seen} examples seen of {there} there are: {seen / there:.1f} epochs")
        )
    cut = max(record.spent.truncated for record in records)
    if cut:
        limit = first.run.contract.max_length
        found.append(("truncated", f"training examples were cut to {limit} tokens", str(cut)))
    return found


def _answers(records: Sequence[Record]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    written = [record.written["tuned"] for record in records if "tuned" in record.written]
    total = sum(one.examples for one in written)
    cut, empty = sum(one.truncated for one in written), sum(one.empty for one in written)
    if total and cut / total >= MANY_CUT:
        limit = records[0].run.contract.decoding.max_new_tokens
        reason = f"answers that reached the limit of {limit} new tokens"
        found.append(("cut answers", reason, f"{cut} of {total}"))
    if empty:
        found.append(("empty answers", "answers without a word", f"{empty} of {total}"))
    return found
