"""Messages of a chat become one question with its answer.

Both public forms are read: `role` and `content` ("messages"), `from` and `value` (ShareGPT's
"conversations"). A system message becomes the context. A row must hold exactly one question and
the answer that follows it: with more turns nothing says which of them is meant.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.errors import DataError

#: Name of a speaker, in small letters -> system, user or assistant.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
_KEYS = (("role", "content"), ("from", "value"))


def is_messages(cell: Any) -> bool:
    """True for a list whose items look like messages."""
    return (
        isinstance(cell, list)
        and bool(cell)
        and all(isinstance(item, dict) and any(key in item for key, _ in _KEYS) for item in cell)
    )


def turns(cell: Any, place: str, column: str) -> list[tuple[str, str]]:
    """The messages of a cell as (system, user or assistant; text). Raises `DataError`."""
    if not is_messages(cell):
        kind = "an empty list" if cell == [] else type(cell).__name__
        raise DataError(
            f"{place}: '{column}' is {kind}, expected a list of messages with role and content "
            "(or from and value)"
        )
    return [_turn(item, place, column) for item in cell]


def question_and_answer(messages: list[tuple[str, str]], place: str, column: str) -> tuple[str, str, str]:
    """Question, answer and system text. Raises `DataError` for any other sequence of turns."""
    roles = [role for role, _ in messages]
    system = [text for role, text in messages if role == "system"]
    if roles[len(system) :] != ["user", "assistant"] or len(system) > 1:
        counts = Counter(roles)
        raise DataError(
            f"{place}: '{column}' holds {counts['user']} user, {counts['assistant']} assistant and "
            f"{counts['system']} system turns; write each row as one user turn and its answer, with at most "
            "one system turn before them, or choose what becomes of them by: bench data import"
        )
    return messages[-2][1], messages[-1][1], "".join(system)


def keys_of(message: dict[str, Any]) -> tuple[str, str]:
    """The keys under which a message has its speaker and its text."""
    return next((keys for keys in _KEYS if keys[0] in message), _KEYS[0])


def _turn(item: dict[str, Any], place: str, column: str) -> tuple[str, str]:
    speaker, body = keys_of(item)
    role = item.get(speaker)
    known = ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        raise DataError(
            f"{place}: '{column}' has a turn of {role!r}; only system, user and assistant turns can be read"
        )
    text = item.get(body)
    if not isinstance(text, str):
        raise DataError(
            f"{place}: '{column}' has a turn whose {body} is {type(text).__name__}; write it as text"
        )
    return known, text
