"""`bench data import FILE... --to NAME`: files, or a data set of the hub, as one with what was done to it."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.data import sources
from bench.errors import RequestError
from bench.verbs import Output, data_options
from bench.verbs.options import whole

if TYPE_CHECKING:
    from bench.curate.files.importing import Imported, Options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the files and what may be decided about them."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="CSV, TSV, XLSX, ODS, JSONL, JSON, Parquet or a folder; or ORG/NAME[@REVISION] of the hub",
    )
    parser.add_argument("--to", required=True, metavar="NAME", help="the data set to write, in datasets/")
    data_options.configure_reading(parser)
    parser.add_argument(
        "--turns",
        choices=("first", "all"),
        default="first",
        help="which exchanges of a conversation become examples (default: first)",
    )
    parser.add_argument(
        "--sample", type=whole(1), metavar="N", help="rows to draw of a data set of the hub (default: all)"
    )
    parser.add_argument("--split", metavar="NAME", help="of a data set of the hub (default: train)")
    parser.add_argument("--configuration", metavar="NAME", help="of a data set of the hub that has several")
    parser.add_argument("--licence", help="of the data, for its card (default: the hub's, else unknown)")
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
    imported, origin, licence = _read(args, options)
    steps = imported.steps()
    made = writing.Made(
        args.to,
        imported.examples,
        origin,
        imported.sources,
        [*imported.tables, *steps],
        args.licence or licence or "unknown",
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


def _read(args: argparse.Namespace, options: Options) -> tuple[Imported, str, str]:
    """The examples, where they are from in words, and the licence where the source names one."""
    from bench.curate.files import hub, importing

    names = [name for name in args.files if hub.is_hub_id(name)]
    if not names:
        for option in ("sample", "split", "configuration"):
            if getattr(args, option) is not None:
                raise RequestError(f"--{option}: is for a data set of the hub, ORG/NAME; leave it out")
        imported = importing.import_files([Path(name) for name in args.files], options)
        count = len(imported.sources)
        return imported, f"imported from {count} file{'s' if count > 1 else ''}", ""
    if len(args.files) > 1:
        raise RequestError(f"{names[0]}: a data set of the hub is imported by itself; name nothing beside it")
    if args.encoding is not None:
        raise RequestError("--encoding: is for files of text; leave it out for a data set of the hub")
    named = hub.HUB_ID.fullmatch(names[0])
    assert named is not None
    wanted = hub.Wanted(named[1], named[2] or "main", args.split or "train", args.configuration, args.sample)
    published = hub.fetch(wanted)
    imported = importing.import_table(published.table, published.source, options)
    return imported, f"imported from {wanted.repository}", published.licence


def _counted(counts: Counter[str], examples: int) -> list[str]:
    lines = [f"{counts['read']:>8}  rows read"]
    lines += [f"{count:>8}  {reason}" for reason, count in counts.items() if reason != "read"]
    return [*lines, f"{examples:>8}  examples"]
