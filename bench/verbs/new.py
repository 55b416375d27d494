"""`bench new model`: the spec file of a model, written to be changed and kept.

Its facts come from the checkpoint: a folder's own files, a GGUF file's, or what the hub says. Its recipe is
the default one, so that `bench run` gives the row that it would give without the file, until somebody changes
it. A registered model is copied under another name, recipe and all.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from bench import files, registry
from bench.errors import RequestError
from bench.launch import hub
from bench.launch.hub import HUB_NAME
from bench.render import model_spec
from bench.run.plan import positions
from bench.spec import NAME, ModelSpec
from bench.train import gguf, local
from bench.verbs import Output

FOLDER = "models"


@dataclass(frozen=True)
class _Draft:
    """What is to be written, under which name if none is asked for."""

    name: str
    text: str
    #: Whether the checkpoint lies on this disk, so that no twin stands for it.
    local: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """What to write, from what, and under which name."""
    parser.add_argument("what", choices=["model"])
    parser.add_argument(
        "source", metavar="NAME|PATH|ORG/NAME", help="a checkpoint's folder or GGUF file, one on the hub, or "
        "a registered model to copy"
    )  # fmt: skip
    parser.add_argument("--name", help="of the new model (default: that of its source)")
    parser.add_argument("--force", action="store_true", help="replace a file of that name")


def execute(args: argparse.Namespace) -> Output:
    """Write `models/NAME.toml` in the current folder."""
    draft = _draft(args.source)
    name = args.name or draft.name
    if not NAME.fullmatch(name):
        raise RequestError(
            f"'{name}' is no name of a model (letters, digits, '.', '_', '-'); say --name NAME"
        )
    file = Path(FOLDER) / f"{name}.toml"
    _check_free(name, file, args.force)
    try:
        files.put(file, draft.text)
    except OSError as error:
        raise RequestError(f"{file}: cannot be written ({error.strerror})") from None
    spec = registry.load_model(file)
    scale = "" if draft.local else " --scale full"
    lines = [f"written: {file}", f"next: bench check, then bench run --models {name}{scale}"]
    return Output("\n".join(lines), {"written": str(file), "model": spec.model_dump(mode="json")})


def _check_free(name: str, file: Path, force: bool) -> None:
    """Raise `RequestError` where a model of that name is there."""
    for other in registry.spec_files(FOLDER):
        if other.stem == name and not (other.exists() and file.exists() and other.samefile(file)):
            raise RequestError(f"'{name}' is a registered model already; say --name OTHER")
    if os.path.lexists(file) and not force:
        raise RequestError(f"{file} is there already; say --force to replace it, or --name OTHER")


def _draft(source: str) -> _Draft:
    """The file of a source. Raises `RequestError` and its kinds."""
    place = Path(source).expanduser()
    if place.suffix == gguf.SUFFIX and files.is_file(place):
        spec = registry.gguf_model(place)
        return _of_path(spec)
    if files.is_folder(place):
        return _of_folder(place)
    if HUB_NAME.fullmatch(source):
        spec = hub.published_model(source)
        return _Draft(spec.name, model_spec.toml(spec, positions(spec.config)), local=False)
    spec = registry.find_model(source)
    (file,) = (file for file in registry.spec_files(FOLDER) if file.stem == source)
    return _Draft(source, model_spec.copied(source, files.text(file)), spec.checkpoint.startswith("/"))


def _of_folder(folder: Path) -> _Draft:
    spec = registry.local_model(folder)
    return _of_path(spec, positions(spec.config), local.has_chat_template(folder))


def _of_path(spec: ModelSpec, held: int | None = None, chat_template: bool = False) -> _Draft:
    """A checkpoint below the current folder is named relatively to the spec, so that both can move."""
    place = Path(spec.checkpoint)
    if place.is_relative_to(Path.cwd().resolve()):
        text = f"../{place.relative_to(Path.cwd().resolve()).as_posix()}"
        spec = spec.model_copy(update={"checkpoint": text})
    return _Draft(spec.name, model_spec.toml(spec, held, chat_template), local=True)
