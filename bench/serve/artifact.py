"""A folder that `bench export` wrote, or any other model folder, held against a record's answers.

    DIR/README.md                       model card, with what verifying showed
        bench.json                      what this is: record, base, type, template, digest of every file
        adapter_* or model.safetensors  the weights; config, tokenizer, generation settings
        record/ID/                      the record, with the test questions and their answers

The folder is loaded by plain transformers in a fresh process (`plain`) and answers the test questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.digest import file_digest
from bench.errors import BenchError, RecordError, RequestError, UnsafeRequest
from bench.judge.verification import Reanswered, Verification
from bench.prompt import render
from bench.serve import plain
from bench.serve.origin import Origin, checkpoint
from bench.serve.verify import Progress, Questions, moved_versions, rescore
from bench.spec import Example
from bench.store.damage import damage
from bench.store.ledger import Stored, read
from bench.store.lookup import MANIFEST
from bench.store.record import CARD
from bench.train import adapter as adapters
from bench.train.numerics import precision

RECORDS = "record"


class Manifest(BaseModel):
    """What an exported folder is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    record: str
    kind: Literal["adapter", "merged"]
    #: The type of the floating-point weights, as safetensors names it (F32, BF16, F16).
    stored_type: str
    template: str
    #: File -> SHA-256, of all but the card, this file and the record.
    files: dict[str, str]


def is_exported(folder: Path) -> bool:
    """Whether `bench export` wrote this folder."""
    return (folder / MANIFEST).is_file()


def record_in(folder: Path) -> Stored:
    """The record that an exported folder carries. Raises `RecordError`."""
    place = folder / RECORDS / manifest(folder).record
    return Stored(read(place), place)


def manifest(folder: Path) -> Manifest:
    """What an exported folder says that it is. Raises `RecordError`."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise RecordError(f"{folder / MANIFEST}: cannot be read ({str(error).splitlines()[0]})") from None


def verify(
    folder: Path,
    sample: int | None,
    base: Path | None,
    progress: Progress,
    stored: Stored | None = None,
) -> Verification:
    """Hold a folder against its own record, or against `stored`.

    Raises `RecordError` where there is no record to hold it against, `RequestError` where the base of an
    adapter is out of reach.
    """
    exported = is_exported(folder)
    if not any((folder / name).is_file() for name in ("config.json", plain.ADAPTER_CONFIG)):
        raise RequestError(f"{folder}: holds neither a model nor an adapter")
    if not any(folder.glob("*.safetensors")):
        raise UnsafeRequest(f"{folder}: has no safetensors weights; pickled weights run code: refused")
    if stored is None:
        stored = record_in(folder)
    questions = Questions.of(stored, sample)
    faults = [*damage(stored.record, stored.folder), *(_file_faults(folder) if exported else ())]
    task = task_of(folder, stored, questions, base, exported)
    answered: tuple[Reanswered, ...] = ()
    progress("artifact", 0, len(questions.places))
    try:
        made = plain.answers(task)
        answered = (questions.check("tuned", made.texts, made.agreement),)
    except RecordError as error:
        faults.append(str(error))
    progress("artifact", len(questions.places), len(questions.places))
    return Verification(
        subject=str(folder),
        record=stored.record.id,
        faults=tuple(faults),
        rescored=rescore(stored),
        reanswered=answered,
        stop=questions.stop_effect(),
        notes=tuple(moved_versions(stored)),
    )


def task_of(
    folder: Path, stored: Stored, questions: Questions, base: Path | None, exported: bool
) -> plain.PlainTask:
    """What a fresh process is to load and to answer."""
    from bench import devices

    run = stored.record.run.model_copy(update={"device": devices.here().device})
    contract, decoding = run.contract, run.contract.decoding
    adapter = (folder / plain.ADAPTER_CONFIG).is_file()
    source, revision = None, None
    if adapter:
        local = checkpoint(run, base)
        source = str(adapters.loadable(local, run.checkpoint)) if local else run.checkpoint.source
        revision = None if local else run.checkpoint.revision
    room = contract.max_length
    if run.model.objective == "causal":
        room -= decoding.max_new_tokens
    return plain.PlainTask(
        folder=str(folder.resolve()),
        objective=run.model.objective,
        base=source,
        revision=revision,
        four_bit=adapter and run.recipe.method == "qlora" and run.device != "mps",
        dtype=str(precision(run)).removeprefix("torch.") if adapter else "auto",
        device=run.device,
        threads=stored.record.provenance.threads,
        questions=tuple(
            (question, context, render(Example("", question, (), context), run.template))
            for question, context in questions.asked
        ),
        recorded=tuple(row["tuned"] for row in questions.rows),
        room=max(room, 16),
        decoding=decoding,
        shipped_settings=exported,
    )


def write_manifest(folder: Path, stored: Stored, adapter: bool) -> None:
    """Say what a folder is, once all its files are there."""
    weights = sorted(folder.glob("*.safetensors"))
    said = Manifest(
        record=stored.record.id,
        kind="adapter" if adapter else "merged",
        stored_type=stored_type(weights),
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


def stored_type(weights: Iterable[Path]) -> str:
    """The most frequent type in the headers of safetensors files, weighed by bytes."""
    held: dict[str, int] = {}
    for file in weights:
        with file.open("rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                held[entry["dtype"]] = held.get(entry["dtype"], 0) + end - begin
    if not held:
        raise RequestError("there are no weights in safetensors files")
    return max(held, key=lambda name: held[name])


def _file_faults(folder: Path) -> Iterable[str]:
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
        held = stored_type(sorted(folder.glob("*.safetensors")))
    except (BenchError, ValueError, KeyError, TypeError, OverflowError, MemoryError):
        yield "the weights are no whole safetensors file"
    else:
        if held != said.stored_type:
            yield f"the weights are {held}, exported were {said.stored_type}"


def base_place(place: Origin) -> str:
    """A base's name for an adapter's configuration: the hub's, or what a user calls it; never a path."""
    return place.run.checkpoint.source
