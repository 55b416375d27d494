"""`bench list`: models, datasets or runs."""

from __future__ import annotations

import argparse
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import provenance, registry
from bench.errors import RequestError
from bench.render import words
from bench.render.tables import clip, columns, listed
from bench.run import cost
from bench.run.identity import Run
from bench.store.ledger import Ledger
from bench.verbs import Output, fitting

#: Of a terminal without room; the data hold the whole.
NARROW, LONGEST_NAME, LONGEST_LICENCE = 80, 20, 21


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what to list."""
    parser.add_argument("what", choices=["models", "datasets", "runs"])
    parser.add_argument(
        "--gpu", choices=list(cost.CARDS), help="models that fit this GPU instead of this machine's devices"
    )
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")


def execute(args: argparse.Namespace) -> Output:
    """One line a thing."""
    if args.what == "models":
        return _models(cost.CARDS[args.gpu] if args.gpu else None)
    if args.gpu:
        raise RequestError(f"bench list {args.what}: --gpu is for models")
    rows = _datasets() if args.what == "datasets" else _runs(args.out)
    table = [list(rows[0]), *(list(map(str, row.values())) for row in rows)] if rows else []
    lines = columns(table) if rows else [f"no {args.what}"]
    if args.what == "datasets":
        lines += [f"left out: {line}" for line in registry.broken_in_short(args.what)]
    return Output("\n".join(lines), rows)


def _models(card: cost.Card | None) -> Output:
    """Size, licence and whether the published checkpoint can be tuned here; the data hold the rest too."""
    versions = provenance.versions()
    rows, table = [], [["model", "size", "method", "licence", "gated", "here"]]
    for spec in registry.models().values():
        fit = fitting.fit(spec, card, versions)
        size = words.count(spec.parameters)
        gated = "yes" if spec.gated else ""
        licence = clip(spec.licence, LONGEST_LICENCE)
        table.append([clip(spec.name, LONGEST_NAME), size, spec.recipe.method, licence, gated, fit.words])
        rows.append(
            {
                "model": spec.name,
                "checkpoint": spec.checkpoint,
                "size": size,
                "parameters": spec.parameters,
                "objective": spec.objective,
                "method": spec.recipe.method,
                "twin": spec.twin or "",
                "licence": spec.licence,
                "gated": spec.gated,
                "fits": fit.fits,
                "fit": fit.words,
                "memory": fit.needed,
                "device": fitting.named(card),
            }
        )
    lines = [*columns(table, right=[1]), ""]
    without = [str(row["model"]) for row in rows if not row["twin"]]
    twins = "Twins" if not without else f"Twins of all but {listed(without)}"
    told = (
        f"here: the published checkpoint tuned under its recipe, budget 60x8, 512 tokens, on "
        f"{fitting.named(card)} (the law of bench/run/cost.py). {twins} run anywhere (--scale mini)."
    )
    lines += textwrap.wrap(told, NARROW)
    lines += [f"left out: {line}" for line in registry.broken_in_short("models")]
    return Output("\n".join(lines), rows)


def _datasets() -> list[dict[str, Any]]:
    return [
        {
            "dataset": spec.name,
            "source": f"{spec.hub}@{spec.revision[:8]}" if spec.hub else Path(str(spec.file)).name,
            "shape": spec.shape,
            "test": "none" if spec.shape == "text" else f"{spec.test_fraction:.0%}",
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
    told = {}
    for facts in rivals.values():
        keys = sorted({key for held in facts.values() for key in held})
        varied = [key for key in keys if len({held.get(key) for held in facts.values()}) > 1]
        for id, held in facts.items():
            told[id] = ", ".join(f"{key} {held[key]}" for key in varied if key in held)
    return told


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
