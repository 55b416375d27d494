"""Colour for a terminal: the text stays as it is, and only words whose meaning is plain are painted.

rich decides whether a terminal has colours; `NO_COLOR` and a pipe have none.
"""

from __future__ import annotations

from typing import ClassVar

from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.theme import Theme

THEME = Theme({"bench.good": "green", "bench.bad": "red", "bench.heading": "bold", "bench.faint": "dim"})


class Verdicts(RegexHighlighter):
    """Headings, verdicts and differences whose interval leaves out zero."""

    base_style = "bench."
    highlights: ClassVar[list[str]] = [
        r"(?m)^(?P<heading>.+)\n=+$",
        r"\b(?P<good>improved|Safe)\b",
        r"\b(?P<bad>regressed|Regressed|newly failing|failed in stage)\b",
        r"(?P<good>\+0\.\d{3}) \[\+0",
        r"(?P<bad>\N{MINUS SIGN}0\.\d{3}) \[[^,\]]+, \N{MINUS SIGN}0",
        r"(?m)^(?P<faint>written: .*)$",
    ]


def painted(text: str, width: int = 100) -> str:
    """The text with a terminal's colour codes, or as it is where colour is not wanted."""
    console = Console(theme=THEME, force_terminal=True, width=width)
    if console.no_color:
        return text
    with console.capture() as capture:
        console.print(Verdicts()(text), soft_wrap=True, end="")
    return capture.get()
