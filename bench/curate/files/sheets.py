"""Workbooks (XLSX, XLS, ODS) as rows: the only module that imports python-calamine.

Formulas count as the values that were saved with them. A merged cell stands for every row that it covers.
Refused before anything is unpacked: workbooks that would unpack to more than `LARGEST`, and those with a
password. Refused after: formulas that were never computed, errors in cells, and cells merged over columns.
"""

from __future__ import annotations

import datetime
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.data import formats
from bench.data.layout import CHAT_COLUMNS
from bench.errors import DataError, RequestError
from bench.files import opened

#: Bytes to which a workbook may unpack in all.
LARGEST = 400_000_000
#: How many times its own size it may unpack to, from `SMALL` bytes on.
MOST_TIMES, SMALL = 200, 20_000_000
_CHUNK = 1_000_000
#: Rows at the top among which the header is looked for.
TOP = 10
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_ERRORS = re.compile(r"Err:\d+|#(REF!|N/A|VALUE!|DIV/0!|NAME\?|NULL!|NUM!|SPILL!|CALC!)")
#: A formula's cell in XLSX that holds no value.
_UNCOMPUTED = re.compile(rb"<c r=\"([A-Z]+\d+)\"[^>]*><f[^>]*(?:/>|>[^<]*</f>)(?:<v\s*/>|<v></v>)?</c>")
#: A cell in XLSX that holds an error.
_FAULTY = re.compile(rb"<c r=\"([A-Z]+\d+)\"[^>]*t=\"e\"[^>]*>(?:<f[^>]*(?:/>|>[^<]*</f>))?<v>([^<]*)</v>")


@dataclass(frozen=True)
class Sheet:
    """The rows of one sheet, by its header."""

    place: str
    rows: list[dict[str, Any]]
    remarks: list[str] = field(default_factory=list)


def tables(name: str, file: Path) -> list[Sheet]:
    """The sheets of a workbook that hold anything. Raises `DataError`; `RequestError` without the extra."""
    try:
        metadata.version("python-calamine")
    except metadata.PackageNotFoundError:
        raise RequestError(f"{name}: reading spreadsheets needs: pip install 'bench-sft[data]'") from None
    _check_container(name, file)
    import python_calamine as calamine

    try:
        with calamine.CalamineWorkbook.from_path(file) as workbook:
            pages = [
                _sheet(f"{name}, sheet '{sheet}'", workbook.get_sheet_by_name(sheet))
                for sheet in workbook.sheet_names
                if _is_worksheet(workbook, sheet)
            ]
    except calamine.PasswordError:
        raise DataError(f"{name}: is protected by a password; save it without one") from None
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise DataError(f"{name}: is no workbook that can be read ({error}); save it again as XLSX") from None
    holding = [page for page in pages if page.rows]
    if not holding:
        raise DataError(
            f"{name}: every sheet is empty, or holds a header alone; save the sheet with the rows"
        )
    return holding


def _is_worksheet(workbook: Any, sheet: str) -> bool:
    kinds = {item.name: str(item.typ) for item in workbook.sheets_metadata}
    return kinds.get(sheet, "").endswith("WorkSheet")


def _check_container(name: str, file: Path) -> None:
    """Raise `DataError` for a workbook that is locked, damaged, or unpacks to far more than it is."""
    with opened(file) as handle:
        start = handle.read(len(_OLE))
    if start == _OLE:
        if file.suffix.lower() != ".xls":
            raise DataError(
                f"{name}: is protected by a password, or an old .xls; save it as XLSX without one"
            )
        return
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {item.filename: item.file_size for item in archive.infolist()}
            whole = sum(sizes.values())
            if whole > LARGEST or (whole > SMALL and whole > MOST_TIMES * file.stat().st_size):
                raise DataError(
                    f"{name}: would unpack to {whole / 1e6:,.0f} MB from {file.stat().st_size / 1e6:.1f} MB; "
                    "save the sheet as CSV"
                )
            manifest = "META-INF/manifest.xml"
            if manifest in sizes and b"encryption-data" in archive.read(manifest):
                raise DataError(f"{name}: is protected by a password; save it without one")
            for part in sizes:  # each is no longer than it says, which the reader of workbooks takes on trust
                with archive.open(part) as packed:
                    while packed.read(_CHUNK):
                        pass
            for part in sorted(part for part in sizes if part.startswith("xl/worksheets/")):
                content = archive.read(part)
                if cell := _FAULTY.search(content):
                    raise DataError(
                        f"{name}: {Path(part).stem}: {cell[1].decode()} holds the error {cell[2].decode()}; "
                        "mend its formula, or remove the row"
                    )
                if cell := _UNCOMPUTED.search(content):
                    raise DataError(
                        f"{name}: {Path(part).stem}: the formula in {cell[1].decode()} has no saved value; "
                        "open the file in a spreadsheet program and save it, or write values"
                    )
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise DataError(f"{name}: is no workbook ({error}); save it again as XLSX, ODS or CSV") from None


def _sheet(place: str, sheet: Any) -> Sheet:
    lines = [[_text(cell) for cell in line] for line in sheet.to_python(skip_empty_area=False)]
    remarks = _fill_merged(place, lines, sheet.merged_cell_ranges or [])
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if any(line)]
    if not numbered:
        return Sheet(place, [])
    start = _header(numbered)
    if start:
        remarks.append(f"{start} rows above the header left out")
    head = [cell or "" for cell in numbered[start][1]]
    names = [name.strip() for name in head if name.strip()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{place}: the header has '{twice}' twice; rename or remove the second")
    rows = []
    for number, line in numbered[start + 1 :]:
        _check_errors(place, number, line)
        rows.append(dict(zip(head, line, strict=False)))
    return Sheet(place, rows, remarks)


def _header(numbered: list[tuple[int, list[str | None]]]) -> int:
    """Where the header stands: the first row that names a question and an answer, else the first row."""
    for place, (_, line) in enumerate(numbered[:TOP]):
        names = [cell for cell in line if cell]
        if formats.names_both(names) or any(name.lower() in CHAT_COLUMNS for name in names):
            return place
    return 0


def _fill_merged(place: str, lines: list[list[str | None]], ranges: list[Any]) -> list[str]:
    """Write a merged cell's value into each row that it covers, in place."""
    filled = 0
    for (top, left), (bottom, right) in ranges:
        if top >= len(lines) or left >= len(lines[top]):
            continue
        if right > left and bottom > top:
            raise DataError(
                f"{place}: row {top + 1} has a cell merged over {right - left + 1} columns and "
                f"{bottom - top + 1} rows; split it"
            )
        for row in range(top + 1, min(bottom + 1, len(lines))):
            lines[row][left] = lines[top][left]
            filled += 1
        if right > left and bottom == top and _is_data(lines, top):
            raise DataError(
                f"{place}: row {top + 1} has a cell merged over {right - left + 1} columns; split it"
            )
    return [f"{filled} cells take the value of the cell that they are merged with"] if filled else []


def _is_data(lines: list[list[str | None]], row: int) -> bool:
    """Whether a row stands below the header: a title above it may be merged as it likes."""
    numbered = [(number, line) for number, line in enumerate(lines) if any(line)]
    return bool(numbered) and row >= numbered[_header(numbered)][0]


def _check_errors(place: str, number: int, line: Iterator[Any] | list[Any]) -> None:
    for cell in line:
        if isinstance(cell, str) and _ERRORS.fullmatch(cell):
            raise DataError(
                f"{place}: row {number} holds the error {cell}; mend its formula, or remove the row"
            )


def _text(cell: Any) -> str | None:
    """A cell as a spreadsheet shows it, without its format: 3.0 is 3."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell)
