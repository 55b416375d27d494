"""The board as data: JSON, CSV and Parquet, one flat row per model.

Metrics are named with all that they depend on left in `scorer`, sizes are in bytes, times in
seconds. pandas writes CSV and Parquet and is imported only then: it takes longer to load than
the board takes to compute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.judge.board import Board, BoardRow, Group
from bench.judge.effort.ladder import Ladder
from bench.judge.intervals import KINDS
from bench.render import doubts, facts
from bench.render.clean import cell
from bench.render.text.costs import measured_as_data
from bench.stats import Interval


def as_data(board: Board) -> dict[str, Any]:
    """The board as JSON-like data: groups with their contract, rows, reference rows and failures."""
    data: dict[str, Any] = {
        "groups": [_group(group) for group in board.groups],
        "ladders": [_ladder(ladder) for ladder in board.ladders],
    }
    return data | ({"costs": [measured_as_data(row) for row in board.costs]} if board.costs else {})


def rows(board: Board) -> list[dict[str, Any]]:
    """One flat mapping per row of any group; reference rows have no method, rank or cost."""
    return [interval for group in board.groups for interval in _flat(group)]


def write_csv(board: Board, file: Path) -> None:
    """The flat rows as CSV."""
    import pandas as pd

    cells = [{name: cell(value) for name, value in row.items()} for row in rows(board)]
    pd.DataFrame(cells).convert_dtypes().to_csv(file, index=False, lineterminator="\n")


def write_parquet(board: Board, file: Path) -> None:
    """The flat rows as Parquet."""
    import pandas as pd

    pd.DataFrame(rows(board)).convert_dtypes().to_parquet(file, index=False)


def _group(group: Group) -> dict[str, Any]:
    return {
        "title": facts.title(group),
        "scale": group.scale,
        "apart": group.apart,
        "contract": group.contract.model_dump(mode="json"),
        "contract_digest": group.contract.digest,
        "rows": [_row(row) for row in group.rows],
        "references": [
            {"name": reference.name, "words": reference.words, "scores": _intervals(reference.scores)}
            for reference in group.references
        ],
        "failed": [
            {
                "id": failure.id,
                "model": failure.run.name,
                "seed": failure.run.seed,
                "stage": failure.stage,
                "reason": failure.reason,
            }
            for failure in group.failures
        ],
        "missing": [model.model_dump(include={"model", "why", "reason"}) for model in group.missing],
        "left_out": group.left_out,
    }


def _ladder(ladder: Ladder) -> dict[str, Any]:
    return {
        "scale": ladder.scale,
        "models": list(ladder.models),
        "rungs": [
            {"budget": str(rung.budget), "examples": rung.budget.examples, "tuned": _intervals(rung.tuned)}
            for rung in ladder.rungs
        ],
        "pairs": ladder.pairs,
        "crossings": [
            {
                "ahead": crossing.ahead,
                "behind": crossing.behind,
                "budgets": [str(crossing.small), str(crossing.large)],
                "differences": _intervals({"before": crossing.before, "after": crossing.after}),
                "p": crossing.p,
                "clear": crossing.clear,
            }
            for crossing in ladder.crossings
        ],
        "left_out": list(ladder.left_out),
    }


def _row(row: BoardRow) -> dict[str, Any]:
    run, backend = row.first.run, row.first.backend
    return {
        "model": row.model,
        "checkpoint": run.model.checkpoint,
        "revision": run.checkpoint.revision,
        "family": run.model.family,
        "licence": run.model.licence,
        "method": run.recipe.method,
        "seeds": list(row.seeds),
        "runs": [stored.record.id for stored in row.stored],
        "rank": list(row.rank),
        "tuned": _intervals(row.tuned),
        "base": _intervals(row.base),
        "gain": _intervals(row.gain),
        "further": [stored.record.further for stored in row.stored],
        "trainable_parameters": row.cost.trainable_parameters,
        "parameters": row.cost.parameters,
        "tokens_per_second": row.cost.tokens_per_second,
        "peak_memory": row.cost.peak_memory,
        "peak_gpu_memory": row.cost.peak_gpu_memory,
        "seconds": row.cost.seconds,
        "backend": backend.name,
        "backend_reason": backend.reason,
        "notes": [
            {"name": badge.name, "reason": badge.reason, "amount": badge.amount}
            for badge in map(doubts.badge, row.doubts)
        ],
        "versions": run.versions,
        "finished": max(stored.record.provenance.finished for stored in row.stored),
    }


def _flat(group: Group) -> list[dict[str, Any]]:
    common = {
        "train": group.contract.train.name,
        "eval": group.contract.eval.name,
        "budget": str(group.contract.budget),
        "scale": group.scale,
        "scorer": group.contract.scorer,
        "contract": group.contract.digest,
    }
    made = []
    for row in group.rows:
        data = _row(row)
        low, high = data.pop("rank")
        del data["further"]
        scores = {name: data.pop(name) for name in ("tuned", "base", "gain")}
        data["seeds"] = " ".join(map(str, data["seeds"]))
        data["runs"] = " ".join(data["runs"])
        data["notes"] = "; ".join(note["name"] for note in data["notes"])
        data["versions"] = " ".join(f"{name}=={version}" for name, version in data["versions"].items())
        made.append({**common, "rank_low": low, "rank_high": high, **data, **_columns(scores)})
    for reference in group.references:
        made.append({**common, "model": reference.words, **_columns({"tuned": _intervals(reference.scores)})})
    return made


def _columns(scores: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> dict[str, float | None]:
    """`rougeL`, `rougeL_low`, `rougeL_base`, `rougeL_gain_high` and so on."""
    values = {}
    for row, by_kind in scores.items():
        for kind in KINDS:
            for part, value in by_kind[kind].items():
                name = "_".join(
                    [kind, *([row] if row != "tuned" else []), *([part] if part != "mean" else [])]
                )
                values[name] = value
    return values


def _intervals(values: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    """JSON knows no infinity: an end that is not known is null."""
    return {
        kind: {
            part: value if math.isfinite(value) else None
            for part, value in (("mean", table.mean), ("low", table.low), ("high", table.high))
        }
        for kind, table in values.items()
    }
