"""`bench data show NAME`: a prepared data set's counts, split and a few of its examples."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.curate import direct
from bench.data import prepare
from bench.prompt import render
from bench.verbs import Output, data_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which data set and how much of it."""
    parser.add_argument("name", help="registered data set, the NAME of --data, or a FILE")
    data_options.configure(parser)
    parser.add_argument(
        "--examples", type=int, default=3, metavar="N", help="test examples to show (default: 3)"
    )


def execute(args: argparse.Namespace) -> Output:
    """Prepare the data set (or take it from the cache) and describe it."""
    (spec,) = data_options.datasets([args.name], args)
    prepared = prepare.prepare(spec)
    prepare.check_parts(prepared)
    source = Path(spec.file).name if spec.file else f"{spec.hub}@{spec.revision[:8]}"
    lines = [f"{spec.name} from {source}, licence {spec.licence}, digest {prepared.ref.digest[:16]}"]
    lines += [*filter(None, [direct.remark(spec)]), prepared.columns, ""]
    lines += [f"{count:>8}  {reason}" for reason, count in prepared.counts.items()]
    for example in prepared.test[: args.examples]:
        lines += ["", f"--- {example.id}", render(example, "qa") + example.answers[0]]
    data = {"ref": prepared.ref.model_dump(), "columns": prepared.columns, "counts": prepared.counts}
    return Output("\n".join(lines), data)
