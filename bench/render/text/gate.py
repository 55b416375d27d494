"""The answer of a gate as markdown."""

from __future__ import annotations

from bench.judge.compare import Comparison
from bench.judge.gate import problems
from bench.render.tables import md
from bench.render.text.comparison import markdown


def gate_markdown(comparison: Comparison, baseline: str) -> str:
    """The summary for a job page: the answer first, then the whole comparison."""
    reasonss = problems(comparison)
    answer = (
        f"Regression against baseline '{baseline}'" if reasonss else f"No regression against '{baseline}'"
    )
    reasons = "".join(f"\n- {md(text)}" for text in reasonss)
    return markdown(comparison, f"## {md(answer)}\n{reasons}".rstrip())
