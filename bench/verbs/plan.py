"""`bench plan`: what `bench run` would do with the same options, and what that would cost."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from bench import __version__, config, files
from bench.data import layout
from bench.errors import RequestError
from bench.render import clean
from bench.render.tables import columns
from bench.render.text import costs
from bench.run import cost
from bench.run.identity import Run
from bench.store.ledger import Ledger, Stored
from bench.verbs import Output, fitting, request
from bench.verbs.compare import write
from bench.versions import environment

#: The beginning of a file that was saved, which may be overwritten.
SAVED = "# Saved by bench plan"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench run` that say what to run."""
    request.configure(parser)
    parser.add_argument(
        "--gpu", choices=list(cost.CARDS), help="plan for this GPU instead of the devices of this machine"
    )
    saved = "write the options, defaults too, as a file that 'bench run --config FILE' repeats"
    parser.add_argument("--save", type=Path, metavar="FILE", help=saved)


def execute(args: argparse.Namespace) -> Output:
    """List the runs and their costs; nothing is prepared or loaded, and nothing written but `--save`."""
    packages = environment.solve(args.packages)
    card = cost.CARDS[args.gpu] if args.gpu else None
    versions = dict(packages.versions)
    if card and args.backend == "unsloth":
        versions.setdefault("unsloth", "not installed here")
    asked = request.resolve(args, versions, run_code=False, ladder=True, elsewhere=card is not None)
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
    predicted = _costs(asked, card, [*finished, *ledger.measured()[0]])
    text = "\n".join([*contracts, *read, "", table, "", total, *asked.notes])
    if args.save:
        _save(args, asked)
        text += f"\nsaved: {args.save}; repeat it by: bench run {config.OPTION} {args.save}"
    if predicted:
        text += "\n\n" + costs.table(predicted, fitting.named(card))
    contract = asked.contract.model_dump(mode="json")
    data = {"contract": contract, "columns": mapping, "runs": lines, "notes": asked.notes}
    data["sources"] = config.sources(args)
    return Output(text, data | {"costs": [costs.as_data(each) for each in predicted]})


def _save(args: argparse.Namespace, asked: request.Request) -> None:
    """Write the options that say what to run; `--scale auto` as what it is here. Raises `RequestError`."""
    if args.save.exists() and not files.text(args.save).startswith(SAVED):
        raise RequestError(f"--save {args.save}: is there and was not saved by bench plan; give another name")
    shared = argparse.ArgumentParser()
    request.configure(shared)
    scale = "mini" if any(run.scale == "mini" for run in asked.runs) else "full"
    options = argparse.Namespace(**{**vars(args), "scale": scale if args.scale == "auto" else args.scale})
    head = [f"{SAVED} of bench {__version__}.", *(f"#   {run.id}" for run in asked.runs)]
    write(args.save, "\n".join(map(clean.printable, head)) + "\n" + config.toml(shared, options))


def _costs(asked: request.Request, card: cost.Card | None, finished: list[Stored]) -> list[costs.Predicted]:
    """A prediction for every model at full scale whose shape is known; one for all of its seeds."""
    predicted = []
    for run in {run.name: run for run in asked.runs if run.scale == "full"}.values():
        value = predict(run, card)
        if value is not None:
            similar = [stored for stored in finished if _is_like(stored, run, card)]
            predicted.append(_corrected(run, value, similar, card))
    return predicted


def predict(run: Run, card: cost.Card | None) -> cost.Forecast | None:
    """The cost of a run on a card, else on the devices of this machine; none where its shape is unknown."""
    what = cost.setting(run.model, run.recipe, run.backend, run.device)
    if what is None:
        return None
    return fitting.forecast(what, run.contract, card, run.model.config)


def _is_like(stored: Stored, run: Run, card: cost.Card | None) -> bool:
    """Whether a record tells of this model, method and backend on this kind of device."""
    its, place = stored.record.run, stored.record.provenance
    same = (its.name, its.scale, its.recipe.method, its.device, its.backend) == (
        *(run.name, run.scale, run.recipe.method),
        *(run.device, run.backend),
    )
    return same and (card is None or card.name.partition("-")[0] in (place.gpu or ""))


def _corrected(
    run: Run, value: cost.Forecast, similar: list[Stored], card: cost.Card | None
) -> costs.Predicted:
    """The prediction times the median ratio of measured to predicted of records like it."""
    memory, time = [], []
    for stored in similar:
        was = predict(stored.record.run.model_copy(update={"model": run.model}), card)
        if was is None:
            continue
        spent = stored.record.spent
        memory.append((spent.peak_gpu_memory or spent.peak_memory) / was.peak)
        time.append(sum(spent.seconds.values()) / was.seconds)
    if not memory:
        return costs.Predicted(run, value)
    return costs.Predicted(run, value.scaled(median(memory), median(time)), len(memory))


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
        "method": run.method,
        "batch": f"{run.recipe.micro_batch}x{run.accumulation}" if run.trained else "",
        "backend": run.backend,
        "seconds": sum(similar) / len(similar) if similar else None,
        "state": "finished" if ledger.finished(run.id) else "to run",
    }


def _took(line: dict[str, Any]) -> str:
    return "" if line["seconds"] is None else f"{line['seconds']:.0f} s"
