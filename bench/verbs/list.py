"""`bench list`: models, datasets or runs."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import registry
from bench.render.tables import columns
from bench.run.identity import Run
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
    failures = ledger.failed()
    runs = [*(item.record.run for item in stored), *(failure.run for failure in failures)]
    apart = told_apart(runs)
    rows = [
        {
            "run": item.record.id,
            "data": f"{item.record.run.contract.train.name} {item.record.run.contract.budget}",
            "differs in": apart[item.record.id],
            "ROUGE-L": f"{item.record.scores['tuned']['rougeL'].mean:.3f}",
            "over base": f"{item.record.gain['rougeL'].mean:+.3f}"
            if item.record.run.trained
            else "not trained",
            "finished": item.record.provenance.finished[:16].replace("T", " "),
        }
        for item in stored
    ]
    rows += [
        {
            "run": failure.id,
            "data": "failed",
            "differs in": apart[failure.id],
            "ROUGE-L": failure.reason[:40],
            "over base": "",
            "finished": failure.when[:16],
        }
        for failure in failures
    ]
    rows += [
        {"run": "left out", "data": message, "differs in": "", "ROUGE-L": "", "over base": "", "finished": ""}
        for message in messages
    ]
    return rows


def told_apart(runs: Sequence[Run]) -> dict[str, str]:
    """Run id -> what differs from the other runs of its model, scale and seed; empty where it has none."""
    rivals: dict[tuple[str, str, int], dict[str, dict[str, str]]] = defaultdict(dict)
    for run in runs:
        rivals[run.name, run.scale, run.seed][run.id] = _facts(run)
    words = {}
    for facts in rivals.values():
        keys = sorted({key for held in facts.values() for key in held})
        varied = [key for key in keys if len({held.get(key) for held in facts.values()}) > 1]
        for id, held in facts.items():
            words[id] = ", ".join(f"{key} {held[key]}" for key in varied if key in held)
    return words


def _facts(run: Run) -> dict[str, str]:
    """All that can tell two runs of one model, scale and seed apart, in words."""
    contract = run.contract
    facts = {
        **{key.replace("_", " "): str(value) for key, value in run.recipe.model_dump(mode="json").items()},
        **run.versions,
        "device": run.device,
        "backend": run.backend,
        "checkpoint": run.checkpoint.revision[:8],
        "code": (run.harness or "unknown")[:8],
        "template": run.template,
        "eval": f"{contract.eval.name} {contract.eval_split}",
    }
    kept = {"train", "eval", "eval_split", "budget", "template", "decoding"}
    body = contract.model_dump(mode="json", exclude=kept)
    facts |= {key.replace("_", " "): str(value) for key, value in body.items()}
    facts["train"] = f"{contract.train.name} {contract.train.digest[:8]}"
    facts["budget"] = str(contract.budget)
    facts["answer length"] = str(contract.decoding.max_new_tokens)
    return facts
