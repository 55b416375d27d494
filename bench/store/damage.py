"""What is wrong with a stored record: parts that were edited, and values that contradict each other.

A record travels: it is copied, merged and committed, and may come from a stranger. Its digests show that it
was cut short or edited. A record that was written anew around other numbers has digests that fit, so its
numbers are held against each other too: means against the scores of every example, counts and lengths
against the answers, the test set's digest against its questions and references, groups against the data set
(`bench.store.groups`), spending against the budget. What this proves is that a record is whole and of one
piece. It does not prove who made it, or that the texts were ever generated.

Reading every part of thousands of records takes seconds, so a record that was found whole is remembered in
the cache by the size, times and inode of its files, and read in full again once any of them changes.
`tests/test_compare.py` holds the time for 5,000 records.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench import files
from bench.cache import cache_root
from bench.digest import digest
from bench.errors import RecordError, Unreadable
from bench.store.groups import changed_groups, groups_digest, prepared_file
from bench.store.record import COMPLETIONS, CURVE, PARTS, RECORD, SCORES, Estimate, Record

#: Raised when more is checked than before, so that what was found whole is read again.
CHECKS = 5
#: What a board and a comparison read of every record.
ROWS, METRICS = ("tuned", "base"), ("rouge1", "rouge2", "rougeL", "rougeLsum")
#: Means are stored to the last digit; sums in another order may move them by this much.
ROUNDING = 1e-9
#: Clocks of two machines may differ by this much.
AHEAD = timedelta(days=1)


class Verified:
    """Which records of a folder were found whole, remembered between commands."""

    def __init__(self, runs: Path) -> None:
        self._file = cache_root() / "verified" / f"{digest(str(runs.resolve()))[:20]}.json"
        self._known: dict[str, str] | None = None
        self._fresh = False

    def holds(self, folder: Path) -> bool:
        """Whether a record's folder was found whole and has not been touched since."""
        signature = _signature(folder)
        return bool(signature) and self._kept().get(folder.name, "").partition(" ")[0] == signature

    def check(self, record: Record, folder: Path) -> None:
        """Remember a record that is whole. Raises `RecordError` with the first thing that is wrong."""
        signature = _signature(folder)
        for mistake in damage(record, folder):
            raise RecordError(mistake)
        scores = orjson.loads(files.content(folder / SCORES))
        against = prepared_file(record.run.contract.eval)
        held = groups_digest(scores["ids"], scores["groups"])
        self._kept()[record.id] = f"{signature} {held} {against.name if against else '-'}"
        self._fresh = True

    def groups(self, record: Record) -> str:
        """What stands for the groups of a record that was found whole."""
        return self._kept()[record.id].split(" ")[1]

    def is_older_than_data(self, record: Record) -> bool:
        """Whether the record's data set was not prepared here when it was found whole, and is now."""
        against = prepared_file(record.run.contract.eval)
        return against is not None and self._kept()[record.id].split(" ")[2] != against.name

    def save(self) -> None:
        """Remember; a cache that cannot be written costs time and nothing else."""
        if not self._fresh:
            return
        fresh = self._file.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            fresh.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(orjson.dumps(self._known))
            fresh.replace(self._file)

    def _kept(self) -> dict[str, str]:
        if self._known is None:
            self._known = {}
            with suppress(Unreadable, ValueError, TypeError):
                held = orjson.loads(files.content(self._file))
                self._known = {str(id): str(value) for id, value in dict(held).items()}
        return self._known


def damage(record: Record, folder: Path) -> Iterator[str]:
    """Everything that is wrong with a record, the first thing first; nothing where it is whole."""
    contents = {}
    for name in PARTS:
        content = _bytes(folder / name)
        if content is None or hashlib.sha256(content).hexdigest() != record.files.get(name):
            yield f"{folder / name}: missing, edited or cut short; run it again"
            return
        contents[name] = content
    try:
        yield from _in_record(record, f"{folder / RECORD}")
        scores = orjson.loads(contents[SCORES])
        yield from _in_scores(record, scores, f"{folder / SCORES}")
        yield from changed_groups(record, scores["ids"], scores["groups"], f"{folder / SCORES}")
        lines = [orjson.loads(line) for line in contents[COMPLETIONS].split(b"\n") if line]
        yield from _in_completions(record, lines, scores["ids"], f"{folder / COMPLETIONS}")
        points = [orjson.loads(line) for line in contents[CURVE].split(b"\n") if line]
        yield from _in_curve(points, f"{folder / CURVE}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        yield f"{folder}: is no record of this program ({type(error).__name__}: {error})"


def _in_record(record: Record, where: str) -> Iterator[str]:
    budget, spent = record.run.contract.budget, record.spent
    done = (spent.steps, spent.effective_batch, spent.examples)
    if done != (budget.steps, budget.effective_batch, budget.examples):
        yield f"{where}: spent {spent.steps}x{spent.effective_batch}, but its contract says {budget}"
    tables = [record.gain, *(record.scores.get(row, {}) for row in ROWS)]
    if not all(metric in table for table in tables for metric in METRICS):
        yield f"{where}: scores of {' or '.join(ROWS)} are missing"
    for row, metrics in record.scores.items():
        if missing := [metric for metric in METRICS if metric not in metrics]:
            yield f"{where}: '{row}' has no {missing[0]}"
    if not all(row in record.written for row in ROWS):
        yield f"{where}: what was written by {' or '.join(ROWS)} is missing"
    for name in ("started", "finished"):
        text = getattr(record.provenance, name)
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            yield f"{where}: '{name}' is no time: {text[:40]!r}"
            continue
        if (when if when.tzinfo else when.replace(tzinfo=UTC)) > datetime.now(UTC) + AHEAD:
            yield f"{where}: '{name}' lies in the future: {text}"


def _in_scores(record: Record, content: Any, where: str) -> Iterator[str]:
    ids, rows = content["ids"], content["rows"]
    columns = [content[name] for name in ("ids", "groups", "categories")]
    if not all(isinstance(value, str) for column in columns for value in column):
        yield f"{where}: an id, group or category is no text"
    if len({len(column) for column in columns}) > 1 or not ids or len(set(ids)) < len(ids):
        yield f"{where}: ids are repeated or missing, or its lists have different lengths"
    tables = {}
    for row, metrics in rows.items():
        for metric, values in metrics.items():
            table = np.array([values[part] for part in ("p", "r", "f")], dtype=np.float64)
            if table.shape != (3, len(ids)):
                yield f"{where}: '{row}' has {table.shape[-1]} scores of {metric}, not {len(ids)}"
            elif not ((table >= 0) & (table <= 1)).all():  # also false for what is not a number
                yield f"{where}: '{row}' holds a score of {metric} outside 0 to 1"
            tables[row, metric] = table[2]
    for row, estimates in record.scores.items():
        for metric, estimate in estimates.items():
            yield from _in_mean(estimate, tables[row, metric], f"{row} {metric}", where)
    for metric, estimate in record.gain.items():
        difference = tables["tuned", metric] - tables[record.gain_over, metric]
        yield from _in_mean(estimate, difference, f"gain {metric}", where)


def _in_mean(estimate: Estimate, values: Any, what: str, where: str) -> Iterator[str]:
    if not abs(float(values.mean()) - estimate.mean) <= ROUNDING:
        yield f"{where}: the mean of {what} is {values.mean():.4f}, the record says {estimate.mean:.4f}"
    elif not estimate.low <= estimate.mean + ROUNDING or not estimate.mean <= estimate.high + ROUNDING:
        yield f"{where}: the mean of {what} lies outside its own interval"


def _in_completions(
    record: Record, lines: Sequence[Mapping[str, Any]], ids: Sequence[str], where: str
) -> Iterator[str]:
    texts = ("id", "question", "context", "category", "base", "tuned")
    for number, line in enumerate(lines, 1):
        if not all(isinstance(line[name], str) for name in texts) or not _are_texts(line["references"]):
            yield f"{where}, line {number}: a field is missing or is no text"
            return
    if [line["id"] for line in lines] != list(ids):
        yield f"{where}: its examples are not those of {SCORES}"
    asked = [[line["id"], line["question"], line["context"], line["references"]] for line in lines]
    if digest(asked) != record.data.eval_digest:
        yield f"{where}: its questions and references are not those that the record was scored on"
    for row, written in record.written.items():
        answers = [line[row] for line in lines]
        counts = (len(answers), sum(not text for text in answers), len(set(answers)))
        if counts != (written.examples, written.empty, written.distinct):
            yield f"{where}: the answers of '{row}' are not those that the record counted"


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def _in_curve(points: Iterable[Mapping[str, Any]], where: str) -> Iterator[str]:
    for number, point in enumerate(points, 1):
        values = list(point.values())
        counted = all(isinstance(point.get(name), int) for name in ("step", "examples"))
        if not counted or not np.isfinite(np.array(values, dtype=np.float64)).all():
            yield f"{where}, line {number}: is no point of a training curve"
            return


def _signature(folder: Path) -> str:
    """Changes whenever one of the record's files does; empty where one is missing."""
    try:
        stats = [os.stat(f"{folder}/{name}") for name in (RECORD, *PARTS)]  # noqa: PTH116  (thousands of them)
    except OSError:
        return ""
    return digest([CHECKS, [[s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for s in stats]])


def _bytes(file: Path) -> bytes | None:
    """A regular file's content; none for what is missing, no file, or far too large."""
    try:
        return files.content(file)
    except Unreadable:
        return None
