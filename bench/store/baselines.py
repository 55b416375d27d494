"""Baselines: a set of records remembered under a name.

A baseline is a list of run ids with the digests of their records. It says which records are meant and
notices when one of them is no longer what was saved; it holds no number of its own.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import RequestError, UnknownName
from bench.spec import NAME
from bench.store.ledger import Ledger, Stored
from bench.store.record import RECORD
from bench.store.sides import Side, newest, side_of

FORMAT = 1


def save_baseline(name: str, side: Side, ledger: Ledger) -> tuple[Path, list[str]]:
    """Write the list of a side's newest records: the file and the run ids.

    Raises `RequestError` for a bad name or a side without a record of this ledger.
    """
    if not NAME.fullmatch(name):
        raise RequestError(f"baseline '{name}': a name is made of letters, digits, '.', '_' and '-'")
    here = {
        stored.record.id: stored
        for stored in side.records
        if stored.folder.parent.resolve() == ledger.runs.resolve()
    }
    kept = [
        run for seeds in newest(here.values()).values() for run in seeds.values() if isinstance(run, Stored)
    ]
    if not kept:
        raise RequestError(f"baseline '{name}': '{side.name}' has no record under {ledger.runs}")
    file = baseline_file(ledger, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    runs = [{"id": stored.record.id, "digest": _digest(stored)} for stored in kept]
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    body = {"format": FORMAT, "name": name, "saved": saved, "runs": sorted(runs, key=lambda run: run["id"])}
    fresh = file.with_suffix(".tmp")
    fresh.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    fresh.replace(file)
    return file, [run["id"] for run in runs]


def load_baseline(name: str, ledger: Ledger) -> Side:
    """A saved baseline's records. Raises `UnknownName`, `RequestError`, `Incomparable`."""
    if not NAME.fullmatch(name) or not baseline_file(ledger, name).is_file():
        raise UnknownName("baseline", name, baselines(ledger))
    file = baseline_file(ledger, name)
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
    edited = [stored for stored in records if _digest(stored) != saved[stored.record.id]]
    messages += [
        f"{stored.folder}: is another record than baseline '{name}' was saved with" for stored in edited
    ]
    return side_of(name, [record for record in records if record not in edited], (), messages)


def baselines(ledger: Ledger) -> list[str]:
    """The names of saved baselines."""
    return sorted(file.stem for file in (ledger.out / "baselines").glob("*.json"))


def baseline_file(ledger: Ledger, name: str) -> Path:
    """Where a baseline of this name is or would be."""
    return ledger.out / "baselines" / f"{name}.json"


def _digest(stored: Stored) -> str:
    """The digest that the record carries; `Ledger.load` has checked that it is the right one."""
    raw = json.loads((stored.folder / RECORD).read_bytes())
    return str(raw["digest"])
