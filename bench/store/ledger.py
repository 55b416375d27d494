"""Where records live: a folder of folders, one per run, that is its own index.

A record is written under a temporary name and renamed last, so whatever stands under
`runs/<id>/` is whole. There is no lock and no shared file: two machines' results merge by
copying folders, and a team can commit `runs/` to git. Failures are kept beside the records and
go when their run succeeds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from bench import files
from bench.errors import RecordError, Unreadable
from bench.files import LARGEST_DESCRIPTION as LARGEST
from bench.store.damage import Verified, damage
from bench.store.groups import at_odds
from bench.store.record import COMPLETIONS, CURVE, RECORD, SCORES, Failure, LeftOut, Record, seal, unseal


@dataclass(frozen=True)
class Stored:
    """A record and the folder it lies in; the long lists are read when asked for."""

    record: Record
    folder: Path

    @cached_property
    def digest(self) -> str:
        """The digest that the record carries, as `read` has checked it."""
        return str(orjson.loads(files.content(self.folder / RECORD, LARGEST))["digest"])

    @cached_property
    def scores(self) -> dict[str, Any]:
        """`ids`, `groups`, `categories` and row -> metric -> {"p", "r", "f"} -> list of floats."""
        content: dict[str, Any] = json.loads(self.part(SCORES))
        return content

    @cached_property
    def completions(self) -> list[dict[str, Any]]:
        """Per example: id, question, context, references, category, base and tuned text."""
        return [json.loads(line) for line in self.part(COMPLETIONS).split(b"\n") if line]

    @cached_property
    def curve(self) -> list[dict[str, Any]]:
        """Per logged step: step, examples, loss, learning_rate, grad_norm."""
        return [json.loads(line) for line in self.part(CURVE).split(b"\n") if line]

    def part(self, name: str) -> bytes:
        """One of the record's files, as bytes: a completion may hold any separator that splitlines knows.

        Raises `RecordError` where it is not the one that the record was sealed with.
        """
        file = self.folder / name
        try:
            content = files.content(file)
        except Unreadable:
            content = b""
        if hashlib.sha256(content).hexdigest() != self.record.files.get(name):
            raise RecordError(f"{file}: missing, edited or cut short; run it again")
        return content


class Ledger:
    """The records and failures under one output folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.runs = out / "runs"
        #: Runs of random weights: what they cost is shown, what they score is not.
        self.costs = out / "costs"
        self.failures = out / "failed"
        self.missing = out / "left-out"
        self.work = out / ".work"
        #: Answers of untuned models, which runs take from each other (`bench.run.answers.untuned`).
        self.untuned = out / ".untuned"

    def finished(self, id: str) -> bool:
        """Whether a whole record of this run is there, of one piece (`bench.store.damage`)."""
        folder = self.folder(id)
        if not files.is_file(folder / RECORD):
            return False
        try:
            whole(folder)
        except RecordError:
            return False
        return True

    def folder(self, id: str) -> Path:
        """Where a run's record is or will be."""
        measured = self.costs / id
        return measured if measured.is_dir() else self.runs / id

    def measured(self) -> tuple[list[Stored], list[str]]:
        """The records of runs with random weights, as `load` gives the others."""
        costs = Ledger(self.out)
        costs.runs = self.costs
        return costs.load()

    def load(self, ids: Iterable[str] | None = None) -> tuple[list[Stored], list[str]]:
        """The whole records, by id, and a message for each that was left out and why."""
        folders = [self.runs / id for id in ids] if ids is not None else self._folders()
        stored, messages = [], []
        verified = Verified(self.runs)
        for folder in folders:
            try:
                known = verified.holds(folder)
                record = read(folder, checked=known)
                if not known or verified.is_older_than_data(record):
                    verified.check(record, folder)
            except RecordError as error:
                messages.append(str(error))
            else:
                stored.append(Stored(record, folder))
        verified.save()
        wrong = at_odds({one.record.id: (one.record, verified.groups(one.record)) for one in stored})
        messages += [
            f"{one.folder / SCORES}: {wrong[one.record.id]}" for one in stored if one.record.id in wrong
        ]
        return [one for one in stored if one.record.id not in wrong], messages

    def failed(self) -> list[Failure]:
        """The failures that no later success has replaced; a file that is none is set aside."""
        failures = []
        for file in sorted(self.failures.glob("*.json")) if self.failures.is_dir() else []:
            try:
                failure = Failure.model_validate_json(files.content(file, LARGEST))
                if not self.finished(failure.id):
                    failures.append(failure)
            except ValueError:
                with suppress(OSError):
                    file.replace(file.with_suffix(".damaged"))
            except Unreadable:  # a folder, a pipe: no failure that could be told
                continue
        return failures

    def workspace(self, id: str) -> Path:
        """Where a run keeps checkpoints and logs until it is finished; it may be there already."""
        folder = self.work / id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, record: Record, folder: Path) -> Path:
        """Make a folder with all parts of a record the record: sealed, then renamed into place."""
        fresh = folder / f"{RECORD}.tmp"
        text = json.dumps(seal(record), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(folder / RECORD)
        target = (self.costs if record.run.checkpoint.kind == "random" else self.runs) / record.id
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # broken, or it would not have been run again
            shutil.rmtree(target)
        folder.replace(target)
        with suppress(OSError):  # the run is published; a failure beside its record no longer counts
            (self.failures / f"{record.id}.json").unlink()
        return target

    def fail(self, failure: Failure) -> None:
        """Keep the reason why a run died."""
        files.put(self.failures / f"{failure.id}.json", failure.model_dump_json(indent=1) + "\n")

    def leave_out(self, contract: str, scale: str, models: Sequence[LeftOut]) -> None:
        """Keep which models a request for all of them left out; replaces what an earlier one did."""
        file = self.missing / f"{contract[:16]}-{scale}.json"
        if not models:
            file.unlink(missing_ok=True)
            return
        files.put(file, json.dumps([model.model_dump() for model in models], indent=1))

    def left_out(self) -> list[LeftOut]:
        """What `leave_out` kept; a file that is damaged counts for nothing."""
        models = []
        for file in sorted(self.missing.glob("*.json")) if self.missing.is_dir() else []:
            with suppress(OSError, ValueError, TypeError):
                models += [LeftOut.model_validate(item) for item in json.loads(file.read_bytes())]
        return models

    def _folders(self) -> Iterator[Path]:
        if self.runs.is_dir():
            with os.scandir(self.runs) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
            yield from (self.runs / name for name in names)


def read(folder: Path, checked: bool = False) -> Record:
    """One record, checked against its digest and its name unless that is done. Raises `RecordError`."""
    file = folder / RECORD
    try:
        raw = orjson.loads(files.content(file, LARGEST))
        if not isinstance(raw, dict):
            raise RecordError(f"{file}: is not a record")
        record = unseal(raw, str(file), checked)
    except Unreadable as error:
        raise RecordError(f"{folder}: holds no {RECORD}" if error.missing else str(error)) from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{file}: cannot be read ({error}); cut short or edited") from None
    if checked:
        return record
    if record.id != record.run.id:
        raise RecordError(f"{file}: is called {record.id}, but its run is {record.run.id}; edited")
    if record.id != folder.name:
        raise RecordError(f"{folder}: holds a copy of {record.id}, which counts once; remove it")
    return record


def whole(folder: Path) -> Stored:
    """One record whose parts were read and held against each other. Raises `RecordError`."""
    record = read(folder)
    for mistake in damage(record, folder):
        raise RecordError(mistake)
    return Stored(record, folder)
