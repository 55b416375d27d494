"""`bench merge DIR… --out DIR`: the records of several folders in one, nothing overwritten."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import RequestError
from bench.render.text import merge as text
from bench.store.merge import merge
from bench.verbs import Output
from bench.verbs.request import check_folder


def configure(parser: argparse.ArgumentParser) -> None:
    """The folders and the target."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a folder with runs/ in it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the records go")
    parser.add_argument("--without-weights", action="store_true", help="records alone; they stay whole")


def execute(args: argparse.Namespace) -> Output:
    """Merge. Exit 1 where records were left out, or two records of one run hold other answers."""
    check_folder(args.out)
    try:
        merged = merge(args.folders, args.out, weights=not args.without_weights)
    except OSError as error:
        raise RequestError(f"--out {args.out}: {error.strerror}; the same command goes on") from None
    doubtful = merged.damaged or not all(conflict.alike for conflict in merged.conflicts)
    return Output(text.terminal(merged), text.as_data(merged), 1 if doubtful else 0)
