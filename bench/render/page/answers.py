"""The answers as they travel inside the page: packed, and never able to break out of it.

Every list of texts is one pack: JSON, deflated, base64 in a script element that no browser runs.
The page unpacks a run when it is shown (`DecompressionStream`, in all browsers since 2023), so
hundreds of thousands of words cost neither the limit of 2 MB nor time on opening. base64 knows
no `<`; the plain JSON beside it is escaped by `embedded`.

Packs are made for the first seed of every model, then the second, until `ROOM` is used up; the
page says what it had to leave out, and the records have it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.judge.board import MAIN, Group
from bench.render import facts
from bench.store.ledger import Stored

#: Characters of all packs of a page.
ROOM = 1_750_000
#: Seeds of a model whose answers are tried.
SEEDS = 8
#: Characters of one text; the whole is in the record.
LONGEST = 4_000


@dataclass
class Packs:
    """The packs of one page and the room that is left."""

    room: int = ROOM
    texts: list[str] = field(default_factory=list)

    def add(self, value: object) -> int | None:
        """The number of a new pack, or none where it does not fit any more."""
        text = pack(value)
        if len(text) > self.room:
            return None
        self.room -= len(text)
        self.texts.append(text)
        return len(self.texts) - 1

    def always(self, value: object) -> int:
        """The number of a new pack, whatever room is left: rows of the board are never left out."""
        self.texts.append(pack(value))
        return len(self.texts) - 1


def pack(value: object) -> str:
    """A value as base64 of deflated JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), 9)).decode("ascii")


def embedded(value: object) -> str:
    """JSON that is safe inside a script element: no answer can end the element or the line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def cut(text: str) -> list[Any] | str:
    """A text, or its beginning and its whole length."""
    return text if len(text) <= LONGEST else [text[:LONGEST], len(text)]


def of_group(group: Group, packs: Packs) -> dict[str, Any] | None:
    """What the page's script needs to show a group's answers; none where nothing fits."""
    first = group.rows[0].stored[0]
    questions = packs.add(
        [
            {
                "q": cut(example["question"]),
                "c": cut(example["context"]),
                "r": [cut(text) for text in example["references"]],
                "u": example["category"],
            }
            for example in _in_order(first)
        ]
    )
    if questions is None:
        return None
    models: list[dict[str, Any]] = [
        {"model": facts.name(row), "base": None, "baseScores": [], "runs": []} for row in group.rows
    ]
    left_out = sum(max(0, len(row.stored) - SEEDS) for row in group.rows)
    for turn in range(SEEDS):
        for row, made in zip(group.rows, models, strict=True):
            if turn >= len(row.stored):
                continue
            stored = row.stored[turn]
            if turn == 0:
                made["base"] = packs.add([cut(text["base"]) for text in _in_order(stored)])
                made["baseScores"] = _thousandths(stored, "base")
            tuned = packs.add([cut(text["tuned"]) for text in _in_order(stored)])
            if tuned is None:
                left_out += 1
                continue
            seed = stored.record.run.seed
            made["runs"].append(
                {"seed": seed, "id": stored.record.id, "pack": tuned, "scores": _thousandths(stored, "tuned")}
            )
    shown = [made for made in models if made["runs"]]
    return {"questions": questions, "models": shown, "leftOut": left_out} if shown else None


def _in_order(stored: Stored) -> list[dict[str, Any]]:
    """Completions by id: runs of a group share their examples, not always their order."""
    return sorted(stored.completions, key=lambda example: str(example["id"]))


def _thousandths(stored: Stored, row: str) -> list[int]:
    """ROUGE-L per example in whole thousandths, in the order of `_in_order`."""
    ids: Sequence[str] = stored.scores["ids"]
    values = stored.scores["rows"][row][MAIN]["f"]
    return [round(1000 * values[place]) for place in sorted(range(len(ids)), key=lambda n: str(ids[n]))]
