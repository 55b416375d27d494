"""`bench show RUN`: one run in words, its curve, and answers side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.render.text import run as one_run
from bench.store.ledger import Ledger
from bench.store.lookup import find_newest
from bench.verbs import Output
from bench.verbs.options import width


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `bench show`."""
    parser.add_argument("run", metavar="RUN", help="a run's id, its beginning, or a model: its newest run")
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="folder of the records"
    )
    parser.add_argument("--all", action="store_true", help="every answer, not only the telling ones")


def execute(args: argparse.Namespace) -> Output:
    """Find the run and tell it. Raises `UnknownName`, `RequestError`, `RecordError`."""
    stored = find_newest(args.run, Ledger(args.out))
    chosen = one_run.answers(stored) if args.all else one_run.telling(stored)
    return Output(one_run.text(stored, chosen, width()), one_run.as_data(stored, chosen))
