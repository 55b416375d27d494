"""To tune or to retrieve: the arms of a board's rows side by side, as text and as markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.judge.beside.arms import PAIRS, ROWS, ArmsEstimate
from bench.judge.board import BoardRow, Group
from bench.render import facts, words
from bench.render.tables import clip, columns, md, pipes
from bench.stats import Interval

TITLE = "To tune or to retrieve"
LABELS = {"base": "untuned", "tuned": "tuned", "retrieved": "retrieved", "both": "both"}
#: Their intervals stand in the table above.
SHOWN = ("base", "tuned")
#: How a difference is called.
OVER = {
    ("tuned", "retrieved"): "tuning over retrieval",
    ("both", "tuned"): "both over tuning alone",
    ("both", "retrieved"): "both over retrieval alone",
    ("retrieved", "base"): "retrieval over the untuned model",
}
LONGEST_NAME = 18


def terminal(group: Group) -> list[str]:
    """A table of means, then sentences; no line where no row has arms."""
    held = _held(group)
    if not held:
        return []
    names = _rows(held)
    head = ["Model", *(LABELS[name] if name in SHOWN else f"{LABELS[name]}  [95%]" for name in names)]
    table = [
        [clip(facts.name(row), LONGEST_NAME), *(_cell(arms.means.get(name), name in SHOWN) for name in names)]
        for row, arms in held
    ]
    return ["", TITLE, *columns([head, *table])]


def notes(group: Group) -> list[str]:
    """The differences of each row in words, and what retrieval cost."""
    held = _held(group)
    lines = [f"{facts.name(row)}: {differences(arms)}." for row, arms in held]
    prices: dict[str, list[str]] = {}
    for row, arms in held:
        prices.setdefault(price(arms), []).append(facts.name(row))
    alike = len(prices) == 1
    return lines + [text if alike else f"{', '.join(who)}: {text}" for text, who in prices.items()]


def markdown(group: Group) -> list[str]:
    """The same for a document."""
    if not (rows := side_by_side(group)):
        return []
    return ["", f"### {TITLE}", "", *pipes(rows), "", *(f"- {md(line)}" for line in notes(group))]


def side_by_side(group: Group) -> list[list[str]]:
    """A table of every mean and every difference, its head first; empty where no row has arms."""
    held = _held(group)
    if not held:
        return []
    names = _rows(held)
    pairs = [pair for pair in PAIRS if any(pair in arms.differences for _, arms in held)]
    head = ["Model", *(f"{LABELS[name]} (95%)" for name in names), *(f"{OVER[pair]} (95%)" for pair in pairs)]
    table = [head]
    for row, arms in held:
        cells = [_score(arms.means.get(name)) for name in names]
        cells += [_change(arms.differences.get(pair)) for pair in pairs]
        table.append([facts.sized_name(row), *cells])
    return table


def differences(arms: ArmsEstimate) -> str:
    """Every paired difference: `tuning over retrieval +0.031 (+0.012 to +0.050)`."""
    return ", ".join(f"{OVER[pair]} {_change(value)}" for pair, value in arms.differences.items())


def price(arms: ArmsEstimate) -> str:
    """What was found and what it took, in a sentence or two."""
    its = arms.facts
    recall = f"recall@{arms.rows} {words.score(its.recall)}" if its.recall is not None else "no recall"
    helped = f"of {its.recall_questions} questions that some training answer would help"
    if its.recall_passages:
        helped = f"of {its.recall_questions} questions, {its.recall_passages} by the passage of their own"
    indexed = [f"{its.index_rows:,} training rows"] if its.index_rows else []
    indexed += [f"{its.index_passages:,} passages"] if its.index_passages else []
    short = f"; rows were cut or left out for want of room in {its.short} contexts" if its.short else ""
    nothing = f"; nothing was found for {its.nothing_found} questions" if its.nothing_found else ""
    return (
        f"{arms.retriever.partition('/')[0]} over {' and '.join(indexed)}: {recall} {helped}; "
        f"index {its.index_seconds:.2f} s, search {its.search_seconds:.2f} s for {arms.examples} questions; "
        f"{its.rows_in_context:.1f} rows and {its.context_tokens:.0f} tokens more in a prompt"
        f"{short}{nothing}."
    )


def _held(group: Group) -> list[tuple[BoardRow, ArmsEstimate]]:
    return [(row, row.arms) for row in group.rows if row.arms is not None]


def _rows(held: Sequence[tuple[BoardRow, ArmsEstimate]]) -> list[str]:
    return [name for name in ROWS if any(name in arms.means for _, arms in held)]


def _cell(value: Interval | None, bare: bool) -> str:
    if value is None or bare:
        return "" if value is None else words.score(value.mean)
    return f"{words.score(value.mean)} [{words.score(value.low)}, {words.score(value.high)}]"


def _score(value: Interval | None) -> str:
    return "" if value is None else f"{words.score(value.mean)} ({words.interval(value)})"


def _change(value: Interval | None) -> str:
    return "" if value is None else f"{words.change(value.mean)} ({words.change_interval(value)})"
