"""`bench run`: carry out what is missing of a plan, then print the board."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from bench import devices, provenance
from bench.errors import RequestError
from bench.judge.beside.added import with_added
from bench.judge.beside.arms import with_arms
from bench.judge.board import Board, board
from bench.judge.effort.ladder import with_ladders
from bench.launch import progress
from bench.launch.drive import Settings, drive
from bench.launch.process import Pool, Workers, check_platform
from bench.render import export
from bench.render.text import leaderboard
from bench.run.identity import Run
from bench.store.ledger import Ledger
from bench.store.record import Failure
from bench.store.sides import setting, trial_of
from bench.verbs import Output, report, request
from bench.verbs.options import seconds, whole, width
from bench.versions import environment

#: CPU threads of a run on nodes that are not this machine.
CLUSTER_THREADS = {"cpu": 1, "cuda": 4, "mps": 1}
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench run`."""
    request.configure(parser)
    how = parser.add_argument_group("how to run it")
    jobs = "runs at once (default: one a core, or one a GPU)"
    how.add_argument("--jobs", type=whole(1, 1024), metavar="N", help=jobs)
    how.add_argument("--recipes", type=Path, metavar="FILE", help="chosen by bench tune")
    how.add_argument("--time-limit", type=seconds, metavar="SECONDS", help="for each run")
    how.add_argument("--checkpoint-every", type=whole(1), default=200, metavar="STEPS")
    fresh = "let untuned models answer anew, not from what an earlier run kept"
    how.add_argument("--fresh-base", action="store_true", help=fresh)
    many = parser.add_argument_group("on many machines (pip install 'bench-sft[cluster]')")
    many.add_argument("--on", metavar="WHERE", help="ray (started here), auto, or ray://HOST:10001")
    many.add_argument("--ship", action="store_true", help="send local checkpoints to nodes that lack them")
    many.add_argument("--tries", type=whole(1, 100), default=3, metavar="N", help="where nodes are lost (3)")
    many.add_argument("--accelerator", metavar="NAME", help="only nodes with this type of accelerator")
    same = "refuse machines, or records beside the new ones, of several kinds"
    many.add_argument("--same-hardware", action="store_true", help=same)
    many.add_argument("--device", choices=["cpu", "cuda"], help="the nodes' (default: as here)")
    how.add_argument("--report-to", default="", metavar="NAME,...", type=trackers, help=", ".join(TRACKERS))


def trackers(text: str) -> tuple[str, ...]:
    """Names of trackers that are installed. Raises argparse's error for others."""
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    for name in names:
        if name not in TRACKERS:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise argparse.ArgumentTypeError(f"{name} is not installed; pip install {name}")
    return names


def execute(args: argparse.Namespace) -> Output:
    """Carry out what is missing, then make the board of all that the ledger holds."""
    packages = environment.solve(args.packages)
    requested = request.resolve(args, packages.versions, ladder=True)
    ledger = Ledger(args.out)
    failures = carry_out(args, requested, ledger, packages)
    if args.models == "all" and not packages.trial:
        ledger.leave_out(requested.contract.digest, requested.runs[0].scale, requested.left_out)
    return board_of(requested, ledger, 1 if failures else 0, packages.trial)


def board_of(
    requested: request.Request, ledger: Ledger, exit_code: int, trial: tuple[str, ...] = ()
) -> Output:
    """Write the board of all records; print what belongs to the request's contract and environment."""
    stored, messages = ledger.load()
    failures = ledger.failed()
    asked = [setting(run) for run in requested.runs]
    left_out = ledger.left_out()
    measured, _ = ledger.measured()
    everything = completed(board(stored, failures, asked, left_out, measured), messages)
    file = report.write(everything, ledger.out / f"{report.NAME}.md")
    contracts = {contract.digest for contract in requested.contracts}
    whole = board(
        [item for item in stored if item.record.run.contract.digest in contracts and trial_of(item) == trial],
        [item for item in failures if item.run.contract.digest in contracts and trial_of(item) == trial],
        asked,
        left_out,
        [item for item in measured if item.record.run.contract.digest in contracts],
    )
    shown = completed(whole, messages)
    lines = [leaderboard.terminal(shown, width()), ""]
    lines += [f"left out: {message}" for message in dict.fromkeys(messages)]
    lines += [f"written: {file}"]
    return Output("\n".join(lines), export.as_data(shown), exit_code)


def completed(shown: Board, messages: list[str]) -> Board:
    """A board with all that stands beside its tables."""
    return with_ladders(with_arms(with_added(shown, messages), messages))


def carry_out(
    args: argparse.Namespace, requested: request.Request, ledger: Ledger, packages: environment.Environment
) -> list[Failure]:
    """Carry out the runs that have no record yet, in their environment; those that died."""
    environment.check_backend(requested.runs, packages)
    missing = [run for run in by_seed(requested.runs) if not ledger.finished(run.id)]
    if not missing:
        if args.same_hardware:
            _one_kind({}, requested, ledger)
        return []
    check_platform()
    settings = settings_for(args, requested.runs[0].device, packages.trial)
    pool, here = workers(args, settings, missing, packages)
    with closing(pool):
        if args.same_hardware:
            settings = replace(settings, machine=_one_kind(here, requested, ledger))
        environment.build(packages)
        pool.warm(missing[0])
        selection = request.selection(requested, ledger)
        for note in requested.notes:
            print(f"bench: {note}", file=sys.stderr)
        work = [(run, requested.folders[run.id], selection) for run in missing]
        with progress.watcher(len(missing), len(requested.contracts) > 1) as watcher:
            return drive(work, ledger, settings, watcher, pool)


def _one_kind(here: dict[str, str], requested: request.Request, ledger: Ledger) -> str:
    """The kind of machine of all rows of the tables asked for. Raises `RequestError`."""
    stored, _ = ledger.load()
    beside = [
        (item.record.run.name, item.record.provenance.machine)
        for item in stored
        if item.record.run.contract in requested.contracts
    ]
    return devices.one_kind([*here.items(), *beside])


def by_seed(runs: Sequence[Run]) -> list[Run]:
    """All models with the first seed, then with the next, which finds the untuned models' answers there."""
    seeds = list(dict.fromkeys(run.seed for run in runs))
    return sorted(runs, key=lambda run: seeds.index(run.seed))


def workers(
    args: argparse.Namespace, settings: Settings, runs: Sequence[Run], packages: environment.Environment
) -> tuple[Workers, dict[str, str]]:
    """What carries the runs out: processes of this machine, or a cluster whose nodes were checked.

    Beside it the kind of each machine by its name. Raises `RequestError` and its kinds.
    """
    if not args.on:
        own = {"this machine": devices.machine(runs[0].device)}
        return Pool(settings.threads, extra=packages.variables), own
    if packages.trial:
        raise RequestError("--with: other versions are installed on this machine alone; leave out --on")
    if merged := [run.name for run in runs if run.checkpoint.kind == "adapter"]:
        raise RequestError(f"--on: adapters are merged on this machine alone ({merged[0]}); leave out --on")
    if args.embedding:
        raise RequestError("--on: an embedding folder is read on this machine alone; leave out --on")
    from bench.launch.cluster import join, pool

    target = join.Target(args.on, args.ship, args.tries, args.accelerator)
    ray = join.connect(target, provenance.cores(), len(settings.gpus))
    joined = pool.Cluster(ray, target, settings.threads, args.jobs)
    try:
        return joined, joined.check(runs)
    except BaseException:
        joined.close()
        raise


def settings_for(args: argparse.Namespace, device: str, trial: tuple[str, ...] = ()) -> Settings:
    """How to share the machine: cores among the jobs on a CPU, GPUs among them otherwise.

    On a CPU the number of threads changes sums in the last digit, so it depends on the machine
    and on --jobs alone, never on how many runs are left.
    """
    cores = provenance.cores()
    gpus = devices.here().slots if device == "cuda" else ()
    jobs = max(1, args.jobs or (cores if device == "cpu" else len(gpus)))
    return Settings(
        jobs=jobs,
        threads=max(1, cores // jobs) if args.on in (None, "ray") else CLUSTER_THREADS[device],
        command=provenance.command(getattr(args, "words", None)),
        tree=provenance.tree(Path.cwd(), ignore=args.out),
        time_limit=args.time_limit,
        checkpoint_every=args.checkpoint_every,
        trackers=tuple(args.report_to),
        gpus=gpus,
        trial=trial,
        fresh_base=args.fresh_base,
        embedding=args.embedding,
    )
