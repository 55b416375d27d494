"""Which checkpoint of an interrupted run counts: the newest that is whole.

A trainer writes a checkpoint file by file and may be killed at any of them. The marker comes last, by
rename, and names every other file with its digest: a checkpoint without one, or with a file that differs,
is not whole. Such a checkpoint is set aside with a line in the run's log, and the next older one is
tried; where none is whole the run starts anew. Older checkpoints go after the marker is written, so
there is no moment without a whole one after the first.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.digest import digest, file_digest
from bench.errors import Unreadable
from bench.files import is_file, json_value

MARKER = "meter.json"
#: The trainer's own account of its steps.
TRAINER_STATE = "trainer_state.json"
#: Put before the name of a checkpoint that is not whole.
ASIDE = "damaged-"
_NAME = re.compile(r"checkpoint-(\d+)")


def mark(checkpoint: Path, counts: Mapping[str, Any]) -> None:
    """Declare a checkpoint whole, with the meter's counts; then remove its predecessors."""
    files = {str(file.relative_to(checkpoint)): file_digest(file) for file in _files(checkpoint)}
    fresh = checkpoint / f"{MARKER}.tmp"
    body = {"counts": dict(counts), "files": files}
    fresh.write_text(json.dumps({**body, "digest": digest(body)}), encoding="utf-8")
    fresh.replace(checkpoint / MARKER)
    for other in _checkpoints(checkpoint.parent):
        if other != checkpoint:
            shutil.rmtree(other)


def newest_whole(folder: Path, effective_batch: int) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint in a folder and the meter's counts; others that are newer are set aside."""
    for checkpoint in _checkpoints(folder):
        try:
            return checkpoint, _counts(checkpoint, effective_batch)
        except (_NotWhole, TypeError, KeyError, AttributeError) as fault:
            place = checkpoint.with_name(ASIDE + checkpoint.name)
            shutil.rmtree(place, ignore_errors=True)
            checkpoint.replace(place)
            print(f"{checkpoint.name} is set aside as {place.name}: {fault}", file=sys.stderr)
    return None


class _NotWhole(Exception):
    """What a checkpoint lacks."""


def _counts(checkpoint: Path, effective_batch: int) -> dict[str, Any]:
    """The meter's counts of a whole checkpoint, which agree with the trainer's state."""
    marker = _read(checkpoint / MARKER)
    if marker.pop("digest", None) != digest(marker):
        raise _NotWhole(f"{MARKER} does not match its digest")
    counts: dict[str, Any] = marker["counts"]
    for name, expected in marker["files"].items():
        file = checkpoint / name
        if not is_file(file):
            raise _NotWhole(f"{name} is missing")
        if file_digest(file) != expected:
            raise _NotWhole(f"{name} is not what was saved")
    steps = _read(checkpoint / TRAINER_STATE).get("global_step")
    if counts["steps"] != steps or counts["examples"] != steps * effective_batch:
        raise _NotWhole(f"{MARKER} counts other steps or examples than {TRAINER_STATE}")
    return counts


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json_value(file)
    except Unreadable as error:
        reason = "is missing" if error.missing else error.reason
        raise _NotWhole(f"{file.name} {reason}") from None
    if not isinstance(content, dict):
        raise _NotWhole(f"{file.name} is no JSON object")
    return content


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder by their names, newest first."""
    if not folder.is_dir():
        return []
    named = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for match, path in sorted(named, key=lambda pair: int(pair[0][1]), reverse=True)]


def _files(checkpoint: Path) -> list[Path]:
    own = (MARKER, f"{MARKER}.tmp")
    return sorted(file for file in checkpoint.rglob("*") if file.is_file() and file.name not in own)
