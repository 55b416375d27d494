"""The exceptions of `bench`, and nothing else.

Only `cli.py` turns one of these, or what the system refuses, into a line on the terminal and an
exit code; any other exception is a defect of the program and keeps its traceback.

    BenchError
    ├── RequestError              exit 2: the request was wrong, nothing was written
    │   ├── UnknownName           no such model, data set, preset, metric ...; "did you mean"
    │   ├── SpecError             a spec file: every mistake of it, with file and key
    │   ├── BudgetError           a budget that cannot be parsed or spent as asked
    │   ├── DataError             a data file that is missing, empty, unreadable or too small
    │   ├── Unreadable            no file, too large, or not what it should be
    │   ├── UnsafeRequest         pickle weights, remote code, a path that leaves the workspace
    │   ├── Unreachable           a hub repository that is absent or out of reach
    │   │   └── Gated             its licence has to be accepted first
    │   ├── Unsuited              a model that cannot be trained on what the contract trains on
    │   ├── NotEnough             no GPU, too little disk or memory for what was asked
    │   ├── MetricUnavailable     an `evaluate` metric that cannot be loaded here
    │   ├── Incomparable          two sets of records with nothing in common
    │   └── EnvironmentUnsolvable a set of package versions that cannot be resolved or built
    ├── RunFailed                 exit 1: one run died; the others go on
    │   ├── BudgetMismatch        what was spent is not what the contract says
    │   ├── LossMisplaced         the loss would not fall on the answer and its end token, or on all of a text
    │   ├── NotFinite             a loss became NaN or infinite
    │   └── OtherCheckpoint       a library loaded other weights than the run names
    ├── ConversionFailed          exit 1: another program did not convert what it was given
    └── RecordError               a record that is truncated, edited or of an unknown version
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """Root of all errors that a user can cause or remedy; its text is one line."""

    exit_code = 2


class RequestError(BenchError):
    """The request cannot be carried out as it stands."""


class UnknownName(RequestError):
    """A name that no registry knows; suggests the nearest known one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} '{name}'; {hint}")


class SpecError(RequestError):
    """All mistakes of one spec file, one per line."""

    def __init__(self, source: str, mistakes: Iterable[str]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{source}: {mistake}" for mistake in self.mistakes))


class BudgetError(RequestError):
    """A budget that cannot be parsed, or cannot be spent exactly."""


class DataError(RequestError):
    """A data set that cannot be read or used as asked."""


class Unreadable(RequestError):
    """A file that cannot be read as what it should be; `reason` is the sentence without its name."""

    def __init__(self, file: object, reason: str, missing: bool = False) -> None:
        self.reason = reason
        #: True where nothing is there at all.
        self.missing = missing
        super().__init__(f"{file}: {reason}")


class UnsafeRequest(RequestError):
    """Something that would run foreign code or leave the workspace."""


class Unreachable(RequestError):
    """A hub repository that is gated, does not exist or cannot be reached."""

    def __init__(self, message: str, answered: bool = False) -> None:
        #: Whether the hub itself said so; else it could not be asked.
        self.answered = answered
        super().__init__(message)


class Gated(Unreachable):
    """A hub repository whose licence has to be accepted first."""


class Unsuited(RequestError):
    """A model that cannot be trained on what the contract trains on."""


class NotEnough(RequestError):
    """The machine lacks what was asked for."""


class MetricUnavailable(RequestError):
    """An `evaluate` metric that cannot be loaded here."""


class Incomparable(RequestError):
    """Two sets of records that share no run to compare."""


class EnvironmentUnsolvable(RequestError):
    """Package versions that cannot be resolved or built together."""


class RunFailed(BenchError):
    """One run died; its reason is what the board shows."""

    exit_code = 1


class BudgetMismatch(RunFailed):
    """What a run spent differs from its budget."""


class LossMisplaced(RunFailed):
    """The loss would not fall on the answer and its end token alone, or on all of a text."""


class NotFinite(RunFailed):
    """A loss became NaN or infinite."""


class OtherCheckpoint(RunFailed):
    """A library loaded other weights than the run names."""


class ConversionFailed(BenchError):
    """A converter of another project wrote no file; its own last line says why."""

    exit_code = 1


class RecordError(BenchError):
    """A record on disk that cannot be trusted: truncated, edited, or of an unknown version."""
