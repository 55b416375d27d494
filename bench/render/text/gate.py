"""The answer of a gate as markdown."""

from __future__ import annotations

from bench.judge.compare import Comparison
from bench.judge.gate import problems, unjudged
from bench.render.tables import md
from bench.render.text.comparison import markdown


def gate_markdown(comparison: Comparison, baseline: str) -> str:
    """The summary for a job page: the answer first, then the whole comparison."""
    reasons, open_questions = problems(comparison), unjudged(comparison)
    bullets = "".join(f"\n- {md(text)}" for text in (*reasons, *open_questions))
    answer = md(headline(comparison, baseline))
    return markdown(comparison, f"## {answer[0].upper()}{answer[1:]}\n{bullets}".rstrip())


def headline(comparison: Comparison, baseline: str) -> str:
    """The answer in a line."""
    if problems(comparison):
        return f"REGRESSION against baseline '{baseline}'"
    if unjudged(comparison):
        return f"cannot be judged against baseline '{baseline}'"
    return f"no regression against baseline '{baseline}'"
