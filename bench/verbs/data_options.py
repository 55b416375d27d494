"""The options that say where a data set's rows are and how they are read.

`--columns`, `--encoding` and `--test-fraction` stand for the spec of a file that has none. They
are put into the data set's identity only where they change what is read, so a file has the same
digest whether its usual column names are written out or not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench import registry
from bench.curate.files import direct, tables
from bench.data import encoding as encodings
from bench.data import layout, sources
from bench.errors import BenchError, DataError, RequestError, UnknownName
from bench.files import is_file, is_folder
from bench.spec import NAME, Columns, DatasetSpec


def configure(parser: argparse._ActionsContainer) -> None:
    """Add the options."""
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=FILE", help="read NAME from FILE"
    )
    configure_reading(parser)


def configure_reading(parser: argparse._ActionsContainer) -> None:
    """Add the options that say how a file without a spec is read."""
    parser.add_argument(
        "--columns",
        metavar="question=Q,answer=A",
        help=f"columns of a file without a spec: {', '.join(Columns.model_fields)}",
    )
    parser.add_argument("--encoding", metavar="NAME", help="of a file without a spec (default: found)")
    parser.add_argument(
        "--test-fraction",
        type=float,
        metavar="F",
        help=f"part of a file without a spec to score on (default: {sources.FILE_TEST_FRACTION})",
    )


def datasets(names: Sequence[str], args: argparse.Namespace) -> list[DatasetSpec]:
    """The data sets of these names: registered, a local copy of a registered one, or a file.

    Raises `RequestError` and its kinds, also for an option that describes none of them.
    """
    given = files(args.data)
    own: set[str] = set()
    specs = []
    for name in names:
        file = given.get(name) or _as_file(name)
        if file is None:
            specs.append(registry.find_dataset(name))
        elif name in given and _is_registered(name):
            if not is_file(file):
                raise DataError(f"--data {name}={file}: {file} is no file, which a registered data set needs")
            specs.append(sources.from_file(registry.find_dataset(name), file))
        else:
            specs.append(_described(name if name in given else _name_of(file), file, args))
            own.add(name)
    if unused := set(given) - set(names):
        used = " and ".join(sorted(set(names)))
        raise RequestError(f"--data {sorted(unused)[0]}=...: is not used; the request names {used}")
    if len({spec.file for spec in specs}) > len({spec.name for spec in specs}):
        raise RequestError(
            f"two files are called '{specs[0].name}'; tell them apart by --data NAME={specs[0].file}"
        )
    _check_use(names, own, args)
    return specs


def _check_use(names: Sequence[str], own: set[str], args: argparse.Namespace) -> None:
    """Raises `RequestError` for an option that describes no file of this request."""
    options = {
        "--columns": args.columns,
        "--encoding": args.encoding,
        "--test-fraction": args.test_fraction,
    }
    asked = [option for option, value in options.items() if value is not None]
    if asked and not own:
        raise RequestError(
            f"{asked[0]}: describes a file without a spec, and '{names[0]}' has one; "
            "change a copy of the spec, or give the file another name by --data NAME=FILE"
        )


def files(pairs: Sequence[str]) -> dict[str, Path]:
    """Name -> file of every `--data NAME=FILE`. Raises `RequestError`, `DataError`."""
    files_by_name = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not NAME.fullmatch(name):
            raise RequestError(f"--data {pair}: expected NAME=FILE")
        files_by_name[name] = Path(file).expanduser()
        if not is_file(files_by_name[name]) and not is_folder(files_by_name[name]):
            raise DataError(f"--data {pair}: {file} is no file and no folder")
    return files_by_name


def reading_columns(args: argparse.Namespace) -> Columns:
    """What `--columns` names, which may be nothing."""
    return columns_of(args.columns) if args.columns is not None else Columns()


def columns_of(text: str) -> Columns:
    """Columns from `question=Q,answer=A`. Raises `RequestError`, `UnknownName`."""
    fields: dict[str, str] = {}
    for pair in text.split(","):
        field, equals, column = (part.strip() for part in pair.partition("="))
        if not equals or not column:
            raise RequestError(f"--columns {text}: expected FIELD=COLUMN,..., as in question=Q,answer=A")
        if field not in Columns.model_fields:
            raise UnknownName("field of --columns", field, Columns.model_fields)
        if field in fields:
            raise RequestError(f"--columns {text}: '{field}' is given twice")
        fields[field] = column
    return Columns(**fields)


def _is_registered(name: str) -> bool:
    return name in registry.datasets() or name in registry.broken("datasets")


def _as_file(name: str) -> Path | None:
    """The file that a name of no data set points to; none where it is no path."""
    file = Path(name).expanduser()
    if _is_registered(name) or not ("/" in name or file.suffix.lower() in tables.KNOWN):
        return None
    if not is_file(file) and not is_folder(file):
        raise DataError(f"{name}: is no file and no registered data set")
    return file


def _name_of(file: Path) -> str:
    if not NAME.fullmatch(file.stem) or _is_registered(file.stem):
        reason = "is a registered name" if _is_registered(file.stem) else "is no name for a data set"
        raise RequestError(f"{file}: '{file.stem}' {reason}; give it one by --data NAME={file}")
    return file.stem


def _described(name: str, file: Path, args: argparse.Namespace) -> DatasetSpec:
    """The spec of a file by the options, without those that change nothing."""
    fraction = sources.FILE_TEST_FRACTION if args.test_fraction is None else args.test_fraction
    if not 0 < fraction < 1:
        raise RequestError(f"--test-fraction {fraction:g}: must lie between 0 and 1, as in 0.3")
    if args.encoding is not None:
        try:
            encoding = encodings.canonical(args.encoding)
        except DataError as error:
            raise RequestError(f"--encoding {args.encoding}: {error}") from None
    if direct.needs_import(file):
        return direct.spec_of(name, file, reading_columns(args), args.encoding, fraction)
    if args.encoding is None:
        encoding = direct.encoding_of(file)
    if encodings.reads_as_default(file, encoding):
        encoding = encodings.DEFAULT
    plain = sources.spec_for_file(name, file, None, encoding, fraction)
    if args.columns is None:
        return plain
    spec = sources.spec_for_file(name, file, columns_of(args.columns), encoding, fraction)
    return plain if _layout_of(plain) == layout.of_file(spec) else spec


def _layout_of(spec: DatasetSpec) -> layout.Layout | None:
    try:
        return layout.of_file(spec)
    except BenchError:
        return None
