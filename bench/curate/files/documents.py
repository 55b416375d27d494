"""JSON in the forms that programs write, and text in turns, as rows.

A list of objects and one object a line are read as `bench.data` reads them. Besides: one object that holds
the list, and what pandas writes (column -> list, column -> index -> cell).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.data import chat, formats
from bench.errors import DataError

_HUMAN = re.compile(r"(?=###\s*Human\s*:)", re.IGNORECASE)


def objects(lines: list[str], file: Path) -> tuple[Iterable[dict[str, Any]], list[str]]:
    """Rows of a JSON file, and what had to be decided to read it. Raises `DataError`."""
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise DataError(f"{file}: line {number} holds a zero byte; save the file as text in utf-8")
    first = next((line.lstrip("\ufeff").strip() for line in lines if line.strip()), "")
    if first.startswith("{") and not _is_object(first):
        return _of_whole(formats.json_of("".join(lines).lstrip("\ufeff"), str(file)), file)
    rows = list(formats.json_rows(lines, file))
    if len(rows) == 1 and (unwrapped := _held(rows[0])):
        return unwrapped
    return rows, []


def conversations(text: str, place: str) -> Iterable[dict[str, Any]]:
    """A row for each conversation of a text in turns, which blank lines or `### Human:` part.

    Raises `DataError` for a text without turns.
    """
    pieces = [piece for piece in _HUMAN.split(text) if _HUMAN.match(piece)]
    if not pieces:
        raise DataError(
            f"{place}: plain text holds no question; only '### Human: ... ### Assistant: ...' is read"
        )
    return [{"text": piece.strip()} for piece in pieces]


def _is_object(line: str) -> bool:
    try:
        formats.json_of(line, "")
    except DataError as error:
        return "twice" in str(error) or "nested" in str(error)  # an object, with a mistake that is told later
    return True


def _of_whole(value: Any, file: Path) -> tuple[Iterable[dict[str, Any]], list[str]]:
    if isinstance(value, dict):
        return _held(value) or ([value], [])
    raise DataError(f"{file}: holds {type(value).__name__}, expected a list of objects with named fields")


def _held(value: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]] | None:
    """The rows that one object holds; none where it is a row itself."""
    lists = {name: cell for name, cell in value.items() if _is_rows(cell)}
    if len(lists) == 1:
        ((name, rows),) = lists.items()
        if len(value) == 1 or name.lower() in ("data", "rows", "examples", "train", "items"):
            return rows, [f"rows are the list under '{name}'"]
    cells = list(value.values())
    how = ["column by column"]
    if len(cells) < 2 or any(map(_is_rows, cells)):
        return None
    if all(isinstance(cell, list) for cell in cells) and len(set(map(len, cells))) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*cells, strict=True)], how
    if all(isinstance(cell, dict) and cell for cell in cells):
        keys = list(cells[0])
        if all(list(cell) == keys for cell in cells) and not any(_is_rows(list(c.values())) for c in cells):
            return [{name: value[name][key] for name in value} for key in keys], how
    return None


def _is_rows(cell: Any) -> bool:
    """Whether a cell is a list of rows, and no conversation."""
    objects = isinstance(cell, list) and bool(cell) and all(isinstance(item, dict) for item in cell)
    return objects and not chat.is_messages(cell)
