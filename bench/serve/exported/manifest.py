"""What an exported folder says that it is, and whether its files still are that.

DIR/README.md                       model card, with what verifying showed
    bench.json                      this: record, kind, type, template, digest of every file
    adapter_* or model.safetensors  the weights; config, tokenizer, generation settings
    model-TYPE.gguf                 or all of these in one file
    record/ID/                      the record, with the test questions and their answers
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.digest import file_digest
from bench.errors import BenchError, RecordError, RequestError
from bench.store.ledger import Stored, whole
from bench.store.lookup import MANIFEST
from bench.store.record import CARD
from bench.train import gguf

RECORDS = "record"
Kind = Literal["adapter", "merged", "gguf"]


class Manifest(BaseModel):
    """What an exported folder is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    record: str
    kind: Kind
    #: The commonest type of the weights, as safetensors or llama.cpp names it (F32, BF16, F16, Q8_0).
    stored_type: str
    template: str
    #: File -> SHA-256, of all but the card, this file and the record.
    files: dict[str, str]


def is_exported(folder: Path) -> bool:
    """Whether `bench export` wrote this folder."""
    return (folder / MANIFEST).is_file()


def record_in(folder: Path) -> Stored:
    """The record that an exported folder carries. Raises `RecordError`."""
    return whole(folder / RECORDS / manifest(folder).record)


def manifest(folder: Path) -> Manifest:
    """What an exported folder says that it is. Raises `RecordError`."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise RecordError(f"{folder / MANIFEST}: cannot be read ({str(error).splitlines()[0]})") from None


def write(folder: Path, stored: Stored, kind: Kind, held: str) -> None:
    """Say what a folder is, once all its files are there; `held` is the type of its weights."""
    said = Manifest(
        record=stored.record.id,
        kind=kind,
        stored_type=held,
        template=stored.record.run.template,
        files={name: file_digest(folder / name) for name in content(folder)},
    )
    (folder / MANIFEST).write_text(said.model_dump_json(indent=1) + "\n", encoding="utf-8")


def content(folder: Path) -> list[str]:
    """The files of an artifact that its manifest answers for."""
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file()
        and file.name not in (CARD, MANIFEST)
        and file.relative_to(folder).parts[0] not in (RECORDS, ".cache")
    )


def gguf_file(folder: Path) -> Path | None:
    """The GGUF file that a folder is about; none where it holds other weights. Raises `RequestError`."""
    held = [] if (folder / "config.json").is_file() else sorted(folder.glob(f"*{gguf.SUFFIX}"))
    if len(held) > 1:
        raise RequestError(f"{folder}: holds {len(held)} GGUF files; leave one there")
    return held[0] if held else None


def stored_type(folder: Path) -> str:
    """The commonest type of a folder's weights, by the headers of its files, weighed by size.

    Raises `RequestError` and what a damaged header brings.
    """
    if file := gguf_file(folder):
        return gguf.facts(file).stored_type
    held: dict[str, int] = {}
    for weights in sorted(folder.glob("*.safetensors")):
        with weights.open("rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                held[entry["dtype"]] = held.get(entry["dtype"], 0) + end - begin
    if not held:
        raise RequestError("there are no weights in safetensors files")
    return max(held, key=lambda name: held[name])


def faults(folder: Path) -> Iterable[str]:
    """Files that are missing, changed or new since the folder was written, and weights of another type."""
    said = manifest(folder)
    for name, digest in said.files.items():
        file = folder / name
        if not file.is_file():
            yield f"{name} is missing"
        elif file_digest(file) != digest:
            yield f"{name} is not what was exported"
    for name in content(folder):
        if name not in said.files:
            yield f"{name} was added"
    try:
        held = stored_type(folder)
    except (BenchError, ValueError, KeyError, TypeError, OverflowError, MemoryError):
        if said.kind != "gguf":  # loading says what is wrong with a GGUF file
            yield "the weights are no whole safetensors file"
    else:
        if held != said.stored_type:
            yield f"the weights are {held}, exported were {said.stored_type}"
