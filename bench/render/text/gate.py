"""The answer of a gate as markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.judge.compare import Comparison
from bench.render.tables import md
from bench.render.text.comparison import markdown
from bench.render.text.verdict import parts


def gate_markdown(answer: Sequence[str], comparison: Comparison) -> str:
    """The summary for a job page: the answer first, then the whole comparison."""
    first, *reasons = answer
    bullets = "".join(f"\n- {md(text)}" for text in reasons)
    return markdown(comparison, f"## {md(first)}\n{bullets}".rstrip())


def headline(comparison: Comparison, baseline: str, worse: bool, unjudged: bool) -> str:
    """The answer in a line."""
    if worse:
        return f"Regressed against baseline '{baseline}'"
    if unjudged:
        return f"Cannot be judged against baseline '{baseline}'"
    word, rest = parts(comparison)
    word = word if word != "Undecided" else "No regression shown"
    return f"{word} against baseline '{baseline}': {rest}"
