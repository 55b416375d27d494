"""What A and B of a comparison name: from a word on the command line to a set of records.

In the order in which they are tried: a run's id, `current` (the newest record of every run, without what
`--with` tried out), a saved
baseline, an environment (`trl==1.14.2`), a folder of records, a backend (`unsloth`, `bitsandbytes+peft`), a
unique prefix of a run's id, a git commit or tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from packaging.utils import canonicalize_name

from bench.errors import Incomparable, RequestError, UnknownName
from bench.files import is_file, is_folder
from bench.provenance import git
from bench.spec import NAME
from bench.store.baselines import baseline_file, baselines, load_baseline
from bench.store.ledger import Ledger, Stored
from bench.store.record import RECORD, Failure
from bench.store.sides import Side, newest, side_of, trial_of

CURRENT = "current"
KINDS = (
    "a run id or the start of one, a commit or tag, a saved baseline, an environment such as trl==1.14.2, "
    "a folder of records, a backend such as unsloth, or 'current'"
)
_ENVIRONMENT = re.compile(r"[A-Za-z0-9._-]+==[^,=\s]+(,[A-Za-z0-9._-]+==[^,=\s]+)*")
_COMMIT = re.compile(r"[0-9a-f]{4,64}")


class ReadOnce(Ledger):
    """A ledger whose records are read once, however many names are looked up in it."""

    @cached_property
    def _everything(self) -> tuple[list[Stored], list[str]]:
        return super().load()

    def load(self, ids: Iterable[str] | None = None) -> tuple[list[Stored], list[str]]:
        """As a ledger's, all records from memory after the first time."""
        return self._everything if ids is None else super().load(ids)


def select_both(a: str, b: str, ledger: Ledger) -> tuple[Side, Side]:
    """The two sides of a comparison; a ledger of thousands of records is read once for both."""
    once = ledger if isinstance(ledger, ReadOnce) else ReadOnce(ledger.out)
    return select(a, once), select(b, once)


def select(name: str, ledger: Ledger) -> Side:
    """The records and failures that a name stands for, with a message for each that cannot be read.

    Raises `UnknownName` where it names nothing and `Incomparable` where it names no readable record.
    """
    if NAME.fullmatch(name) and is_file(ledger.runs / name / RECORD):
        records, messages = ledger.load([name])
        return side_of(name, records, (), messages)
    if name == CURRENT:
        return current(ledger)
    if NAME.fullmatch(name) and is_file(baseline_file(ledger, name)):
        return load_baseline(name, ledger)
    if _ENVIRONMENT.fullmatch(name):
        return _environment(name, ledger)
    if is_folder(Path(name)) and (side := _folder(name)) is not None:
        return side
    records, messages = ledger.load()
    side = (
        _by_backend(name, records, messages)
        or _by_id(name, ledger, records, messages)
        or _by_commit(name, records, messages)
    )
    if side is None:
        known = [*baselines(ledger), *(stored.record.id for stored in records)]
        raise UnknownName("set of records", name, get_close_matches(name, known, n=1, cutoff=0.6) or [KINDS])
    return side


def current(ledger: Ledger, name: str = CURRENT) -> Side:
    """The newest record of every run, or its failure where that is newer; trials of other versions aside."""
    side = everything(ledger, name)
    latest = [run for seeds in newest([*side.records, *side.failures]).values() for run in seeds.values()]
    return replace(
        side,
        records=tuple(run for run in latest if isinstance(run, Stored)),
        failures=tuple(run for run in latest if isinstance(run, Failure)),
    )


def everything(ledger: Ledger, name: str = CURRENT) -> Side:
    """All records and failures but for trials of other versions; a gate looks for what is new in it."""
    records, messages = ledger.load()
    return Side(
        name,
        tuple(stored for stored in records if not trial_of(stored)),
        tuple(failure for failure in ledger.failed() if not trial_of(failure)),
        tuple(messages),
    )


def _environment(name: str, ledger: Ledger) -> Side:
    wanted = {
        canonicalize_name(package): version
        for package, version in (pin.split("==") for pin in name.split(","))
    }
    records, messages = ledger.load()

    def has(*versions: Mapping[str, str]) -> bool:
        held = {
            canonicalize_name(package): version
            for versions_of_run in versions
            for package, version in versions_of_run.items()
        }
        return all(
            version in (held.get(package), held.get(package, "").partition("+")[0])
            for package, version in wanted.items()
        )

    kept = [
        stored for stored in records if has(stored.record.provenance.versions, stored.record.run.versions)
    ]
    failures = [failure for failure in ledger.failed() if has(failure.run.versions, failure.versions)]
    if not kept and not failures:
        known = {
            f"{package}=={version}"
            for stored in records
            for package, version in {
                **stored.record.provenance.versions,
                **stored.record.run.versions,
            }.items()
            if canonicalize_name(package) in wanted
        }
        raise UnknownName("environment", name, known)
    return side_of(name, kept, failures, messages)


def _folder(name: str) -> Side | None:
    """A folder with `runs/` in it, a folder of record folders, or one record's folder."""
    folder = Path(name)
    if is_file(folder / RECORD):
        holder, ids = _holder(folder.resolve().parent), [folder.resolve().name]
        records, messages = holder.load(ids)
        return side_of(name, records, (), messages)
    holder = Ledger(folder)
    if not holder.runs.is_dir():
        if not any(folder.glob(f"*/{RECORD}")):
            return None
        holder = _holder(folder)
    records, messages = holder.load()
    return side_of(name, records, holder.failed(), messages)


def _holder(runs: Path) -> Ledger:
    """The ledger whose record folders stand in `runs`, whatever that folder is called."""
    ledger = Ledger(runs.parent)
    ledger.runs = runs
    return ledger


def _by_id(name: str, ledger: Ledger, records: list[Stored], messages: list[str]) -> Side | None:
    failures = [failure for failure in ledger.failed() if failure.id.startswith(name)]
    ids = sorted(
        {stored.record.id for stored in records if stored.record.id.startswith(name)}
        | {failure.id for failure in failures}
    )
    if len(ids) > 1 and name not in ids:
        raise RequestError(
            f"'{name}' is the start of {len(ids)} run ids ({ids[0]}, {ids[1]} ...); give more of one"
        )
    if not ids:
        return None
    id = name if name in ids else ids[0]
    return side_of(
        name,
        [stored for stored in records if stored.record.id == id],
        [failure for failure in failures if failure.id == id],
        [message for message in messages if id in message],
    )


def _by_backend(name: str, records: list[Stored], messages: list[str]) -> Side | None:
    """What trained through these libraries, as the records name them."""
    kept = [stored for stored in records if stored.record.backend.name == name]
    return side_of(name, kept, (), messages) if kept else None


def _by_commit(name: str, records: list[Stored], messages: list[str]) -> Side | None:
    commit = _resolved(name) or (name if _COMMIT.fullmatch(name) else None)
    kept = [
        stored for stored in records if commit and (stored.record.provenance.commit or "").startswith(commit)
    ]
    if kept:
        return side_of(name, kept, (), messages)
    if commit and _resolved(name):
        held = sorted({(stored.record.provenance.commit or "")[:8] for stored in records} - {""})
        raise Incomparable(
            f"commit {commit[:8]} ('{name}') left no record; there are records of: {_some(held)}"
        )
    return None


def _resolved(name: str) -> str | None:
    """The commit that git knows by this name, if we are inside a repository."""
    if name.startswith("-"):
        return None
    commit = git(Path.cwd(), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return commit if commit and _COMMIT.fullmatch(commit) else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"
