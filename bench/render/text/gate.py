"""The answer of a gate as markdown."""

from __future__ import annotations

from bench.judge.compare import Comparison
from bench.judge.gate import problems, unjudged
from bench.render.tables import md
from bench.render.text.comparison import markdown
from bench.render.text.verdict import parts


def gate_markdown(comparison: Comparison, baseline: str) -> str:
    """The summary for a job page: the answer first, then the whole comparison."""
    reasons, open_questions = problems(comparison), unjudged(comparison)
    bullets = "".join(f"\n- {md(text)}" for text in (*reasons, *open_questions))
    return markdown(comparison, f"## {md(headline(comparison, baseline))}\n{bullets}".rstrip())


def headline(comparison: Comparison, baseline: str) -> str:
    """The answer in a line."""
    if problems(comparison):
        return f"Regressed against baseline '{baseline}'"
    if unjudged(comparison):
        return f"Cannot be judged against baseline '{baseline}'"
    word, rest = parts(comparison)
    word = word if word != "Undecided" else "No regression shown"
    return f"{word} against baseline '{baseline}': {rest}"
