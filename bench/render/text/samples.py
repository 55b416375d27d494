"""A comparison of other harnesses' samples as text for a terminal and as markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.judge.pairing import Finding
from bench.judge.samples import SampledComparison, SampledRow
from bench.render import words
from bench.render.tables import clip, columns, md, pipes, wrap
from bench.render.text.comparison import MARKS, p_value

HEAD = ["task", "metric", "pairs", "A", "B", "B \N{MINUS SIGN} A", "95% interval", "p", "verdict"]
NUMBERS = (2, 3, 4, 5, 7)
LONGEST_NAME = 24
ORDER = (Finding.REGRESSED, Finding.IMPROVED, Finding.UNCHANGED, Finding.UNCERTAIN)


def terminal(comparison: SampledComparison) -> str:
    """The whole comparison."""
    table = columns([HEAD, *(_cells(row, LONGEST_NAME) for row in comparison.rows)], NUMBERS)
    notes = [line for text in _notes(comparison) for line in wrap(text)]
    return "\n".join(
        [*wrap(verdict(comparison), "    "), "", *wrap(_title(comparison)), "", *table, "", *notes]
    )


def markdown(comparison: SampledComparison) -> str:
    """The same for GitHub."""
    table = pipes([HEAD, *(_cells(row) for row in comparison.rows)], NUMBERS)
    notes = [f"- {md(text)}" for text in _notes(comparison)]
    head = f"# Comparison\n\n**{md(verdict(comparison))}**\n\n{md(_title(comparison))}"
    return "\n".join([head, "", *table, "", *notes]) + "\n"


def verdict(comparison: SampledComparison) -> str:
    """How many tables moved which way."""
    counts = Counter(row.finding for row in comparison.rows)
    total = len(comparison.rows)
    told = ", ".join(f"{counts[finding]} {finding.value}" for finding in ORDER if counts[finding])
    return f"Of {total} score{'s' * (total != 1)}: {told}."


def _title(comparison: SampledComparison) -> str:
    holm = f", p by Holm over {len(comparison.rows)} rows" if len(comparison.rows) > 1 else ""
    return f"A = {comparison.a}, B = {comparison.b}, samples of {comparison.harness}{holm}"


def _cells(row: SampledRow, longest: int | None = None) -> list[str]:
    names = [row.task, row.metric + (" (lower is better)" if row.lower_is_better else "")]
    return [
        *(clip(name, longest) if longest else name for name in names),
        str(row.pairs),
        words.score(row.a),
        words.score(row.b),
        words.change(row.difference.mean),
        f"{words.change(row.difference.low)} to {words.change(row.difference.high)}",
        p_value(row.p_adjusted),
        f"{MARKS[row.finding]} {row.finding.value}",
    ]


def _notes(comparison: SampledComparison) -> list[str]:
    notes = [
        f"Improved and regressed: adjusted p at most 0.05 and a difference above {comparison.threshold:g}. "
        "One run a side: training luck is not in these intervals."
    ]
    if uncertain := [row for row in comparison.rows if row.finding == Finding.UNCERTAIN]:
        least = max(row.smallest for row in uncertain)
        if least != float("inf"):
            notes.append(f"A true drop of {words.score(least)} would have been found with probability 0.8.")
    notes += [text for row in comparison.rows for text in _unmatched(row)]
    notes += [
        f"{row.task} {row.metric}: taken as better where higher"
        for row in comparison.rows
        if not row.lower_is_better and _sounds_lower(row.metric)
    ]
    return [*dict.fromkeys([*notes, *comparison.messages])]


def _sounds_lower(metric: str) -> bool:
    return any(part in metric.lower() for part in ("perplexity", "loss", "error", "brier", "bits_per"))


def _unmatched(row: SampledRow) -> Sequence[str]:
    parts = [
        f"{count} {what}"
        for count, what in (
            (row.only_a, "only in A"),
            (row.only_b, "only in B"),
            (row.other_document, "with another document under the same id"),
        )
        if count
    ]
    return [f"{row.task}: {row.pairs} documents paired; left out {', '.join(parts)}."] if parts else []
