"""A run becomes a folder that others load, and the folder answers the test questions again.

The adapter as it is, merged into its base, or that as a GGUF file. Nothing is called verified that was not
loaded afresh, by transformers in a process of its own, and held against the record's answers; the model card
says how that went.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import RequestError, Unreachable
from bench.judge.verification import Verification
from bench.render.card import model_card
from bench.render.text.verification import verified
from bench.serve.chat import chat_template
from bench.serve.engine import Engine
from bench.serve.exported import artifact, manifest, merge
from bench.serve.exported.convert import Conversion
from bench.serve.origin import origin
from bench.serve.plain import ADAPTER_CONFIG
from bench.serve.verify import Progress, _quiet
from bench.store.ledger import Stored
from bench.store.record import CARD, PARTS, RECORD

#: What of a record travels: enough to verify, nothing of this machine.
TRAVELS = (RECORD, *PARTS)
#: Within the new folder, what a converter reads; it does not travel.
MERGED = ".merged"


@dataclass(frozen=True)
class Exported:
    """A folder and what verifying it showed."""

    folder: Path
    verification: Verification


def export(
    stored: Stored,
    to: Path,
    merged: merge.Type | None = None,
    sample: int | None = None,
    base: Path | None = None,
    progress: Progress = _quiet,
    conversion: Conversion | None = None,
) -> Exported:
    """Write a run's weights to a new folder, verify them, and put the card beside them.

    `merged` is the type of merged weights; none leaves them as the run saved them. With a `conversion` the
    folder holds a GGUF file of the merged weights. Raises `RequestError` for a folder that exists or a model
    that cannot be read back, `ConversionFailed`, and what `Engine.load` raises.
    """
    if conversion is not None:
        conversion.check(origin(stored, base))
        merged = merged or conversion.merged()
    fresh = _fresh(to)
    try:
        engine = Engine.load(stored, base)
        kind: manifest.Kind
        if conversion is None:
            adapter = merged is None and stored.record.run.recipe.adapter
            _write(engine, fresh, merged, adapter)
            kind, held = ("adapter" if adapter else "merged"), manifest.stored_type(fresh)
        else:
            adapter, kind = False, "gguf"
            held = _convert(engine, fresh, merged or "auto", conversion)
        engine.close()
        target = fresh / manifest.RECORDS / stored.record.id
        target.mkdir(parents=True)
        for name in TRAVELS:
            shutil.copyfile(stored.folder / name, target / name)
        manifest.write(fresh, stored, kind, held)
        result = replace(artifact.verify(fresh, sample, base, progress), subject=str(to))
        file = manifest.gguf_file(fresh)
        card = model_card(stored.record, not adapter, verified(result), file.name if file else None)
        (fresh / CARD).write_text(card, encoding="utf-8")
        fresh.rename(to)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return Exported(to, result)


def _fresh(to: Path) -> Path:
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RequestError(f"--to {to}: exists; name a new folder")
    whole = to.resolve()
    fresh = whole.with_name(f".{whole.name}.fresh")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
    except OSError as error:
        raise RequestError(f"--to {to}: cannot be written ({error.strerror})") from None
    return fresh


def _write(engine: Engine, folder: Path, merged: merge.Type | None, adapter: bool) -> None:
    """The weights with their configuration, tokenizer and generation settings."""
    if merged is None:
        for file in engine.place.weights.iterdir():
            if file.is_file() and file.name != CARD:
                shutil.copyfile(file, folder / file.name)
    else:
        merge.merged(engine, merge.type_of(merged, engine)).save_pretrained(folder, safe_serialization=True)
    if adapter:
        _name_base(folder / ADAPTER_CONFIG, artifact.base_place(engine.place))
    with engine.on("tuned") as loaded:
        merge.generation_config(loaded, engine).save_pretrained(folder)
        tokenizer = loaded.tokenizer
        if engine.run.model.objective == "causal":
            tokenizer.chat_template = chat_template(engine.run.template, tokenizer)
        tokenizer.save_pretrained(folder)


def _convert(engine: Engine, folder: Path, merged: merge.Type, conversion: Conversion) -> str:
    """Write the GGUF file of the merged weights, which are gone when it is there; the type of the file."""
    between = folder / MERGED
    between.mkdir()
    _write(engine, between, merged, adapter=False)
    held = conversion.write(between, folder, engine.place, merge.type_of(merged, engine))
    shutil.rmtree(between)
    return held


def _name_base(file: Path, name: str) -> None:
    """An adapter that travels names its base as others know it, never by a path of this machine."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = name
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def push(
    folder: Path, repository: str, private: bool = False, with_record: bool = False, hub: Any = None
) -> str:
    """Make the repository where there is none and commit the folder; the commit's address.

    The record holds the test questions with their answers, so it stays here unless `with_record`. Raises
    `Unreachable` with what the hub answered.
    """
    from huggingface_hub import HfApi

    hub = hub or HfApi()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"bench export of {folder.name}",
            ignore_patterns=None if with_record else [f"{manifest.RECORDS}/**"],
        )
    except Exception as error:  # the hub client raises a dozen unrelated types
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Unreachable(
            f"--push {repository}: the hub did not take it ({first[:200]}); "
            f"the folder {folder} is whole, so `hf upload` can follow after `hf auth login`"
        ) from error
    return str(commit.commit_url)
