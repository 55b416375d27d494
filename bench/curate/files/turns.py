"""Conversations of any length become exchanges: a question, its answer, and what was said before.

What cannot be an exchange is counted by reason, never passed over in silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.data import chat
from bench.errors import DataError

_MARK = re.compile(r"###\s*(Human|Assistant|System)\s*:", re.IGNORECASE)
_TOOLS = ("tool", "function", "function_call", "observation", "ipython")

OPENING = "turn of the assistant that opens a conversation left out"
UNANSWERED = "question without an answer left out"
TOOL = "exchange with a tool's turn left out"
NO_TEXT = "exchange with a turn that is no text left out"


@dataclass(frozen=True)
class Turn:
    """One message; `fault` is the reason why its exchange cannot be read."""

    role: str
    text: str
    fault: str = ""


@dataclass(frozen=True)
class Exchange:
    """A question and its answer, after `history`."""

    question: str
    answer: str
    history: tuple[Turn, ...] = ()


def of_messages(cell: Any, place: str, column: str) -> list[Turn]:
    """The turns of a list of messages. Raises `DataError` for a speaker that is unknown."""
    if not chat.is_messages(cell):
        raise DataError(
            f"{place}: '{column}' is {type(cell).__name__}, expected a list of messages with role and "
            "content (or from and value)"
        )
    return [_turn(message, place, column) for message in cell]


def of_text(text: str) -> list[Turn]:
    """The turns of `### Human: ... ### Assistant: ...`; none where there is no mark."""
    pieces = _MARK.split(text)
    roles = {"human": "user", "assistant": "assistant", "system": "system"}
    return [
        Turn(roles[role.lower()], body.strip()) for role, body in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def exchanges(turns: Sequence[Turn]) -> tuple[str, list[Exchange], Counter[str]]:
    """System text, exchanges in order, and reason -> turns for what is in none.

    Turns of one speaker in a row are one turn. An exchange runs from a user's turn to the assistant's last
    turn before the user's next.
    """
    faults: Counter[str] = Counter()
    system = "\n".join(turn.text for turn in turns if turn.role == "system" and turn.text)
    spoken = [turn for turn in turns if turn.role != "system"]
    found: list[Exchange] = []
    place = 0
    while place < len(spoken) and spoken[place].role != "user":
        place += 1
    faults.update({OPENING: 1} if place else {})
    while place < len(spoken):
        end = place
        while end < len(spoken) and spoken[end].role == "user":
            end += 1
        after = end
        while after < len(spoken) and spoken[after].role != "user":
            after += 1
        asked, replied = spoken[place:end], spoken[end:after]
        fault = next((turn.fault for turn in (*asked, *replied) if turn.fault), "")
        if fault or not replied:
            faults[fault or UNANSWERED] += 1
        else:
            found.append(Exchange(_joined(asked), _joined(replied), tuple(spoken[:place])))
        place = after
    return system, found, faults


def in_words(history: Sequence[Turn]) -> str:
    """Earlier turns as a context: who spoke, and what."""
    names = {"user": "User", "assistant": "Assistant"}
    return "\n".join(
        f"{names[turn.role]}: {turn.text}" for turn in history if turn.role in names and turn.text
    )


def _joined(turns: Sequence[Turn]) -> str:
    return "\n".join(turn.text for turn in turns if turn.text)


def _turn(message: dict[str, Any], place: str, column: str) -> Turn:
    speaker, body = chat.keys_of(message)
    named = message.get(speaker)
    role = chat.ROLES.get(named.lower()) if isinstance(named, str) else None
    if role is None and isinstance(named, str) and named.lower() in _TOOLS:
        return Turn("tool", "", TOOL)
    if role is None:
        raise DataError(
            f"{place}: '{column}' has a turn of {named!r}; only system, user, assistant and tool turns are "
            "known"
        )
    content = message.get(body)
    if isinstance(content, list) and all(_is_text_part(part) for part in content):
        content = "\n".join(part["text"] for part in content)
    if message.get("tool_calls"):
        return Turn(role, "", TOOL)
    return Turn(role, content) if isinstance(content, str) else Turn(role, "", NO_TEXT)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
