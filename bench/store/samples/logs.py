"""Samples of inspect_ai: a log as `.json`, or as `.eval`, a zip of JSON files.

A sample has an id, an epoch and a value for each scorer. The letters of its graders count as inspect_ai
counts them (C 1, P 0.5, I and N 0); of a value with several parts each is a metric of its own; epochs are
averaged. A sample that ended in an error has no score. The digest of a document is over its input and target.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import files
from bench.digest import digest
from bench.errors import Unreadable
from bench.store.samples.tables import Gathered, Key, Samples

HARNESS = "inspect_ai"
LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
#: What holds a sample in an archive: a file, or the head of one in chunks; an id may hold any character.
SAMPLE = re.compile(r"samples/.+_epoch_\d+(\.json|/sample\.json)", re.DOTALL)
HEADS = ("header.json", "_journal/start.json")
#: The method of compression that Python before 3.14 does not know.
ZSTANDARD = 93
CONVERT = "pip install 'bench-sft[samples]', or: inspect log convert --to json"


def read_log(path: Path) -> Samples:
    """The samples of a log. Raises `Unreadable`."""
    archived = path.suffix.lower() == ".eval"
    head, samples = _archive(path) if archived else _plain(path)
    task = _task(head)
    if task is None:
        raise Unreadable(path, f"is no log of {HARNESS}: it names no task")
    gathered = Gathered()
    count = 0
    for sample in samples:
        count += 1
        _gather(sample, task, gathered, path)
    if not gathered.held:
        raise Unreadable(path, f"holds no score of any sample ({count} samples)")
    messages = gathered.messages(str(path))
    if (status := head.get("status", "started")) != "success":
        messages.append(f"{path}: its status is '{status}', so samples may be missing")
    return Samples(str(path), HARNESS, gathered.tables(), messages=tuple(messages))


def _task(head: Any) -> str | None:
    with suppress(KeyError, TypeError):
        return str(head["eval"]["task"])
    return None


def _plain(path: Path) -> tuple[dict[str, Any], Iterator[Any]]:
    log = files.json_object(files.content(path), path)
    samples = log.get("samples")
    return log, iter(samples if isinstance(samples, list) else [])


def _archive(path: Path) -> tuple[dict[str, Any], Iterator[Any]]:
    with files.opened(path):  # a regular file, before zipfile opens it by name
        pass
    try:
        with zipfile.ZipFile(path) as archive:
            names = dict.fromkeys(archive.namelist())
            _teach(archive)
            head: dict[str, Any] = next((_member(archive, name, path) for name in HEADS if name in names), {})
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Unreadable(path, f"is no .eval archive ({error})") from None
    return head, _members(path, list(filter(SAMPLE.fullmatch, names)))


def _members(path: Path, names: list[str]) -> Iterator[Any]:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            yield _member(archive, name, path)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    if archive.getinfo(name).file_size > files.LARGEST:
        raise Unreadable(path, f"{name} is larger than {files.LARGEST >> 20:,} MiB")
    try:
        return files.json_object(archive.read(name), path, f"{name} ")
    except Unreadable:
        raise
    except NotImplementedError:
        raise Unreadable(path, f"is compressed in a way that this Python cannot read; {CONVERT}") from None
    except Exception as error:  # each decompressor has an error of its own
        raise Unreadable(path, f"{name} cannot be read ({error})") from None


def _teach(archive: zipfile.ZipFile) -> None:
    """Let `zipfile` read zstandard where an extra brings it."""
    if any(info.compress_type == ZSTANDARD for info in archive.infolist()):
        with suppress(ImportError):
            import zipfile_zstd  # noqa: F401  (it adds the method when imported)


def _gather(sample: Any, task: str, gathered: Gathered, path: Path) -> None:
    if not isinstance(sample, dict) or not isinstance(sample.get("id"), int | str):
        raise Unreadable(path, f"holds a sample that is none of {HARNESS}: it has no 'id'")
    document = digest([_text(sample.get("input")), sample.get("target")])
    scores = sample.get("scores")
    for scorer, score in (scores if isinstance(scores, dict) else {}).items():
        value = score.get("value") if isinstance(score, dict) else None
        parts = value.items() if isinstance(value, dict) else [(None, value)]
        for part, each in parts:
            key = Key(task, scorer if part is None else f"{scorer}/{part}")
            gathered.add(key, str(sample["id"]), document, _number(each))
    if not scores:
        gathered.without += 1


def _text(value: Any) -> Any:
    """An input as what was asked: messages carry ids of their own, which differ from log to log."""
    if not isinstance(value, list):
        return value
    return [[turn.get("role"), _text(turn.get("content"))] if "role" in turn else turn for turn in value]


def _number(value: Any) -> Any:
    if isinstance(value, str):
        if value in LETTERS or value.lower() in LETTERS:
            return LETTERS.get(value, LETTERS.get(value.lower()))
        with suppress(ValueError):
            return float(value)
    return value
