"""Tables as text: aligned columns for a terminal, pipes for markdown, and what both must escape."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from unicodedata import east_asian_width

WIDTH = 100
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = (), indent: str = "") -> list[str]:
    """Lines of a table whose first row is its head; `right` names the right-aligned columns."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    drawn = [rows[0], ["\N{BOX DRAWINGS LIGHT HORIZONTAL}" * width for width in widths], *rows[1:]]
    return [
        indent + "  ".join(_pad(cell, widths[n], n in right) for n, cell in enumerate(row)).rstrip()
        for row in drawn
    ]


def pipes(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """The same as a markdown table; every cell is escaped."""
    marks = ["---:" if n in right else "---" for n in range(len(rows[0]))]
    escaped = [[md(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (escaped[0], marks, *escaped[1:])]


def md(text: str) -> str:
    """Text that markdown takes literally, in one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*_`\[\]])", r"\\\1", flat)


def wrap(text: str, more: str = "", first: str = "") -> list[str]:
    """Lines of at most 100 columns; `first` and `more` indent them."""
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=more, break_on_hyphens=False)


def clip(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + ELLIPSIS


def listed(names: Sequence[str], most: int = 4) -> str:
    """Different names in order, the rest counted."""
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:most]) + (f" and {len(unique) - most} more" if len(unique) > most else "")


def _width(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _pad(text: str, width: int, to_right: bool) -> str:
    gap = " " * (width - _width(text))
    return gap + text if to_right else text + gap
