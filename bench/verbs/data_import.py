"""`bench data import FILE... --to NAME`: users' files as a data set, with what was done to them."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from bench import registry
from bench.data import sources
from bench.errors import RequestError
from bench.verbs import Output, data_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the files and what may be decided about them."""
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="CSV, TSV, XLSX, ODS, JSONL, JSON, Parquet or a folder",
    )
    parser.add_argument("--to", required=True, metavar="NAME", help="the data set to write, in datasets/")
    data_options.configure_reading(parser)
    parser.add_argument(
        "--turns",
        choices=("first", "all"),
        default="first",
        help="which exchanges of a conversation become examples (default: first)",
    )
    parser.add_argument("--licence", default="unknown", help="of the data, for its card")
    parser.add_argument("--force", action="store_true", help="replace a spec that was written by hand")


def execute(args: argparse.Namespace) -> Output:
    """Read, mend, write; then say all of it."""
    from bench.curate import writing
    from bench.curate.files import importing  # late: `bench data --help` needs none of it

    registered = {*registry.datasets(), *registry.broken("datasets")}
    writing.check_name(args.to, Path.cwd(), registered, args.force)
    fraction = sources.FILE_TEST_FRACTION if args.test_fraction is None else args.test_fraction
    if not 0 < fraction < 1:
        raise RequestError(f"--test-fraction {fraction:g}: must lie between 0 and 1, as in 0.3")
    options = importing.Options(data_options.reading_columns(args), args.encoding, args.turns)
    imported = importing.import_files(args.files, options)
    steps = imported.steps()
    made = writing.Made(
        args.to,
        imported.examples,
        f"imported from {len(imported.sources)} file{'s' if len(imported.sources) > 1 else ''}",
        imported.sources,
        [*imported.tables, *steps],
        args.licence,
        fraction,
    )
    files = writing.write(made, Path.cwd())
    lines = [*imported.tables, "", *_counted(imported.counts, len(imported.examples)), *steps]
    lines += ["", f"wrote {', '.join(str(file.relative_to(Path.cwd())) for file in files)}"]
    lines += [f"next: bench data check {args.to}"]
    data = {
        "examples": len(imported.examples),
        "counts": imported.counts,
        "notes": imported.notes,
        "repaired": imported.repairs.texts,
        "left_out": imported.left_out,
        "files": [str(file) for file in files],
    }
    return Output("\n".join(lines), data)


def _counted(counts: Counter[str], examples: int) -> list[str]:
    lines = [f"{counts['read']:>8}  rows read"]
    lines += [f"{count:>8}  {reason}" for reason, count in counts.items() if reason != "read"]
    return [*lines, f"{examples:>8}  examples"]
