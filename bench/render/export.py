"""The board as data: JSON, CSV and Parquet, one flat row per model.

Metrics are named with all that they depend on left in `scorer`, sizes are in bytes, times in
seconds. pandas writes CSV and Parquet and is imported only then: it takes longer to load than
the board takes to compute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.judge.beside.added import AddedEstimate
from bench.judge.beside.arms import ArmsEstimate
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
        "further": list(ladder.further),
    }


def _row(row: BoardRow) -> dict[str, Any]:
    run, backend = row.first.run, row.first.backend
    return {
        "model": row.model,
        "checkpoint": run.model.checkpoint,
        "revision": run.checkpoint.revision,
        "family": run.model.family,
        "licence": run.model.licence,
        "method": run.method,
        "seeds": list(row.seeds),
        "runs": [stored.record.id for stored in row.stored],
        "rank": list(row.rank),
        "tuned": _intervals(row.tuned),
        "base": _intervals(row.base),
        "base_chat": _intervals(row.chat) if row.chat else None,
        "gain_over": row.first.gain_over,
        "gain": _intervals(row.gain),
        **({"arms": _arms(row.arms)} if row.arms else {}),
        "added": [_added(estimate) for estimate in row.added],
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
        del data["further"], data["added"]
        data.pop("arms", None)
        scores = {name: data.pop(name) for name in ("tuned", "base", "gain", "base_chat")}
        data["seeds"] = " ".join(map(str, data["seeds"]))
        data["runs"] = " ".join(data["runs"])
        data["notes"] = "; ".join(note["name"] for note in data["notes"])
        data["versions"] = " ".join(f"{name}=={version}" for name, version in data["versions"].items())
        scored = {**_columns(scores), **_added_columns(row.added)}
        made.append({**common, "rank_low": low, "rank_high": high, **data, **scored})
    for reference in group.references:
        made.append({**common, "model": reference.words, **_columns({"tuned": _intervals(reference.scores)})})
    return made


def _columns(
    scores: Mapping[str, Mapping[str, Mapping[str, float | None]] | None],
) -> dict[str, float | None]:
    """`rougeL`, `rougeL_low`, `rougeL_base`, `rougeL_gain_high` and so on."""
    values = {}
    for row, by_kind in scores.items():
        if by_kind is None:
            continue
        for kind in KINDS:
            for part, value in by_kind[kind].items():
                name = "_".join(
                    [kind, *([row] if row != "tuned" else []), *([part] if part != "mean" else [])]
                )
                values[name] = value
    return values


def _arms(arms: ArmsEstimate) -> dict[str, Any]:
    return {
        **_intervals(arms.means),
        "differences": _intervals({f"{row} over {other}": d for (row, other), d in arms.differences.items()}),
        "rows": arms.rows,
        "retriever": arms.retriever,
        **arms.facts.model_dump(mode="json"),
    }


def _added(estimate: AddedEstimate) -> dict[str, Any]:
    gain = {} if estimate.gain is None else {"gain": estimate.gain}
    return {
        "metric": estimate.metric,
        "examples": estimate.examples,
        **_intervals({**estimate.rows, **gain}),
        "parts": estimate.parts,
        "unscored": estimate.unscored,
    }


def _added_columns(found: Sequence[AddedEstimate]) -> dict[str, float | None]:
    """The same as flat columns, called by the metric's whole identity."""
    values = {}
    for estimate in found:
        gain = {} if estimate.gain is None else {"gain": estimate.gain}
        for row, parts in _intervals({**estimate.rows, **gain}).items():
            for part, value in parts.items():
                name = [*([row] if row != "tuned" else []), *([part] if part != "mean" else [])]
                values["_".join([estimate.metric, *name])] = value
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
