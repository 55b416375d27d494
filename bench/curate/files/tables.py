"""Files and folders of any kind that is known become tables: rows of named cells, each with its place.

A table is a file, or one sheet of a workbook. `Table.remarks` says what had to be decided to read it
(encoding, delimiter, rows above the header); what a row means is decided in `shapes`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from bench.curate.files import documents, sheets
from bench.data import encoding as encodings
from bench.data import formats, sources
from bench.digest import file_digest
from bench.errors import DataError
from bench.files import content

#: Suffix -> kind, of the files that are read beside those of `bench.data.sources`.
SUFFIXES = {".xlsx": "sheet", ".xlsm": "sheet", ".xls": "sheet", ".ods": "sheet", ".txt": "turns"}
KNOWN = {**sources.SUFFIXES, **SUFFIXES}
_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
_ARCHIVES = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz")


@dataclass(frozen=True)
class Source:
    """A file that was read, as provenance names it."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True)
class Table:
    """Rows of one file or sheet. `place` begins every message about them."""

    place: str
    rows: list[dict[str, Any]]
    remarks: list[str] = field(default_factory=list)
    #: True for a sheet of a workbook that holds several: it may be no data at all.
    beside_others: bool = False


def files_of(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Name and path of every data file that is asked for, those of a folder in order of their names.

    Raises `DataError` for a path that is missing, a folder without data, and a link that leaves a folder.
    """
    files: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            files += _within(path)
        elif not path.is_file():
            raise DataError(f"{path}: no such file or folder")
        else:
            files.append((path.name, path))
    names = [name for name, _ in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{twice}: is given twice, or two files have this name; put them into one folder")
    return files


def others_of(paths: Sequence[Path]) -> list[str]:
    """Names of the files in folders that are of no known kind, which are left out."""
    names = []
    for folder in filter(Path.is_dir, paths):
        visible = (
            file for file in sorted(folder.rglob("*")) if file.is_file() and not _is_hidden(file, folder)
        )
        names += [str(file.relative_to(folder)) for file in visible if file.suffix.lower() not in KNOWN]
    return names


def source_of(name: str, file: Path) -> Source:
    """A file as provenance names it. Raises `DataError` for one that cannot be read."""
    try:
        return Source(name, file_digest(file), file.stat().st_size)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


def read(name: str, file: Path, encoding: str | None = None) -> list[Table]:
    """The tables of one file, which messages call `name`. Raises `DataError`."""
    suffix = file.suffix.lower()
    kind = KNOWN.get(suffix)
    if kind is None:
        remedy = "unpack it" if suffix in _ARCHIVES else f"known: {', '.join(KNOWN)}"
        raise DataError(f"{name}: unknown kind of file '{file.suffix}'; {remedy}")
    if file.stat().st_size == 0:
        raise DataError(f"{name}: is empty")
    if kind == "sheet":
        return _limited(sheets.tables(name, file), name)
    if kind == "parquet":
        return [Table(name, list(formats.within_limits(formats.parquet_rows(file, name), Path(name))))]
    if zipfile.is_zipfile(file):
        raise DataError(
            f"{name}: is a workbook or archive, not text; rename it to .xlsx or .ods, or unpack it"
        )
    return [_of_text(name, file, kind, encoding)]


def _limited(found: Iterable[sheets.Sheet], name: str) -> list[Table]:
    holding = list(found)
    return [
        Table(
            sheet.place,
            list(formats.within_limits(sheet.rows, Path(sheet.place))),
            sheet.remarks,
            len(holding) > 1,
        )
        for sheet in holding
    ]


def _of_text(name: str, file: Path, kind: str, encoding: str | None) -> Table:
    chosen = encodings.canonical(encoding) if encoding else encodings.detected(file, mixed=True)
    remarks = [] if chosen == encodings.DEFAULT else [f"encoding {chosen}"]
    if chosen == encodings.MIXED:
        remarks = [f"utf-8, with {_count_mixed(file)} lines of cp1252"]
    try:
        lines = list(encodings.lines(file, chosen))
    except DataError as error:
        raise DataError(str(error).replace(str(file), name, 1)) from None
    shown = Path(name)
    if kind == "turns":
        rows = documents.conversations("".join(lines), name)
    elif kind == "csv":
        rows = formats.csv_rows(lines, shown)
        delimiter = _NAMES[formats.delimiter_of(next(islice(lines, 1), "").lstrip("\ufeff"), shown)]
        remarks += [f"parted by {delimiter}"] if delimiter != "comma" else []
    else:
        rows, how = documents.objects(lines, shown)
        remarks += how
    return Table(name, list(formats.within_limits(rows, shown)), remarks)


def _count_mixed(file: Path) -> int:
    def is_utf8(line: bytes) -> bool:
        try:
            line.decode()
        except UnicodeDecodeError:
            return False
        return True

    return sum(not is_utf8(line) for line in content(file).split(b"\n"))


def _within(folder: Path) -> list[tuple[str, Path]]:
    root = folder.resolve()
    files = []
    for file in sorted(folder.rglob("*")):
        if _is_hidden(file, folder):
            continue
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise DataError(f"{file}: is a link to a place outside the folder; copy the file into it")
        if file.is_file() and file.suffix.lower() in KNOWN:
            files.append((str(file.relative_to(folder)), file))
    if not files:
        raise DataError(f"{folder}: holds no data file; known: {', '.join(KNOWN)}")
    return files


def _is_hidden(file: Path, folder: Path) -> bool:
    """A file that no user made: those of editors, and the locks of office programs."""
    return any(part.startswith((".", "~$")) for part in file.relative_to(folder).parts)
