"""Damage for the tests: records, specs and data files as accidents, merges and forgers leave them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.digest import digest, file_digest
from bench.store.record import PARTS, RECORD

#: Values that stand where others were expected.
OTHERS: tuple[Any, ...] = (None, -1, 1e300, "text", [], {}, [[]], True, 2.5, "")
#: Bytes that parsers treat in a special way.
SPECIAL = (
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b"\n",
    b"\r",
    b"'",
    b"=",
    b"\xef\xbb\xbf",
    b"\\ud800",
)


def sealed(folder: Path, change: Callable[[dict[str, Any]], None] = lambda body: None) -> None:
    """Change a record's fields and make every digest fit again, as a forger would."""
    file = folder / RECORD
    body = json.loads(file.read_bytes())
    body.pop("digest")
    change(body)
    body["files"] = {name: file_digest(folder / name) for name in PARTS}
    file.write_text(json.dumps({**body, "digest": digest(body)}), encoding="utf-8")


def forge(folder: Path, generator: random.Random) -> None:
    """Change one value in one file of a record, and make the digests fit."""
    name = generator.choice([RECORD, *PARTS])
    file = folder / name
    lines = file.read_text(encoding="utf-8").split("\n")
    if name.endswith(".jsonl"):
        place = generator.randrange(len(lines) - 1)
        lines[place] = json.dumps(changed(json.loads(lines[place]), generator))
        file.write_text("\n".join(lines), encoding="utf-8")
        sealed(folder)
        return
    body = json.loads("\n".join(lines))
    body.pop("digest", None)
    body = changed(body, generator)
    if name != RECORD:
        file.write_text(json.dumps(body), encoding="utf-8")
        sealed(folder)
    else:
        file.write_text(json.dumps({**body, "digest": digest(body)}), encoding="utf-8")


def changed(value: Any, generator: random.Random) -> Any:
    """The value with something in it dropped, or of another type or size."""
    inner = value
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = generator.choice(keys)
        child = inner[key]
        if isinstance(child, dict | list) and child and generator.random() < 0.8:
            inner = child
            continue
        if generator.random() < 0.25:
            del inner[key]
        else:
            inner[key] = generator.choice(OTHERS)
        return value


def harm(file: Path, generator: random.Random) -> None:
    """Change bytes of a file: flipped, cut, lost, doubled, or others put in."""
    content = bytearray(file.read_bytes())
    for _ in range(generator.choice([1, 1, 1, 3, 10])):
        start = generator.randrange(len(content) + 1)
        end = min(len(content), start + generator.choice([1, 2, 10, 200]))
        kind = generator.choice(["flip", "cut", "lose", "double", "insert", "move"])
        if kind == "flip" and start < len(content):
            content[start] ^= 1 << generator.randrange(8)
        elif kind == "cut":
            del content[start:]
        elif kind == "lose":
            del content[start:end]
        elif kind == "double":
            content[start:start] = content[start:end]
        elif kind == "insert":
            content[start:start] = generator.choice(SPECIAL)
        elif kind == "move":
            piece = bytes(content[start:end])
            del content[start:end]
            place = generator.randrange(len(content) + 1)
            content[place:place] = piece
    file.write_bytes(content)
