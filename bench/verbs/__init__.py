"""The verbs of the command line, one a module: `configure(parser)` and `execute(args)`.

A verb returns an `Output`; it neither prints nor exits (`cli.py` does). Verbs are imported
only when used, so that `bench --help` stays fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Output:
    """What a verb has to say: text for a reader, data for `--json`, and the exit code."""

    text: str
    data: Any = None
    exit_code: int = 0
    #: Text that is shown as it comes into being, before `text`; not with `--json`.
    pieces: Iterator[str] | None = None
