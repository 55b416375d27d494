"""Notes in plain text or markdown become passages: what stands under one heading of one file."""

from __future__ import annotations

import re
from pathlib import Path

from bench.curate.pages.passages import Passage
from bench.data import encoding as encodings
from bench.data import shape
from bench.errors import DataError

SUFFIXES = (".md", ".markdown", ".rst", ".txt")
_HASHES = re.compile(r"#{1,6}\s+(.+?)\s*#*")
_RULE = re.compile(r"(=|-|~|\^|\*){3,}\s*")
_FENCE = re.compile(r"\s*(```|~~~)")


def passages(path: Path) -> list[Passage]:
    """The passages of a file or folder of notes, in the order of their names. Raises `DataError`."""
    if path.is_dir():
        files = [
            file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()
        ]
        root = path.resolve()
        if outside := next((file for file in files if not file.resolve().is_relative_to(root)), None):
            raise DataError(f"{outside}: is a link to a place outside the folder; copy the file into it")
    else:
        files = [path]
    found = [passage for file in files for passage in _of_file(file, path)]
    if not found:
        raise DataError(f"{path}: holds no text in {', '.join(SUFFIXES)}")
    return found


def _of_file(file: Path, path: Path) -> list[Passage]:
    name = str(file.relative_to(path)) if path.is_dir() else file.name
    lines = [line.rstrip("\r\n") for line in encodings.lines(file, encodings.detected(file, mixed=True))]
    found: list[Passage] = []
    heading, body = "", [""]
    fenced = False
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        fenced ^= bool(_FENCE.match(line))
        marked = None if fenced else _HASHES.fullmatch(line.lstrip("\ufeff"))
        underlined = not fenced and body[-1:] == [""] and line.strip() and _RULE.fullmatch(after)
        if marked or underlined:
            found += _passage(name, heading, body)
            heading, body = marked[1] if marked else line.strip(), [""]
        elif not _RULE.fullmatch(line) or fenced:
            body.append(line.strip())
    return [*found, *_passage(name, heading, body)]


def _passage(name: str, heading: str, body: list[str]) -> list[Passage]:
    """One passage; lines of a paragraph are joined."""
    paragraphs = "\n".join(body).split("\n\n")
    text = "\n".join(filter(None, (shape.clean(" ".join(part.split("\n"))) for part in paragraphs)))
    return [Passage(name, heading, text)] if text else []
