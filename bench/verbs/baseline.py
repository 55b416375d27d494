"""`bench baseline save NAME`: remember a set of records under a name, for `compare` and `gate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.render import words
from bench.store.baselines import baselines, save_baseline
from bench.store.ledger import Ledger
from bench.store.names import CURRENT, KINDS, select
from bench.verbs import Output


def configure(parser: argparse.ArgumentParser) -> None:
    """What is saved, and as what."""
    parser.add_argument("action", choices=["save"], help="write reports/baselines/NAME.json; commit it")
    parser.add_argument("name", metavar="NAME", help="for example 'main' or 'trl-1.14'")
    parser.add_argument(
        "--from", dest="source", default=CURRENT, metavar="SET", help=f"what is saved ({CURRENT}): {KINDS}"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="where the records are (reports)"
    )


def execute(args: argparse.Namespace) -> Output:
    """Save the baseline. Raises `RequestError`, `UnknownName`, `Incomparable`."""
    ledger = Ledger(args.out)
    replaced = args.name in baselines(ledger)
    side = select(args.source, ledger)
    file, runs = save_baseline(args.name, side, ledger)
    size = words.kilobytes(file.stat().st_size)
    text = f"baseline '{args.name}'{' replaced' if replaced else ''}: {len(runs)} runs in {file} ({size})"
    text += "".join(f"\nleft out: {message}" for message in side.messages)
    return Output(text, {"baseline": args.name, "file": str(file), "runs": runs, "left_out": side.messages})
