"""What runs will take, as a table: whether it fits, memory of training and of answering, time, download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.render import words
from bench.render.tables import columns
from bench.run.cost import GIB, Cost
from bench.run.identity import Run

HEAD = ["model", "method", "backend", "fits", "training", "answering", "batch", "time", "download"]
FROM_LAW = (
    "Memory by a law whose constants come from published figures: within 15% where there are some, about "
    "25% elsewhere; time within a factor of 2, without the download. GB are 2^30 bytes of the GPU, the "
    "download is in 10^9."
)


@dataclass(frozen=True)
class Predicted:
    """The cost of one model's run, corrected by so many records of runs like it."""

    run: Run
    cost: Cost
    records: int = 0


def table(rows: Sequence[Predicted], device: str) -> str:
    """The costs of one run each."""
    lines = columns([HEAD, *map(_cells, rows)], right=(4, 5, 6, 7, 8))
    corrected = [row for row in rows if row.records]
    notes = [FROM_LAW]
    if corrected:
        names = ", ".join(f"{row.run.name} ({row.records})" for row in corrected)
        notes.append(f"Corrected by records of this kind of device: {names}.")
    return "\n".join([f"What a run takes on: {device}", "", *lines, "", *notes])


def as_data(row: Predicted) -> dict[str, Any]:
    """The same as JSON-like data; memory and download in bytes."""
    cost = row.cost
    return {
        "model": row.run.name,
        "backend": row.run.backend,
        "fits": cost.fits,
        "training": round(cost.training),
        "answering": round(cost.answering),
        "batch": cost.batch,
        "seconds": round(cost.seconds),
        "download": round(cost.download),
        "records": row.records,
    }


def _cells(row: Predicted) -> list[str]:
    cost, run = row.cost, row.run
    return [
        run.name,
        run.recipe.method,
        run.backend,
        "yes" if cost.fits else "no",
        f"{cost.training / GIB:.1f} GB",
        f"{cost.answering / GIB:.1f} GB",
        str(cost.batch),
        words.duration(cost.seconds),
        words.size(cost.download) if run.checkpoint.kind == "hub" else "",
    ]
