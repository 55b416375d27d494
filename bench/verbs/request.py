"""The options that say what to run, shared by `run`, `plan`, `matrix` and `bisect`.

`resolve` turns them into runs and refuses what cannot work, before anything is written.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import config, devices, provenance, registry
from bench.curate.files import direct
from bench.data import prepare
from bench.devices import Devices
from bench.errors import RequestError
from bench.files import is_folder
from bench.harness import harness
from bench.launch import preflight
from bench.prompt import check_name
from bench.run import plan as planning
from bench.run.identity import Run
from bench.run.job import write_selection
from bench.run.recipes import methods, tuning
from bench.run.suited import suited
from bench.score.metrics import check_metric, load_metric
from bench.score.rouge import Rouge
from bench.spec import Contract, DatasetSpec, Decoding, Device, ModelSpec, Scale
from bench.store.ledger import Ledger
from bench.store.record import LeftOut
from bench.verbs import arm_options, data_options, model_options
from bench.verbs.options import whole

#: Tokens without which no question has room.
SMALLEST_LENGTH = 32
#: No registered model has more positions.
LONGEST = 131_072
#: What the random generators of all libraries take.
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Request:
    """Runs that could be carried out here, and what they need."""

    runs: list[Run]
    #: One for each budget.
    contracts: tuple[Contract, ...]
    #: Run id -> folder of the checkpoint on this machine; none for the hub.
    folders: dict[str, Path | None]
    train: DatasetSpec
    eval: DatasetSpec
    #: What was decided for the user, in one line each.
    notes: list[str]
    force: bool
    #: Models of `--models all` that cannot run here.
    left_out: list[LeftOut]

    @property
    def contract(self) -> Contract:
        """The contract, where there is one budget; of a ladder, that of the first."""
        return self.contracts[0]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    what = parser.add_argument_group("what to run")
    model_options.configure(what)
    what.add_argument("--train", default="course-qa", metavar="NAME", help="data set or FILE to train on")
    what.add_argument("--eval", metavar="NAME", help="data set to score on (default: the one trained on)")
    data_options.configure(what)
    what.add_argument(
        "--budget",
        default="short",
        help="60x8, examples=480, smoke, short, long; 0: not trained; 15x8,60x8: a ladder",
    )
    what.add_argument("--seeds", default="0", help="0,1,2")
    what.add_argument("--scale", default="auto", choices=["auto", "mini", "full"])
    what.add_argument(
        "--weights",
        default="published",
        choices=["published", "random"],
        help="random: of the true architecture, to measure what a run costs; such rows are never ranked",
    )
    what.add_argument("--backend", default="auto", choices=["auto", "transformers", "unsloth"])
    what.add_argument(
        "--with",
        dest="packages",
        action="append",
        default=[],
        metavar="NAME==VERSION",
        help="run under another version of a package; repeat for several",
    )
    contract = parser.add_argument_group("the contract, equal for all models")
    contract.add_argument("--eval-split", default="test", choices=["test", "validation"])
    contract.add_argument(
        "--eval-limit", type=whole(0), default=200, metavar="N", help="0 for all (default: 200)"
    )
    contract.add_argument("--max-length", type=whole(SMALLEST_LENGTH, LONGEST), default=512, metavar="TOKENS")
    contract.add_argument("--max-new-tokens", type=whole(1, LONGEST), default=96, metavar="TOKENS")
    contract.add_argument("--template", default="qa")
    contract.add_argument("--metrics", default="", metavar="NAME,...", help="further `evaluate` metrics")
    contract.add_argument("--force", action="store_true", help="allow fewer than 20 test examples")
    arm_options.configure(parser)
    where = parser.add_argument_group("where")
    where.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")


def resolve(
    args: argparse.Namespace,
    versions: Mapping[str, str] | None = None,
    run_code: bool = True,
    ladder: bool = False,
    elsewhere: bool = False,
    vary: Callable[[tuning.Models], tuning.Models] | None = None,
) -> Request:
    """The runs that the options name; without `run_code` no code of a metric is loaded.

    Several budgets are allowed with `ladder`; `vary` may give models other recipes. `elsewhere` plans for
    another machine's GPU: neither this machine nor the hub is asked. Raises `RequestError` and its kinds.
    """
    _check_room(args.max_length, args.max_new_tokens)
    check_folder(args.out)
    mistaken = [*registry.broken_in_short("models"), *registry.broken_in_short("datasets")]
    notes = [*config.told(args), *(f"left out: {mistake}" for mistake in mistaken)]
    train, evaluation = data_options.datasets([args.train, args.eval or args.train], args)
    _check_parts(train, evaluation, args)
    notes += dict.fromkeys(filter(None, map(direct.remark, (train, evaluation))))
    machine = Devices("cuda") if elsewhere else devices.here()
    device: Device = getattr(args, "device", None) or machine.device
    notes += [machine.note] if machine.note else []
    scale = model_options.scale_of(args.scale, device, notes)
    models: tuning.Models = methods.variants(
        model_options.models(args.models, scale, notes), methods.parse(args.methods), registry.models()
    )
    models = [(model_options.with_recipe(spec, at, args), at) for spec, at in models]
    models, effort = model_options.recipes(args, vary(models) if vary else models, notes)
    contracts = _contracts(args, train, evaluation, run_code, ladder)
    models, left_out = suited(models, contracts[0], by_name=args.models != "all")
    for spec, at in models:
        for each in contracts:
            planning.check_micro_batch(spec, spec.recipe_at(at), each)
    if args.weights == "random":
        places = preflight.random(models, machine, contracts[0])
    elif elsewhere:
        places = [(spec, at, preflight.unasked(spec, at)) for spec, at in models]
    else:
        places, others = preflight.usable(models, machine, contracts[0], by_name=args.models != "all")
        left_out += others
    notes += [place.note for *_, place in places if place.note]
    if download := sum(place.download for *_, place in places):
        notes.append(f"to fetch from the hub: {download / 1e9:.1f} GB")
    notes += [f"left out, {model.why}: {model.reason}" for model in left_out]
    versions = versions if versions is not None else provenance.versions()
    if args.seeds != "0" and not all(each.budget.steps for each in contracts):
        notes.append("what is not trained runs once, whatever --seeds says: no seed moves it")
    runs, folders = _planned(args, places, contracts, device, versions, effort)
    if args.backend == "unsloth" and not any(run.backend == "unsloth" for run in runs):
        names = ", ".join(dict.fromkeys(run.name for run in runs))
        raise RequestError(
            f"--backend unsloth: no 4-bit causal model among {names} at scale {scale}, on {device}"
        )
    return Request(runs, contracts, folders, train, evaluation, notes, args.force, left_out)


def _check_parts(train: DatasetSpec, evaluation: DatasetSpec, args: argparse.Namespace) -> None:
    """Raise `RequestError` where text is to be scored on."""
    if evaluation.shape != "text":
        return
    option = f"--train {args.train}" if args.eval is None else f"--eval {args.eval}"
    raise RequestError(
        f"{option}: is text, which asks nothing that could be scored; add --eval NAME, a set of questions"
    )


def _contracts(
    args: argparse.Namespace,
    train: DatasetSpec,
    evaluation: DatasetSpec,
    run_code: bool,
    ladder: bool,
) -> tuple[Contract, ...]:
    """One contract for each budget."""
    metrics = tuple(name for name in args.metrics.split(",") if name)
    for name in metrics:
        (load_metric if run_code else check_metric)(name)  # refuse now what could not be scored in the end
    budgets = model_options.budgets(args.budget, ladder)
    contract = Contract(
        train=prepare.reference(train),
        eval=prepare.reference(evaluation),
        eval_split=args.eval_split,
        eval_limit=args.eval_limit or None,
        budget=budgets[0],
        max_length=args.max_length,
        template=check_name(args.template),
        decoding=Decoding(max_new_tokens=args.max_new_tokens),
        scorer=Rouge(stemmer=True).identity,
        metrics=metrics,
        retrieval=arm_options.retrieval(args, train),
        loss="text" if train.shape == "text" else "answer",
    )
    return tuple(contract.model_copy(update={"budget": budget}) for budget in budgets)


def _planned(
    args: argparse.Namespace,
    places: Sequence[tuple[ModelSpec, Scale, preflight.Place]],
    contracts: Sequence[Contract],
    device: Device,
    versions: Mapping[str, str],
    effort: Mapping[str, int],
) -> tuple[list[Run], dict[str, Path | None]]:
    """The runs, budgets inside models and seeds innermost, and run id -> its checkpoint's folder."""
    runs: list[Run] = []
    folders: dict[str, Path | None] = {}
    for spec, at, place in places:
        checked, seeds = [(spec, place.checkpoint)], _seeds(args.seeds)
        for contract in contracts:
            code = harness(retrieval=contract.retrieval is not None)
            made = planning.plan(checked, seeds, contract, at, device, versions, args.backend, code)
            made = [run.model_copy(update={"tuned_in": effort.get(run.name)}) for run in made]
            runs += made
            folders.update(dict.fromkeys((run.id for run in made), place.folder))
    return runs, folders


def selection(request: Request, ledger: Ledger) -> Path:
    """Prepare the data and leave the selected examples for the attempts. Raises `DataError`."""
    train = prepare.prepare(request.train)
    evaluation = train if request.eval == request.train else prepare.prepare(request.eval)
    contract = request.contract
    chosen = prepare.select(train, evaluation, contract.eval_split, contract.eval_limit, request.force)
    searched = prepare.passages(request.train)
    if contract.retrieval is not None and searched is not None:
        chosen = replace(chosen, passages=tuple(prepare.examples_of(searched)))
    largest = max(contract.budget.examples for contract in request.contracts)
    epochs = largest / len(chosen.train)
    if epochs > 1:
        request.notes.append(
            f"{train.ref.name} has {len(chosen.train)} training examples, the budget sees "
            f"{largest}: {epochs:.1f} seeded epochs"
        )
    file = ledger.work / f"selection-{contract.digest[:16]}.json"
    try:
        write_selection(file, chosen)
    except OSError as error:
        raise RequestError(f"{file}: cannot be written ({error.strerror})") from None
    return file


def _check_room(max_length: int, new_tokens: int) -> None:
    """Raise `RequestError` where answers leave no room for a question."""
    if max_length - new_tokens < SMALLEST_LENGTH:
        raise RequestError(
            f"--max-new-tokens {new_tokens} leaves {max(max_length - new_tokens, 0)} of --max-length "
            f"{max_length} tokens for the prompt; it needs {SMALLEST_LENGTH} at least"
        )


def check_folder(out: Path) -> None:
    """Raise `RequestError` where records cannot be written."""
    there = next(place for place in (out.absolute(), *out.absolute().parents) if os.path.lexists(place))
    if not is_folder(there):
        raise RequestError(f"--out {out}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RequestError(f"--out {out}: {there} cannot be written to")


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"--seeds {text}: expected whole numbers, as in 0,1,2") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > LARGEST_SEED:
        raise RequestError(f"--seeds {text}: each seed once, from 0 to {LARGEST_SEED:,}")
    return seeds
