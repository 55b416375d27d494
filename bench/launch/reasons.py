"""Why a run failed, in one line: what the system refused, or how its process died."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from bench.errors import Unreadable


def refused(error: OSError | Unreadable) -> str:
    """What the system refused, and where."""
    if isinstance(error, Unreadable):
        return f"{error}; remove it"
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"


def died(status: int, reason: object, time_limit: float | None, log: Path) -> str:
    """How a process ended that left no record.

    `status` is its exit status or the negative number of its signal, `reason` what it said itself, if
    anything, and `time_limit` the seconds that it exceeded, if it did.
    """
    if time_limit is not None:
        return f"reached its time limit of {time_limit:g} s"
    if reason is not None:
        return str(reason)
    if status == -signal.SIGKILL:
        return "killed (signal 9): out of memory, or by hand"
    name = f"exit status {status}"
    with suppress(ValueError):
        name = signal.Signals(-status).name
    return f"died ({name}); its log is in {log}"
