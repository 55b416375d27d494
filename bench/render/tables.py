"""Tables as text: aligned columns for a terminal (tabulate), pipes for markdown, and what they escape."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

import tabulate
from tabulate import DataRow, Line, TableFormat

from bench.render.clean import printable

WIDTH = 100
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


#: Its two extra columns for a head are wanted nowhere here.
tabulate.MIN_PADDING = 0
#: Two spaces between columns, a rule below the head.
TERMINAL = TableFormat(
    lineabove=None,
    linebelowheader=Line("", "\N{BOX DRAWINGS LIGHT HORIZONTAL}", "  ", ""),
    linebetweenrows=None,
    linebelow=None,
    headerrow=DataRow("", "  ", ""),
    datarow=DataRow("", "  ", ""),
    padding=0,
    with_header_hide=None,
)


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = (), indent: str = "") -> list[str]:
    """Lines of a table whose first row is its head; `right` names the right-aligned columns."""
    aligned = ["right" if place in right else "left" for place in range(len(rows[0]))]
    table = tabulate.tabulate(
        rows[1:],
        headers=rows[0],
        tablefmt=TERMINAL,
        colalign=aligned if len(rows) > 1 else None,
        headersglobalalign=None,
        headersalign=aligned,
        disable_numparse=True,
        preserve_whitespace=True,
    )
    return [f"{indent}{line}".rstrip() for line in table.split("\n")]


def pipes(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """The same as a markdown table; every cell is escaped."""
    marks = ["---:" if n in right else "---" for n in range(len(rows[0]))]
    escaped = [[md(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (escaped[0], marks, *escaped[1:])]


def md(text: str) -> str:
    """Text that markdown takes literally, in one line."""
    flat = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*_`\[\]])", r"\\\1", flat)


def code(text: str) -> str:
    """Text as a span of code in markdown, in one line; its fence is longer than any run of backticks."""
    flat = printable(" ".join(text.split()))
    fence = "`" * (max((len(run) for run in re.findall("`+", flat)), default=0) + 1)
    return f"{fence}{flat}{fence}" if len(fence) == 1 else f"{fence} {flat} {fence}"


def wrap(text: str, more: str = "", first: str = "", width: int = WIDTH) -> list[str]:
    """Lines of at most `width` columns; `first` and `more` indent them."""
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=more, break_on_hyphens=False)


def clip(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + ELLIPSIS


def listed(names: Sequence[str], most: int = 4) -> str:
    """Different names in order, the rest counted."""
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:most]) + (f" and {len(unique) - most} more" if len(unique) > most else "")
