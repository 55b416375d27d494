"""Baselines: a set of records remembered under a name, in one file that is whole by itself.

The file lists run ids with the digests of their records, and short digests of all records that were there (so
that a gate knows what is new without trusting a clock). It holds the records packed: scores and answers of
every example, contract, environment, no weights. So it can be committed, and a fresh clone that has no
record of its own can be judged against it. Where the ledger has the very record that was saved, that one is
used; else the packed one, unpacked into the cache and checked as any record is.
"""

from __future__ import annotations

import base64
import json
import lzma
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.cache import cache_root
from bench.digest import digest
from bench.errors import RecordError, RequestError, UnknownName, Unreadable
from bench.files import LARGEST, content, is_file, json_value, put
from bench.spec import NAME
from bench.store.ledger import Ledger, Stored, whole
from bench.store.record import PARTS, RECORD
from bench.store.sides import Side, newest, side_of

#: Files of format 1 list records and hold none.
FORMAT = 2
#: Bytes that a baseline may unpack to; far more than thousands of records have.
UNPACKED = 1 << 29
#: Digits of a record's digest by which a baseline knows that a record was there when it was saved.
KNOWN = 16


def save_baseline(name: str, side: Side, ledger: Ledger) -> tuple[Path, list[str]]:
    """Write a side's newest records into one file: the file and the run ids.

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
    runs = [{"id": stored.record.id, "digest": stored.digest} for stored in kept]
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    runs = sorted(runs, key=lambda run: run["id"])
    known = sorted(stored.digest[:KNOWN] for stored in ledger.load()[0])
    body = {"format": FORMAT, "name": name, "saved": saved, "runs": runs, "known": known}
    body["records"] = _packed(kept)
    put(file, json.dumps(body, indent=1) + "\n")
    return file, [run["id"] for run in runs]


def load_baseline(name: str, ledger: Ledger) -> Side:
    """A saved baseline's records. Raises `UnknownName`, `RequestError`, `Incomparable`."""
    if not NAME.fullmatch(name) or not is_file(baseline_file(ledger, name)):
        raise UnknownName("baseline", name, baselines(ledger))
    file = baseline_file(ledger, name)
    try:
        body = json_value(file, LARGEST)
        version = body["format"]
        saved = {str(run["id"]): str(run["digest"]) for run in body["runs"]}
        packed = _unpacked(body["records"]) if version == FORMAT else {}
        known = frozenset(map(str, body.get("known", ())))
    except (Unreadable, ValueError, TypeError, KeyError, AttributeError, RecursionError, lzma.LZMAError):
        raise RequestError(f"{file}: is not a baseline; save it again: bench baseline save {name}") from None
    if version not in (1, FORMAT):
        raise RequestError(f"{file}: baseline format {version}, this program reads {FORMAT}")
    bad = [id for id in saved if not NAME.fullmatch(id)]
    if bad:
        raise RequestError(f"{file}: '{bad[0]}' is no run id")
    records, messages = [], []
    for id, wanted in saved.items():
        stored = _held(ledger, id, wanted)
        try:
            records.append(stored or _restored(id, wanted, packed[id]))
        except KeyError:
            messages.append(f"{ledger.runs / id}: is not the record that baseline '{name}' was saved with")
        except RecordError as error:
            messages.append(str(error))
    return replace(side_of(name, records, (), messages), known=known)


def baselines(ledger: Ledger) -> list[str]:
    """The names of saved baselines."""
    return sorted(file.stem for file in (ledger.out / "baselines").glob("*.json"))


def baseline_file(ledger: Ledger, name: str) -> Path:
    """Where a baseline of this name is or would be."""
    return ledger.out / "baselines" / f"{name}.json"


def _held(ledger: Ledger, id: str, wanted: str) -> Stored | None:
    """The ledger's own record of this id, if it is the one with this digest and whole."""
    if not ledger.finished(id):
        return None
    stored = whole(ledger.runs / id)
    return stored if stored.digest == wanted else None


def _restored(id: str, wanted: str, parts: dict[str, str]) -> Stored:
    """A packed record, unpacked into the cache. Raises `RecordError` where it is not what was saved."""
    place = cache_root() / "baselines" / digest(parts)[:20] / id
    for name, text in parts.items():
        if name not in (RECORD, *PARTS):
            raise RecordError(f"record {id} of a baseline holds a file '{name}', which no record has")
        if not is_file(place / name):
            put(place / name, text)
    stored = whole(place)
    if stored.digest != wanted:
        raise RecordError(f"record {id} of a baseline is not the one that was saved")
    return stored


def _packed(records: list[Stored]) -> str:
    """The records' files but for weights: JSON, compressed, as text that a JSON file can hold."""
    texts = {
        stored.record.id: {name: content(stored.folder / name).decode() for name in (RECORD, *PARTS)}
        for stored in sorted(records, key=lambda stored: stored.record.id)
    }
    raw = json.dumps(texts, ensure_ascii=False, sort_keys=True).encode()
    return base64.b64encode(lzma.compress(raw, preset=6)).decode()


def _unpacked(packed: str) -> dict[str, dict[str, str]]:
    """Run id -> file name -> text. ValueError and `LZMAError` for what `_packed` never writes."""
    expander = lzma.LZMADecompressor()
    raw = expander.decompress(base64.b64decode(packed, validate=True), max_length=UNPACKED)
    if not expander.eof:
        raise ValueError("cut short or too large")
    return {str(id): {str(k): str(v) for k, v in parts.items()} for id, parts in json.loads(raw).items()}
