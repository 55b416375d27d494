"""What a merge of folders did, in lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.render import words
from bench.store.merge import Conflict, Merged


def terminal(merged: Merged) -> str:
    """Counts first, then every conflict and every record that was left out."""
    counts = [
        f"{len(merged.copied)} copied",
        f"{len(merged.held)} already there",
        f"{len(merged.conflicts)} in conflict",
        f"{len(merged.damaged)} damaged",
    ]
    if merged.failures:
        counts.append(f"{len(merged.failures)} failures taken")
    return "\n".join([f"records: {', '.join(counts)}", *_conflicts(merged), *_damaged(merged)])


def as_data(merged: Merged) -> dict[str, Any]:
    """The same for `--json`."""
    return {
        "copied": merged.copied,
        "held": merged.held,
        "conflicts": [
            {
                "id": conflict.id,
                "source": str(conflict.source),
                "kept": str(conflict.kept),
                "alike": conflict.alike,
                "scores": list(conflict.scores),
            }
            for conflict in merged.conflicts
        ],
        "damaged": merged.damaged,
        "failures": merged.failures,
    }


def _conflicts(merged: Merged) -> Iterator[str]:
    for conflict in merged.conflicts:
        what = _difference(conflict)
        yield f"conflict: {conflict.id} from {conflict.source}: {what}; kept in {conflict.kept}"


def _difference(conflict: Conflict) -> str:
    if conflict.alike:
        return "the same answers and scores, from another time or machine"
    first, second = conflict.scores
    return f"other answers, ROUGE-L {words.score(second)} and not {words.score(first)}"


def _damaged(merged: Merged) -> Iterator[str]:
    yield from (f"damaged: {message}" for message in merged.damaged)
