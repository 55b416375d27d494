"""`bench verify RUN|DIR`: make a row again from its weights, and say whether it reproduces."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.judge.compare import to_data
from bench.render.text import verification as verify_text
from bench.store.lookup import MANIFEST
from bench.verbs import Output, run_options
from bench.verbs.options import whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Which run or folder, and how many questions."""
    parser.add_argument(
        "run", metavar="RUN|DIR", help=f"{run_options.RUN}; or a folder that bench export wrote"
    )
    parser.add_argument(
        "--sample", type=whole(1), metavar="N", help="answer so many test questions anew (default: all)"
    )
    parser.add_argument(
        "--against", metavar="RUN", help="hold the folder of anybody's model against this run's answers"
    )
    run_options.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """Verify; exit 1 where the row does not reproduce. Raises `RequestError`, `RecordError`."""
    folder = Path(args.run)
    exported = (folder / MANIFEST).is_file()
    is_folder = exported or args.against is not None
    stored = run_options.stored(args.against or args.run, args) if args.against or not exported else None
    run_options.prepare(*([stored] if stored else []))
    from bench.serve import verify  # here: they load torch
    from bench.serve.exported import artifact

    if stored is None or is_folder:
        result = artifact.verify(folder, args.sample, args.base, run_options.progress, stored)
    else:
        result = verify.verify(stored, args.sample, args.base, run_options.progress)
    data = {**to_data(result), "reproduces": result.reproduces, "verdict": verify_text.verdict(result)}
    return Output(verify_text.terminal(result), data, 0 if result.reproduces else 1)
