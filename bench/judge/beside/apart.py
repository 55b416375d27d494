"""Why two groups of rows may not be ranked in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.judge.board import Group


def why(first: Group, other: Group) -> str:
    """The reasons in words: scale, trial of versions, and every part of the contract that differs."""
    reasons = [] if first.scale == other.scale else [f"scale {other.scale}, not {first.scale}"]
    if first.trial != other.trial:
        reasons.append(
            f"tried with {', '.join(other.trial)}" if other.trial else "under the installed versions"
        )
    for field, (left, right) in first.contract.differences(other.contract).items():
        reasons.append(f"{field} {_short(right)}, not {_short(left)}")
    return "; ".join(reasons) or "scored on other evaluation examples"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text[:8] if len(text) == 64 else text
