"""What a driver hands to an attempt: a job, and a file with the examples that its contract selects.

Light on purpose: the driver writes these and never imports torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.data.prepare import Selection
from bench.files import put
from bench.run.identity import Run
from bench.spec import Example

#: The record of a finished attempt, before the driver publishes it.
PENDING = "pending.json"
#: Held by the process that works on a run.
LOCK = ".lock"


class Job(BaseModel):
    """The input of an attempt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Run
    #: A twin's or a local checkpoint's folder on this machine; none for the hub.
    checkpoint_folder: str | None
    #: File of the selected examples, as `write_selection` leaves it.
    selection: str
    workspace: str
    threads: int
    command: str
    commit: str | None
    dirty: bool
    checkpoint_every: int = 200
    trackers: tuple[str, ...] = ()
    #: What `--with` asked for, where that moved a package.
    trial: tuple[str, ...] = ()
    #: The kind of machine that alone may carry it out, as `devices.machine` names it; none for any.
    machine: str | None = None
    #: Folder in which the answers of untuned models are kept (`bench.run.answers.untuned`); none shares
    #: nothing.
    untuned: str | None = None
    #: Whether the untuned model answers in any case.
    fresh_base: bool = False
    #: Folder of the embedding model by which arms retrieve, where one was named.
    embedding: str | None = None


def write_selection(file: Path, selection: Selection) -> None:
    """Leave a selection for the attempts to read."""
    put(file, json.dumps(asdict(selection), ensure_ascii=False))


def read_selection(file: Path) -> Selection:
    """What `write_selection` left."""
    content = json.loads(file.read_text(encoding="utf-8"))

    def examples(part: str) -> tuple[Example, ...]:
        return tuple(Example(**{**item, "answers": tuple(item["answers"])}) for item in content[part])

    parts = examples("train"), examples("eval"), examples("followed")
    return Selection(*parts, content["counts"], content["prepared"], examples("passages"))
