"""`bench run`: carry out what is missing of a plan, then print the board."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import progress, provenance
from bench.launch.drive import Orders, drive
from bench.ledger import Ledger
from bench.verbs import Outcome, request


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench run`."""
    request.configure(parser)
    how = parser.add_argument_group("how to run it")
    how.add_argument("--jobs", type=int, metavar="N", help="runs at once (default: one a core, or one a GPU)")
    how.add_argument("--time-limit", type=float, metavar="SECONDS", help="for each run")
    how.add_argument("--checkpoint-every", type=int, default=200, metavar="STEPS")
    how.add_argument(
        "--report-to", default="", metavar="NAME,...", help="tensorboard, wandb, mlflow, trackio"
    )


def execute(args: argparse.Namespace) -> Outcome:
    """Carry out what is missing, then make the board of all that the ledger holds."""
    asked = request.resolve(args)
    ledger = Ledger(args.out)
    missing = [run for run in asked.runs if not ledger.finished(run.id)]
    failures = []
    if missing:
        selection = request.selection(asked, ledger)
        for note in asked.notes:
            print(f"bench: {note}", file=sys.stderr)
        orders = orders_for(args, asked.runs[0].device)
        work = [(run, asked.folders[run.id], selection) for run in missing]
        with progress.watcher(len(missing)) as watcher:
            failures = drive(work, ledger, orders, watcher)
    from bench.verbs.report import emit

    outcome = emit(ledger, only={run.contract.digest for run in asked.runs})
    return Outcome(outcome.text, outcome.data, exit_code=1 if failures else 0)


def orders_for(args: argparse.Namespace, device: str) -> Orders:
    """How to share the machine: cores among the jobs on a CPU, GPUs among them otherwise.

    On a CPU the number of threads changes sums in the last digit, so it depends on the machine
    and on --jobs alone, never on how many runs are left.
    """
    cores, gpus = provenance.cores(), provenance.gpu_count()
    jobs = max(1, args.jobs or (max(1, gpus) if device == "cuda" else cores))
    return Orders(
        jobs=jobs,
        threads=max(1, cores // jobs),
        command=provenance.command(),
        tree=provenance.tree(Path.cwd(), ignore=args.out),
        time_limit=args.time_limit,
        checkpoint_every=args.checkpoint_every,
        trackers=tuple(name for name in args.report_to.split(",") if name),
        gpus=gpus if device == "cuda" else 0,
    )
