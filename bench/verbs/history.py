"""`bench history MODEL`: one model's values over versions, with change points."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.judge.compare import to_data
from bench.judge.history import history
from bench.render.text.history import markdown, terminal
from bench.store.ledger import Ledger
from bench.store.scores import METRIC
from bench.verbs import Output
from bench.verbs.compare import write
from bench.verbs.options import width


def configure(parser: argparse.ArgumentParser) -> None:
    """Whose history, and in what."""
    parser.add_argument("model", metavar="MODEL", help="a model's name")
    parser.add_argument("--metric", default=METRIC, metavar="NAME", help=f"({METRIC})")
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="where the records are (reports)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write markdown")


def execute(args: argparse.Namespace) -> Output:
    """Read, order, look for change points. Raises `UnknownName` for a model without records."""
    records, messages = Ledger(args.out).load()
    data = history(records, args.model, args.metric, messages)
    if args.markdown:
        write(args.markdown, markdown(data))
    return Output(terminal(data, width()), to_data(data))
