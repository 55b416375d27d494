"""Types of options, budgets among them: what is out of range is refused before anything starts."""

from __future__ import annotations

import math
import re
import shutil
from argparse import ArgumentTypeError
from collections.abc import Callable

from bench.errors import BudgetError
from bench.spec import Budget

PRESETS = {
    "smoke": Budget(steps=4, effective_batch=8),
    "short": Budget(steps=60, effective_batch=8),
    "long": Budget(steps=600, effective_batch=8),
}
#: Their order is made before training, so it must fit in memory.
MOST_EXAMPLES = 10_000_000


def width() -> int:
    """Columns of the terminal, 80 to 140; 100 where there is none."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 80), 140)


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
    return _number(text, lambda value: 0 < value < math.inf, "seconds, above 0")


def positive(text: str) -> float:
    """A number above 0."""
    return _number(text, lambda value: 0 < value < math.inf, "a number above 0")


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def _number(text: str, holds: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan  # of which nothing holds
    if not holds(value):
        raise ArgumentTypeError(f"expected {what}, not '{text[:40]}'")
    return value


def parse_budget(text: str) -> Budget:
    """A budget from `60x8`, `examples=480` (at effective batch 8) or a preset's name.

    `0x8` and `0` train nothing.
    """
    if text == "0":
        return Budget(steps=0, effective_batch=PRESETS["short"].effective_batch)
    if text in PRESETS:
        return PRESETS[text]
    if match := re.fullmatch(r"(\d+)x(\d+)", text):
        steps, batch = int(match[1]), int(match[2])
    elif match := re.fullmatch(r"examples=(\d+)", text):
        batch = PRESETS["short"].effective_batch
        steps, rest = divmod(int(match[1]), batch)
        if rest:
            raise BudgetError(
                f"--budget {text}: not a multiple of the effective batch {batch}; "
                f"use examples={steps * batch} or STEPSxBATCH"
            )
    else:
        raise BudgetError(
            f"--budget {text}: expected STEPSxBATCH (60x8), examples=N or one of {', '.join(PRESETS)}"
        )
    if batch < 1:
        raise BudgetError(f"--budget {text}: the batch must be at least 1")
    if steps * batch > MOST_EXAMPLES:
        raise BudgetError(f"--budget {text}: more than {MOST_EXAMPLES:,} examples")
    return Budget(steps=steps, effective_batch=batch)
