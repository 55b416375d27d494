"""`bench plan`: what `bench run` would do with the same options, and what that would cost."""

from __future__ import annotations

import argparse
from typing import Any

from bench.data import layout
from bench.render.tables import columns
from bench.run.identity import Run
from bench.store.ledger import Ledger, Stored
from bench.verbs import Output, request
from bench.versions import environment


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench run` that say what to run."""
    request.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """List the runs; nothing is prepared, loaded or written."""
    packages = environment.solve(args.packages)
    asked = request.resolve(args, packages.versions, run_code=False, ladder=True)
    environment.check_backend(asked.runs, packages)
    ledger = Ledger(args.out)
    finished, _ = ledger.load()
    lines = [_line(run, ledger, finished) for run in asked.runs]
    missing = [line for line in lines if line["state"] == "to run"]
    known = [line["seconds"] for line in missing if line["seconds"] is not None]
    total = f"{len(lines)} runs, {len(missing)} to do"
    if known:
        rough = sum(known) / len(known) * len(missing)
        total += f"; about {rough / 60:.0f} min of one process, by what earlier runs took"
    head = ["model", "budget", "seed", "scale", "method", "batch", "backend", "took", "state"]
    rows = [[_took(line) if column == "took" else str(line[column]) for column in head] for line in lines]
    table = "\n".join(columns([head, *rows], right=(2, 7)))
    mapping = {spec.name: layout.in_words(spec) for spec in (asked.train, asked.eval)}
    read = [f"{name}: {words}" for name, words in mapping.items()]
    contracts = [contract.in_words() for contract in asked.contracts]
    text = "\n".join([*contracts, *read, "", table, "", total, *asked.notes])
    contract = asked.contract.model_dump(mode="json")
    return Output(text, {"contract": contract, "columns": mapping, "runs": lines, "notes": asked.notes})


def _line(run: Run, ledger: Ledger, finished: list[Stored]) -> dict[str, Any]:
    similar = [
        sum(stored.record.spent.seconds.values())
        for stored in finished
        if stored.record.run.name == run.name
        and stored.record.run.scale == run.scale
        and stored.record.run.contract.budget == run.contract.budget
    ]
    return {
        "id": run.id,
        "model": run.name,
        "budget": str(run.contract.budget),
        "seed": run.seed,
        "scale": run.scale,
        "method": run.recipe.method,
        "batch": f"{run.recipe.micro_batch}x{run.accumulation}",
        "backend": run.backend,
        "seconds": sum(similar) / len(similar) if similar else None,
        "state": "finished" if ledger.finished(run.id) else "to run",
    }


def _took(line: dict[str, Any]) -> str:
    return "" if line["seconds"] is None else f"{line['seconds']:.0f} s"
