"""Numbers as people read them, the same in every report."""

from __future__ import annotations

from bench.stats import Interval


def score(value: float) -> str:
    """A score between 0 and 1."""
    return f"{value:.3f}"


def change(value: float) -> str:
    """A difference of scores, signed; no difference has no sign."""
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "\N{MINUS SIGN}")


def interval(value: Interval) -> str:
    """The two ends of a score's interval."""
    return f"{score(value.low)} to {score(value.high)}"


def change_interval(value: Interval) -> str:
    """The two ends of a difference's interval."""
    return f"{change(value.low)} to {change(value.high)}"


def rank(value: tuple[int, int]) -> str:
    """A rank, or the range that the data allow."""
    return str(value[0]) if value[0] == value[1] else f"{value[0]}\N{EN DASH}{value[1]}"


def count(value: float) -> str:
    """A number of parameters or tokens, to three digits."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.0f} {unit}" if scaled >= 99.95 else f"{scaled:.3g} {unit}"
    return f"{value:.0f}"


def size(value: float) -> str:
    """Bytes, in powers of ten."""
    return f"{value / 1e9:.2f} GB" if value < 1e10 else f"{value / 1e9:.0f} GB"


def kilobytes(value: float) -> str:
    """The size of a small file, in powers of ten."""
    return f"{value / 1e3:,.0f} kB"


def duration(seconds: float) -> str:
    """Wall-clock time."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{minutes / 60:.1f} h"
