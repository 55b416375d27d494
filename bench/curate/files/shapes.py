"""What the rows of a table are, by their fields, and the examples that they become.

The forms: question and answer columns; Alpaca; prompt and completion, as text or as messages; chats
(`messages`, ShareGPT's `conversations`); text in turns. Every row ends as examples or as a counted reason.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, TypeGuard

from bench.curate.files import turns
from bench.curate.files.tables import Table
from bench.data import chat, formats, layout, shape
from bench.digest import digest
from bench.errors import DataError
from bench.spec import Columns, DatasetSpec, Example

Turns = Literal["first", "all"]


class Form(StrEnum):
    """The forms, in the words that a reader sees."""

    COLUMNS = "question and answer columns"
    ALPACA = "Alpaca"
    PAIRS = "prompt and completion"
    PROMPTED = "prompt and completion as messages"
    CHAT = "chat messages"
    SHAREGPT = "ShareGPT conversations"
    TURNS = "### Human / ### Assistant text"


#: Forms in which a row may hold several exchanges.
CONVERSATIONS = (Form.CHAT, Form.SHAREGPT, Form.TURNS)
LATER = "later exchange left out (--turns all makes each an example)"
NUMBERS = "cell that is a number, read as text"
WRITTEN_OUT = "list that was written out as text, read as a list"


@dataclass
class Reading:
    """What became of one table. `counts` has reason -> rows, `notes` reason -> cells or turns."""

    place: str
    form: Form
    columns: str
    examples: list[Example]
    counts: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def read(table: Table, wanted: Columns, which: Turns = "first") -> Reading:
    """The examples of a table. Raises `DataError` where the question or the answer is not to be found."""
    notes: Counter[str] = Counter()
    rows = [_with_lists(row, f"{table.place}: row {n}", notes) for n, row in enumerate(table.rows, start=1)]
    form = _form(rows, wanted)
    if form is Form.TURNS:
        text = next(name for row in rows for name in row if name.lower().strip() == "text")
        wanted = Columns(question=text, answer=text)
    spec = DatasetSpec(name="import", file=table.place, columns=wanted)
    plan = layout.layout(rows, spec, table.place)
    if form is Form.COLUMNS and plan.columns.question == plan.columns.answer:
        form = Form.CHAT
    reading = Reading(table.place, form, plan.in_words(), [], notes=notes)
    for number, row in enumerate(rows, start=1):
        reading.counts["read"] += 1
        place = f"{table.place}: row {number}"
        row = _with_texts(row, plan.columns, reading.notes)
        if form in CONVERSATIONS or form is Form.PROMPTED:
            _add_conversation(reading, row, plan.columns, place, which)
        else:
            _add(reading, shape.to_example(row, spec, plan.columns, place))
    return reading


def _add(reading: Reading, example: Example | str) -> None:
    if isinstance(example, str):
        reading.counts[example] += 1
    else:
        reading.examples.append(example)


def _form(rows: list[dict[str, Any]], wanted: Columns) -> Form:
    names = {name.lower().strip(): name for row in rows for name in row}
    held = {lower: [row[name] for row in rows if row.get(name) is not None] for lower, name in names.items()}
    if wanted.question or wanted.answer:
        return Form.COLUMNS
    for name in layout.CHAT_COLUMNS:
        if any(map(chat.is_messages, held.get(name, []))):
            first = next(cell for cell in held[name] if chat.is_messages(cell))
            return Form.SHAREGPT if "from" in first[0] else Form.CHAT
    if "prompt" in names and "completion" in names:
        return Form.PROMPTED if any(map(chat.is_messages, held["prompt"])) else Form.PAIRS
    if "instruction" in names and "output" in names:
        return Form.ALPACA
    if "text" in names and any(turns.of_text(cell) for cell in held["text"] if isinstance(cell, str)):
        return Form.COLUMNS if formats.names_both(list(names)) else Form.TURNS
    return Form.COLUMNS


def _add_conversation(
    reading: Reading, row: Mapping[str, Any], columns: Columns, place: str, which: Turns
) -> None:
    spoken = _spoken(reading.form, row, columns, place)
    if spoken is None:
        reading.counts["no conversation"] += 1
        return
    system, found, faults = turns.exchanges(spoken)
    reading.notes.update(faults)
    if not found:
        reading.counts["no question followed by an answer"] += 1
        return
    if reading.form is Form.PROMPTED:  # the completion is what is learnt, all before it is its context
        found = found[-1:]
    elif which == "first":
        reading.notes.update({LATER: len(found) - 1} if len(found) > 1 else {})
        found = found[:1]
    common = _beside(row, columns, place)
    group = common.group or (digest([place, found[0].question])[:16] if len(found) > 1 else "")
    before = len(reading.examples)
    for number, exchange in enumerate(found, start=1):
        context = "\n".join(filter(None, (system, common.context, turns.in_words(exchange.history))))
        example = shape.example_of(
            question=shape.clean(exchange.question),
            answers=(shape.clean(exchange.answer),),
            context=shape.clean(context),
            id=f"{common.id}-{number}" if common.id and len(found) > 1 else common.id,
            group=group,
            category=common.category,
        )
        if isinstance(example, str):
            reading.notes[f"exchange with an {example}"] += 1
        else:
            reading.examples.append(example)
    if len(reading.examples) == before:
        reading.counts["empty question or answer"] += 1
    elif len(reading.examples) > before + 1:
        reading.notes["exchange beyond the first of its row"] += len(reading.examples) - before - 1


def _spoken(form: Form, row: Mapping[str, Any], columns: Columns, place: str) -> list[turns.Turn] | None:
    question, answer = str(columns.question), str(columns.answer)
    cell = row.get(question)
    if cell is None or cell == [] or cell == "":
        return None
    if form is Form.TURNS:
        if not isinstance(cell, str):
            raise DataError(f"{place}: '{question}' is {type(cell).__name__}, expected text in turns")
        return turns.of_text(cell)
    if form is Form.PROMPTED and isinstance(cell, str):
        spoken = [turns.Turn("user", cell)]
    else:
        spoken = turns.of_messages(cell, place, question)
    if form is Form.PROMPTED:
        end = row.get(answer)
        if end is None or end == []:
            return None
        spoken += (
            [turns.Turn("assistant", end)] if isinstance(end, str) else turns.of_messages(end, place, answer)
        )
    return spoken


def _beside(row: Mapping[str, Any], columns: Columns, place: str) -> Example:
    """Context, id, group and category that stand beside a conversation."""
    plain = columns.model_copy(update={"question": "q", "answer": "a"})
    spec = DatasetSpec(name="import", file=place)
    example = shape.to_example({**row, "q": "q", "a": "a"}, spec, plain, place)
    assert isinstance(example, Example)
    own_id = example.id if columns.id and row.get(columns.id) is not None else ""
    return replace(
        example, id=own_id, group=example.group if columns.group and row.get(columns.group) else ""
    )


def _with_lists(row: Mapping[str, Any], place: str, notes: Counter[str]) -> dict[str, Any]:
    """The row, with lists and dictionaries that a table holds as text as what they are."""
    values: dict[str, Any] = {}
    for name, cell in row.items():
        values[name] = cell
        if isinstance(cell, str) and shape.WRITTEN_OUT.match(cell):
            values[name] = _parsed(cell, f"{place}: '{name}'")
            notes[WRITTEN_OUT] += 1
    return values


def _parsed(text: str, place: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise DataError(
        f"{place} is a list or dictionary written out as text that cannot be read; save the rows as JSONL "
        "or Parquet"
    )


def _with_texts(row: Mapping[str, Any], columns: Columns, notes: Counter[str]) -> dict[str, Any]:
    """The row, with numbers in the question, the answer and the context as text."""
    values = dict(row)
    for name in filter(None, (columns.question, columns.answer, columns.context)):
        cell = values.get(name)
        if isinstance(cell, list) and not chat.is_messages(cell):
            numbers = sum(map(_is_number, cell))
            values[name] = [_in_digits(item) if _is_number(item) else item for item in cell]
        else:
            numbers = int(_is_number(cell))
            values[name] = _in_digits(cell) if _is_number(cell) else cell
        if numbers:
            notes[NUMBERS] += numbers
    return values


def _is_number(cell: Any) -> TypeGuard[float]:
    return isinstance(cell, int | float) and not isinstance(cell, bool) and cell == cell


def _in_digits(number: float) -> str:
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def totals(readings: list[Reading]) -> tuple[Counter[str], Counter[str]]:
    """Rows by what became of them, and notes, of all tables together."""
    counts: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for reading in readings:
        counts.update(reading.counts)
        notes.update(reading.notes)
    return counts, notes
