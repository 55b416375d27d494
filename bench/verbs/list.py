"""`bench list`: models, datasets or runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import registry
from bench.render.tables import columns
from bench.store.ledger import Ledger
from bench.verbs import Output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what to list."""
    parser.add_argument("what", choices=["models", "datasets", "runs"])
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")


def execute(args: argparse.Namespace) -> Output:
    """One line a thing."""
    rows_of = {"models": _models, "datasets": _datasets}.get(args.what)
    rows = rows_of() if rows_of else _runs(args.out)
    table = [list(rows[0]), *(list(map(str, row.values())) for row in rows)] if rows else []
    lines = columns(table) if rows else [f"no {args.what}"]
    if rows_of:
        lines += [f"left out: {line}" for line in registry.broken_in_short(args.what)]
    return Output("\n".join(lines), rows)


def _models() -> list[dict[str, Any]]:
    return [
        {
            "model": spec.name,
            "checkpoint": spec.checkpoint,
            "size": f"{spec.parameters / 1e9:.1f}B"
            if spec.parameters >= 1e9
            else f"{spec.parameters / 1e6:.0f}M",
            "objective": spec.objective,
            "method": spec.recipe.method,
            "twin": spec.twin or "",
            "licence": spec.licence + (" (gated)" if spec.gated else ""),
        }
        for spec in registry.models().values()
    ]


def _datasets() -> list[dict[str, Any]]:
    return [
        {
            "dataset": spec.name,
            "source": f"{spec.hub}@{spec.revision[:8]}" if spec.hub else Path(str(spec.file)).name,
            "shape": spec.shape,
            "test": f"{spec.test_fraction:.0%}",
            "licence": spec.licence,
        }
        for spec in registry.datasets().values()
    ]


def _runs(out: Path) -> list[dict[str, Any]]:
    ledger = Ledger(out)
    stored, messages = ledger.load()
    rows = [
        {
            "run": item.record.id,
            "data": f"{item.record.run.contract.train.name} {item.record.run.contract.budget}",
            "ROUGE-L": f"{item.record.scores['tuned']['rougeL'].mean:.3f}",
            "over base": f"{item.record.gain['rougeL'].mean:+.3f}",
            "finished": item.record.provenance.finished[:16].replace("T", " "),
        }
        for item in stored
    ]
    rows += [
        {
            "run": failure.id,
            "data": "failed",
            "ROUGE-L": failure.reason[:40],
            "over base": "",
            "finished": failure.when[:16],
        }
        for failure in ledger.failed()
    ]
    rows += [
        {"run": "left out", "data": message, "ROUGE-L": "", "over base": "", "finished": ""}
        for message in messages
    ]
    return rows
