"""What A and B of a comparison name: from a word on the command line to a set of records.

In the order in which they are tried: a run's id, `current` (the newest record of every run), a saved
baseline, an environment (`trl==1.14.2`), a folder of records, a unique prefix of a run's id, a git commit
or tag. A baseline is a list of run ids with the digests of their records: it says which records are meant
and notices when one of them is no longer what was saved; it holds no number of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path

from bench.errors import Incomparable, RequestError, UnknownName
from bench.ledger import Ledger, Stored
from bench.record import RECORD, Failure
from bench.report.pairing import Side, newest
from bench.spec import NAME

CURRENT = "current"
FORMAT = 1
KINDS = (
    "a run id or the start of one, a commit or tag, a saved baseline, an environment such as trl==1.14.2, "
    "a folder of records, or 'current'"
)
_ENVIRONMENT = re.compile(r"[A-Za-z0-9._-]+==[^,=\s]+(,[A-Za-z0-9._-]+==[^,=\s]+)*")
_COMMIT = re.compile(r"[0-9a-f]{4,64}")


class _ReadOnce(Ledger):
    """A ledger whose records are read once, however many names are looked up in it."""

    @cached_property
    def _everything(self) -> tuple[list[Stored], list[str]]:
        return super().load()

    def load(self, ids: Iterable[str] | None = None) -> tuple[list[Stored], list[str]]:
        return self._everything if ids is None else super().load(ids)


def select_both(a: str, b: str, ledger: Ledger) -> tuple[Side, Side]:
    """The two sides of a comparison; a ledger of thousands of records is read once for both."""
    once = _ReadOnce(ledger.out)
    return select(a, once), select(b, once)


def select(name: str, ledger: Ledger) -> Side:
    """The records and failures that a name stands for, with a message for each that cannot be read.

    Raises `UnknownName` where it names nothing and `Incomparable` where it names no readable record.
    """
    if NAME.fullmatch(name) and (ledger.runs / name / RECORD).is_file():
        records, messages = ledger.load([name])
        return _side(name, records, (), messages)
    if name == CURRENT:
        return current(ledger)
    if NAME.fullmatch(name) and _baseline_file(ledger, name).is_file():
        return load_baseline(name, ledger)
    if _ENVIRONMENT.fullmatch(name):
        return _environment(name, ledger)
    if Path(name).is_dir() and (found := _folder(name)) is not None:
        return found
    records, messages = ledger.load()
    found = _by_id(name, ledger, records, messages) or _by_commit(name, records, messages)
    if found is None:
        known = [*baselines(ledger), *(one.record.id for one in records)]
        raise UnknownName("set of records", name, get_close_matches(name, known, n=1, cutoff=0.6) or [KINDS])
    return found


def current(ledger: Ledger, name: str = CURRENT) -> Side:
    """The newest record of every run, or its failure where that is newer."""
    records, messages = ledger.load()
    latest = [run for seeds in newest([*records, *ledger.failed()]).values() for run in seeds.values()]
    return Side(
        name,
        tuple(run for run in latest if isinstance(run, Stored)),
        tuple(run for run in latest if isinstance(run, Failure)),
        tuple(messages),
    )


def save_baseline(name: str, side: Side, ledger: Ledger) -> tuple[Path, list[str]]:
    """Write the list of a side's newest records: the file and the run ids.

    Raises `RequestError` for a bad name or a side without a record of this ledger.
    """
    if not NAME.fullmatch(name):
        raise RequestError(f"baseline '{name}': a name is made of letters, digits, '.', '_' and '-'")
    here = {
        one.record.id: one for one in side.records if one.folder.parent.resolve() == ledger.runs.resolve()
    }
    kept = [
        run for seeds in newest(here.values()).values() for run in seeds.values() if isinstance(run, Stored)
    ]
    if not kept:
        raise RequestError(f"baseline '{name}': '{side.name}' has no record under {ledger.runs}")
    file = _baseline_file(ledger, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    runs = [{"id": one.record.id, "digest": _digest(one)} for one in kept]
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    body = {"format": FORMAT, "name": name, "saved": saved, "runs": sorted(runs, key=lambda run: run["id"])}
    fresh = file.with_suffix(".tmp")
    fresh.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    fresh.replace(file)
    return file, [one["id"] for one in runs]


def load_baseline(name: str, ledger: Ledger) -> Side:
    """A saved baseline's records. Raises `UnknownName`, `RequestError`, `Incomparable`."""
    if not NAME.fullmatch(name) or not _baseline_file(ledger, name).is_file():
        raise UnknownName("baseline", name, baselines(ledger))
    file = _baseline_file(ledger, name)
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        version = body["format"]
        saved = {str(run["id"]): str(run["digest"]) for run in body["runs"]}
    except (ValueError, TypeError, KeyError):
        raise RequestError(f"{file}: is not a baseline; save it again: bench baseline save {name}") from None
    if version != FORMAT:
        raise RequestError(f"{file}: baseline format {version}, this program reads {FORMAT}")
    bad = [id for id in saved if not NAME.fullmatch(id)]
    if bad:
        raise RequestError(f"{file}: '{bad[0]}' is no run id")
    records, messages = ledger.load(saved)
    edited = [one for one in records if _digest(one) != saved[one.record.id]]
    messages += [f"{one.folder}: is another record than baseline '{name}' was saved with" for one in edited]
    return _side(name, [one for one in records if one not in edited], (), messages)


def baselines(ledger: Ledger) -> list[str]:
    """The names of saved baselines."""
    return sorted(file.stem for file in (ledger.out / "baselines").glob("*.json"))


def _baseline_file(ledger: Ledger, name: str) -> Path:
    return ledger.out / "baselines" / f"{name}.json"


def _digest(stored: Stored) -> str:
    """The digest that the record carries; `Ledger.load` has checked that it is the right one."""
    raw = json.loads((stored.folder / RECORD).read_bytes())
    return str(raw["digest"])


def _side(name: str, records: Iterable[Stored], failures: Iterable[Failure], messages: list[str]) -> Side:
    side = Side(name, tuple(records), tuple(failures), tuple(messages))
    if not side.records and not side.failures:
        why = f": {messages[0]}" if messages else ""
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        raise Incomparable(f"'{name}' holds no record that can be read{why}{more}")
    return side


def _environment(name: str, ledger: Ledger) -> Side:
    wanted = {_folded(package): version for package, version in (one.split("==") for one in name.split(","))}
    records, messages = ledger.load()

    def has(*versions: Mapping[str, str]) -> bool:
        found = {_folded(package): version for one in versions for package, version in one.items()}
        return all(
            version in (found.get(package), found.get(package, "").partition("+")[0])
            for package, version in wanted.items()
        )

    kept = [one for one in records if has(one.record.provenance.versions, one.record.run.versions)]
    failures = [one for one in ledger.failed() if has(one.run.versions, one.versions)]
    if not kept and not failures:
        known = {
            f"{package}=={version}"
            for one in records
            for package, version in {**one.record.provenance.versions, **one.record.run.versions}.items()
            if _folded(package) in wanted
        }
        raise UnknownName("environment", name, known)
    return _side(name, kept, failures, messages)


@cache
def _folded(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _folder(name: str) -> Side | None:
    """A folder with `runs/` in it, a folder of record folders, or one record's folder."""
    folder = Path(name)
    if (folder / RECORD).is_file():
        holder, ids = _holder(folder.resolve().parent), [folder.resolve().name]
        records, messages = holder.load(ids)
        return _side(name, records, (), messages)
    holder = Ledger(folder)
    if not holder.runs.is_dir():
        if not any(folder.glob(f"*/{RECORD}")):
            return None
        holder = _holder(folder)
    records, messages = holder.load()
    return _side(name, records, holder.failed(), messages)


def _holder(runs: Path) -> Ledger:
    """The ledger whose record folders stand in `runs`, whatever that folder is called."""
    ledger = Ledger(runs.parent)
    ledger.runs = runs
    return ledger


def _by_id(name: str, ledger: Ledger, records: list[Stored], messages: list[str]) -> Side | None:
    failures = [one for one in ledger.failed() if one.id.startswith(name)]
    ids = sorted(
        {one.record.id for one in records if one.record.id.startswith(name)} | {one.id for one in failures}
    )
    if len(ids) > 1 and name not in ids:
        raise RequestError(
            f"'{name}' is the start of {len(ids)} run ids ({ids[0]}, {ids[1]} ...); give more of one"
        )
    if not ids:
        return None
    id = name if name in ids else ids[0]
    return _side(
        name,
        [one for one in records if one.record.id == id],
        [one for one in failures if one.id == id],
        [message for message in messages if id in message],
    )


def _by_commit(name: str, records: list[Stored], messages: list[str]) -> Side | None:
    commit = _resolved(name) or (name if _COMMIT.fullmatch(name) else None)
    kept = [one for one in records if commit and (one.record.provenance.commit or "").startswith(commit)]
    if kept:
        return _side(name, kept, (), messages)
    if commit and _resolved(name):
        held = sorted({(one.record.provenance.commit or "")[:8] for one in records} - {""})
        raise Incomparable(
            f"commit {commit[:8]} ('{name}') left no record; there are records of: {_some(held)}"
        )
    return None


def _resolved(name: str) -> str | None:
    """The commit that git knows by this name, if we are inside a repository."""
    if name.startswith("-"):
        return None
    command = ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit = found.stdout.strip()
    return commit if found.returncode == 0 and _COMMIT.fullmatch(commit) else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"
