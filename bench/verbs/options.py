"""Types of options: what is out of range is refused before anything starts."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number of at least `least` and at most `most`."""
    limits = f"at least {least}" + (f" and at most {most:,}" if most is not None else "")

    def parse(text: str) -> int:
        try:
            value = int(text) if len(text) <= 20 else None
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise ArgumentTypeError(f"expected a whole number, {limits}, not '{text[:40]}'")
        return value

    return parse


def seconds(text: str) -> float:
    """A time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"expected seconds, above 0, not '{text[:40]}'")
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"expected a number from 0 to 1, not '{text[:40]}'")
    return value
