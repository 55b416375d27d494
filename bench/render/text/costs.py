"""What runs will take, by the law, and what they took with random weights: tables that rank nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.judge.board import CostRow
from bench.render import words
from bench.render.tables import columns, md, pipes
from bench.run.cost import GIB, Forecast
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
    cost: Forecast
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
        run.method,
        run.backend,
        "yes" if cost.fits else "no",
        f"{cost.training / GIB:.1f} GB" if run.trained else "none",
        f"{cost.answering / GIB:.1f} GB",
        str(cost.batch),
        words.duration(cost.seconds),
        words.size(cost.download) if run.checkpoint.kind == "hub" else "",
    ]


TITLE = "What runs cost, measured with random weights"
MEASURED = (
    "Weights are random numbers in the true architecture: memory, speed and time are a run's, answers mean "
    "nothing, and no such row is ranked. Time is that of the whole run with answers of full length."
)
MEASURED_HEAD = ["model", "size", "method", "backend", "budget", "tokens/s", "memory", "batch", "time", "on"]


def markdown(rows: Sequence[CostRow]) -> list[str]:
    """The measured costs as a section of a document; no line without rows."""
    if not rows:
        return []
    table_ = pipes([MEASURED_HEAD, *map(_measured, rows)], right=(1, 5, 6, 7, 8))
    return [f"## {TITLE}", "", *table_, "", MEASURED, *(f"- {md(note)}" for note in _notes(rows)), ""]


def terminal(rows: Sequence[CostRow]) -> str:
    """The measured costs as text."""
    lines = columns([MEASURED_HEAD, *map(_measured, rows)], right=(1, 5, 6, 7, 8))
    return "\n".join([TITLE, "=" * len(TITLE), *lines, "", MEASURED, *_notes(rows)])


def cells(rows: Sequence[CostRow]) -> dict[str, Any]:
    """What a page shows of the measured costs."""
    table_ = [_measured(row) for row in rows]
    return {
        "title": TITLE,
        "head": MEASURED_HEAD,
        "rows": table_,
        "reading": MEASURED,
        "notes": _notes(rows),
    }


def measured_as_data(row: CostRow) -> dict[str, Any]:
    """One measured row as JSON-like data; memory in bytes."""
    run = row.stored[0].record.run
    return {
        "model": row.model,
        "method": run.method,
        "backend": row.stored[0].record.backend.name,
        "parameters": row.cost.parameters,
        "tokens_per_second": row.cost.tokens_per_second,
        "memory": row.cost.memory,
        "seconds": row.cost.seconds,
        "runs": [stored.record.id for stored in row.stored],
    }


def _measured(row: CostRow) -> list[str]:
    record = row.stored[0].record
    return [
        row.model,
        words.count(row.cost.parameters),
        record.run.method,
        record.backend.name,
        str(record.run.contract.budget),
        f"{row.cost.tokens_per_second:,.0f}",
        words.size(row.cost.memory),
        str(record.written["tuned"].batch or ""),
        words.duration(row.cost.seconds),
        record.provenance.gpu or record.provenance.hardware,
    ]


def _notes(rows: Sequence[CostRow]) -> list[str]:
    """What was asked for and could not be had, once for each reason."""
    bearers: dict[str, list[str]] = {}
    for row in rows:
        for reason in row.stored[0].record.backend.fallbacks:
            bearers.setdefault(reason, []).append(row.model)
    return [f"{', '.join(models)}: {reason}" for reason, models in bearers.items()]
