"""Which column of a data set holds what, decided once from all of its rows.

The decision is shown by `bench data` and `bench plan`, with the columns that are ignored. Where
it reads rows in a way that needs more than the spec to describe, `Layout.readings` names that
way, and it becomes part of the data's digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.data import chat, shape, sources, text
from bench.digest import file_digest
from bench.errors import DataError
from bench.spec import Columns, DatasetSpec

#: Columns that hold a whole chat, where no column holds the question and another its answer.
CHAT_COLUMNS = ("messages", "conversations", "conversation")
#: Columns that hold the choices of a question, and the answer as a number or letter among them.
CHOICE_COLUMNS = ("choices", "options")


@dataclass(frozen=True)
class Layout:
    """Columns by meaning, the columns that are not read, and what the spec does not tell."""

    columns: Columns
    ignored: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()

    def in_words(self) -> str:
        """As in "question ← instruction, answer ← output, ignored: input"."""
        named = {} if self.columns.question else {"answer": "text", "context": "heading"}
        words = [f"{named.get(field, field)} ← {column}" for field, column in self.columns if column]
        if self.ignored:
            words.append(f"ignored: {', '.join(map(_shown, self.ignored))}")
        return ", ".join(words)


def layout(rows: Iterable[Mapping[str, Any]], spec: DatasetSpec, source: str) -> Layout:
    """The layout of rows. Raises `DataError` where no column holds the question or the answer."""
    names: dict[str, None] = {}
    first: tuple[str, ...] | None = None
    cells: set[str] = set()
    for row in rows:
        if first is None:
            first = tuple(row)
        names.update(dict.fromkeys(row))
        cells.update(name for name, cell in row.items() if isinstance(cell, dict) or chat.is_messages(cell))
    if first is None:
        raise DataError(f"{source}: no usable example (no rows)")
    if spec.shape == "turns":
        columns = shape.turn_columns(names, source)
    elif spec.shape == "text":
        columns = text.columns_for(names, spec.columns, source)
    else:
        columns = _columns(list(names), spec, source)
    used = set(columns.model_dump().values())
    readings = [f"{name} as {_kind(name, columns)}" for name in sorted(cells & used)]
    if shape.asks_by_input(columns):
        readings.append("grouped by question and input")
    if spec.shape == "columns" and _columns_of_first(first, spec, source) != columns:
        readings.append("columns of all rows")
    return Layout(columns, tuple(name for name in names if name not in used), tuple(readings))


def of_file(spec: DatasetSpec) -> Layout:
    """The layout of a data set that is a file. Raises `DataError`."""
    return _of_content(spec, file_digest(Path(str(spec.file))))


def in_words(spec: DatasetSpec) -> str:
    """The layout in words, without fetching anything: of a hub data set, what its spec names."""
    if spec.file is not None:
        return of_file(spec).in_words()
    if spec.shape == "turns":
        return "question and answer ← the first two turns of text"
    return Layout(spec.columns).in_words() or "columns by their usual names, seen when it is fetched"


@lru_cache(maxsize=32)
def _of_content(spec: DatasetSpec, content: str) -> Layout:
    return layout(sources.rows(spec), spec, str(spec.file))


def _columns(names: list[str], spec: DatasetSpec, source: str) -> Columns:
    wanted = spec.columns
    by_lower = {name.lower().strip(): name for name in reversed(names)}
    if not (wanted.question or wanted.answer):
        try:
            columns = shape.columns_for(names, wanted, source)
        except DataError:
            whole = next((by_lower[name] for name in CHAT_COLUMNS if name in by_lower), None)
            if whole is None:
                raise
            return shape.columns_for(
                names, wanted.model_copy(update={"question": whole, "answer": whole}), source
            )
        if choices := next((by_lower[name] for name in CHOICE_COLUMNS if name in by_lower), None):
            raise DataError(
                f"{source}: '{choices}' holds choices, which are not asked; write them into the question and "
                f"the right one into the answer, or read the rows without them by "
                f"--columns question={columns.question},answer={columns.answer}"
            )
        return columns
    return shape.columns_for(names, wanted, source)


def _columns_of_first(names: tuple[str, ...], spec: DatasetSpec, source: str) -> Columns | None:
    try:
        return _columns(list(names), spec, source)
    except DataError:
        return None


def _kind(name: str, columns: Columns) -> str:
    return "chat" if columns.question == columns.answer or name == columns.question else "answers"


def _shown(name: str) -> str:
    return name or "a column without a name"
