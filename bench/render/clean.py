"""What strangers wrote, made harmless for the place where it is shown.

Names, answers and reasons come from records, specs and data of others. A terminal obeys escape sequences, a
spreadsheet runs cells that begin as formulas, XML forbids control characters. Each writer cleans once, at
its door; the records keep what was written.
"""

from __future__ import annotations

import re

#: C0 and C1 controls but tab and newline, the line separators, and marks that turn the direction of text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
#: The first characters by which spreadsheets know a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Text that moves no cursor and changes no colour; what is taken out is shown as U+FFFD."""
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("\ufffd", text))


def cell(value: object) -> object:
    """A value of a spreadsheet: text that would be a formula begins with an apostrophe."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
