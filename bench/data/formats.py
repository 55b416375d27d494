"""The formats of data files: lines of JSON, tables in text and Parquet become rows of named cells.

What a row means is in `shape` and `layout`; where a file comes from is in `sources`.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

from bench.data import shape
from bench.errors import DataError
from bench.spec import Columns

#: Delimiters of a table in text, the usual one first; a file's own header decides.
DELIMITERS = (",", "\t", ";", "|")
#: Characters from which on a cell is no question and no answer, but a file that was read wrongly.
LONGEST_CELL = 1_000_000
_NAMES = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
#: The first line by which spreadsheet programs name the delimiter.
_NAMED_DELIMITER = re.compile(r"\s*sep=([,\t;|])\s*")


def writable(rows: Iterable[dict[str, Any]], file: Path) -> Iterator[dict[str, Any]]:
    """The same rows. Raises `DataError` for half a character and for endless nesting."""
    for number, row in enumerate(rows, start=1):
        if all(map(_is_plain, row)) and all(map(_is_plain, row.values())):
            yield row
            continue
        try:
            json.dumps(row, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{file}: row {number} holds half a character (a surrogate without its pair); mend it"
            ) from None
        except (RecursionError, ValueError, TypeError):
            raise DataError(f"{file}: row {number} is nested too deeply, or its names are no text") from None
        yield row


def _is_plain(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.isascii())


def within_limits(rows: Iterable[dict[str, Any]], file: Path) -> Iterator[dict[str, Any]]:
    """The same rows. Raises `DataError` for a text that is too long to be a question or an answer."""
    for number, row in enumerate(rows, start=1):
        for name, cell in row.items():
            if isinstance(cell, str) and len(cell) > LONGEST_CELL:
                raise DataError(
                    f"{file}: row {number}: '{name}' holds {len(cell):,} characters, over {LONGEST_CELL:,}; "
                    "shorten it, or look for a quote or line end that is missing"
                )
        yield row


def json_rows(lines: Iterable[str], file: Path) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines, or of one JSON list in a `.json` file. Raises `DataError`."""
    if file.suffix.lower() == ".json":
        lines = list(lines)
        whole = "".join(lines).lstrip("\ufeff").strip()
        if whole.startswith("["):
            items = json_of(whole, str(file))
            yield from (_object(file, number, item) for number, item in enumerate(items, start=1))
            return
    for number, line in enumerate(lines, start=1):
        line = line.lstrip("\ufeff").strip()
        if line:
            yield _object(file, number, json_of(line, str(file), number))


def json_of(text: str, place: str, number: int | None = None) -> Any:
    """The value of a JSON text, of line `number` or of a whole file. Raises `DataError`."""
    try:
        return json.loads(text, object_pairs_hook=_fields)
    except json.JSONDecodeError as error:
        line = error.lineno if number is None else number
        raise DataError(f"{place}: line {line} is not JSON: {error.msg}") from None
    except _Repeated as error:
        raise DataError(f"{place}: {'a row' if number is None else f'line {number}'} {error}") from None
    except (ValueError, RecursionError) as error:
        where = "the file" if number is None else f"line {number}"
        raise DataError(f"{place}: {where} {_beyond(error)}") from None


def _beyond(error: ValueError | RecursionError) -> str:
    """What JSON allows and this program does not read."""
    if isinstance(error, RecursionError):
        return "is nested too deeply; write each row as one flat object"
    return "holds too long a number"


def _object(file: Path, number: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DataError(
            f"{file}: row {number} is {type(item).__name__}, expected an object with named fields"
        )
    return item


class _Repeated(Exception):
    """A name that occurs twice where each may occur once."""

    def __init__(self, name: str) -> None:
        super().__init__(f"has '{name}' twice; rename or remove the second")


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _Repeated(_repeated([name for name, _ in pairs]))
    return fields


def _repeated(names: Iterable[str]) -> str:
    """The first name that occurs twice; "" where none does."""
    return next((name for name, count in Counter(names).items() if name and count > 1), "")


def csv_rows(lines: Iterable[str], file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table in text, by its header and the delimiter of that. Raises `DataError`."""
    csv.field_size_limit(sys.maxsize)
    cleaned = _csv_lines(lines, file)
    head = list(islice(cleaned, 1))
    offset = 0
    if head and (named := _NAMED_DELIMITER.fullmatch(head[0])):
        delimiter, offset, head = named[1], 1, []
    else:
        delimiter = delimiter_of(head[0] if head else "", file)
    reader = csv.reader(chain(head, cleaned), delimiter=delimiter, strict=True)
    number = last = 0
    try:
        header = next((cells for cells in reader if cells), [])
        if name := _repeated(cell.strip() for cell in header):
            raise DataError(f"{file}: the header {_Repeated(name)}")
        last = reader.line_num + offset
        for number, cells in enumerate((cells for cells in reader if cells), start=1):
            last = reader.line_num + offset
            if len(cells) > len(header):
                raise DataError(
                    f"{file}: row {number} (to line {last}) has {len(cells)} cells under a "
                    f"header of {len(header)}; put a cell that holds {_NAMES[delimiter]} in double quotes"
                )
            yield dict(zip_longest(header, cells))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise DataError(
                f"{file}: a quote that opens in row {number + 1} (from line {last + 1}) never closes; "
                "close it, or write a quote inside a cell as two"
            ) from None
        raise DataError(f"{file}: line {reader.line_num + offset} is not CSV: {error}") from None


def delimiter_of(header: str, file: Path) -> str:
    """The delimiter under which a header names a question and an answer; else the one that parts it."""
    order = sorted(DELIMITERS, key=lambda mark: mark != "\t") if _is_tabbed(file) else DELIMITERS
    parted = []
    for delimiter in order:
        try:
            names = [name for name in next(csv.reader([header], delimiter=delimiter)) if name.strip()]
        except (csv.Error, StopIteration):
            continue
        if names_both(names):
            return delimiter
        if len(names) > 1:
            parted.append(delimiter)
    return parted[0] if parted else order[0]


def _is_tabbed(file: Path) -> bool:
    return file.suffix.lower() in (".tsv", ".tab")


def names_both(names: list[str]) -> bool:
    """Whether a header names a question and an answer by their usual names."""
    try:
        shape.columns_for(names, Columns(), "")
    except DataError:
        return False
    return True


def _csv_lines(lines: Iterable[str], file: Path) -> Iterator[str]:
    """Lines without a byte order mark; a stray carriage return inside a cell is a blank."""
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise DataError(
                f"{file}: line {number} holds a zero byte, so this is no text or in another encoding; "
                "save it as CSV in utf-8, or say --encoding"
            )
        line = line.replace("\r\n", "\n").replace("\r", " ")
        yield line.lstrip("\ufeff") if number == 1 else line


def parquet_rows(file: Path, place: str = "") -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, which messages call `place`. Raises `DataError`."""
    import pyarrow.parquet as parquet  # here: 60 MB that only this format needs

    place = place or str(file)
    try:
        table = parquet.ParquetFile(file, page_checksum_verification=True)
        names = table.schema_arrow.names
    except Exception as error:  # what a damaged file raises has no common kind
        raise DataError(f"{place}: is not Parquet: {_first_line(error)}") from None
    if name := _repeated(names):
        raise DataError(f"{place}: the schema {_Repeated(name)}")
    batches, read = table.iter_batches(), 0
    while True:
        try:
            cells = next(batches).to_pylist()
        except StopIteration:
            break
        except Exception as error:
            raise DataError(
                f"{place}: is damaged after row {read}: {_first_line(error)}; write it again"
            ) from None
        yield from cells
        read += len(cells)
    if read != table.metadata.num_rows:
        raise DataError(
            f"{place}: holds {read} rows, its footer says {table.metadata.num_rows}; write it again"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
