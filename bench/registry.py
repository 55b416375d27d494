"""Name -> spec: the packaged folders first, then the user's own.

A spec is a TOML file whose name is the spec's name. The packaged `models/` and `datasets/`
stand at the root of a checkout and inside the package in a wheel; a user's own stand in the
current folder. A user's file may not take a packaged name: a leaderboard row called `gpt2`
means the same thing on every machine. A path to a folder with a `config.json`, or to a GGUF
file, is a model too; `NAME=PATH` is the registered model, its recipe included, with the weights
at the path.

All mistakes of a file are reported at once, each with its key and a remedy.
"""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench import files
from bench.errors import RequestError, SpecError, UnknownName, Unreadable
from bench.packaged import ROOT as ROOT
from bench.recipe_keys import CONTRACT_KEYS, OPTIMIZERS
from bench.spec import NAME, Columns, DatasetSpec, ModelSpec, Recipe
from bench.train import gguf, local

TWINS = ROOT / "models" / "twins"
#: Share by which the parameters of given weights may differ from a spec's (a head stored twice).
PARAMETER_TOLERANCE = 0.25
#: Folder beside that of the specs, whose files these may name.
PASSAGES = "passages"
#: Bytes of a spec file.
LARGEST_SPEC = 1 << 20

Spec = TypeVar("Spec", ModelSpec, DatasetSpec)


def models(home: Path | None = None) -> dict[str, ModelSpec]:
    """Every registered model by name, those with mistakes in their file left out."""
    return _registry("models", load_model, home)[0]


def datasets(home: Path | None = None) -> dict[str, DatasetSpec]:
    """Every registered data set by name, those with mistakes in their file left out."""
    return _registry("datasets", load_dataset, home)[0]


def broken(kind: str, home: Path | None = None) -> dict[str, SpecError]:
    """Name -> the mistakes of its file, for every name in `models` or `datasets` that cannot be used."""
    if kind == "models":
        return _registry(kind, load_model, home)[1]
    return _registry(kind, load_dataset, home)[1]


def broken_in_short(kind: str, home: Path | None = None) -> list[str]:
    """One line for each name that cannot be used: the first mistake of its file."""
    return [str(error).splitlines()[0] for error in broken(kind, home).values()]


def find_model(name: str, home: Path | None = None) -> ModelSpec:
    """A model by registered name, by path to a checkpoint, or by `NAME=PATH`.

    Raises `UnknownName`, and `RequestError` for weights that are not the named model's.
    """
    registered, equals, path = name.partition("=")
    if equals and NAME.fullmatch(registered):
        return _with_weights(find_model(registered, home), _at(path))
    known, mistaken = _registry("models", load_model, home)
    if "/" in name or name.startswith(".") or name.endswith(gguf.SUFFIX):
        at_path = _at(name)
        if at_path.name in {*known, *mistaken}:
            raise RequestError(
                f"--models {name}: '{at_path.name}' is a registered model; rename it, or say "
                f"{at_path.name}={name} if it holds that model's weights"
            )
        return at_path
    if name in mistaken:
        raise mistaken[name]
    if name not in known:
        raise UnknownName("model", name, known)
    return known[name]


def find_dataset(name: str, home: Path | None = None) -> DatasetSpec:
    """A data set by registered name. Raises `UnknownName`, and `SpecError` for mistakes in its file."""
    known, mistaken = _registry("datasets", load_dataset, home)
    if name in mistaken:
        raise mistaken[name]
    if name not in known:
        raise UnknownName("data set", name, known)
    return known[name]


def spec_files(kind: str, home: Path | None = None) -> list[Path]:
    """The TOML files of `models` or `datasets`, packaged first."""
    home = home or Path.cwd()
    folders = [ROOT / kind]
    if files.is_folder(home / kind) and not (home / kind).samefile(folders[0]):
        folders.append(home / kind)
    return [file for folder in folders for file in sorted(folder.glob("*.toml"))]


def _registry(
    kind: str, load: Callable[[Path], Spec], home: Path | None
) -> tuple[dict[str, Spec], dict[str, SpecError]]:
    """Specs by name, and the mistakes of the names that cannot be used."""
    specs: dict[str, Spec] = {}
    mistaken: dict[str, SpecError] = {}
    for file in spec_files(kind, home):
        name = file.stem
        try:
            if name in specs or name in mistaken:
                raise SpecError(str(file), [f"'{name}' is already registered; choose another name"])
            specs[name] = load(file)
        except SpecError as error:
            specs.pop(name, None)  # two files of one name: neither is meant for certain
            mistaken[name] = error
    return specs, mistaken


def load_model(file: Path) -> ModelSpec:
    """The model spec of one file; every mistake of it in one `SpecError`."""
    raw = _read(file)
    mistakes: list[str] = []
    recipe = raw.get("recipe")
    if isinstance(recipe, dict) and isinstance(recipe.get("mini"), dict):
        raw["recipe"] = {key: value for key, value in recipe.items() if key != "mini"}
        raw["recipe_mini"] = recipe["mini"]
        mistakes += _mistakes(Recipe, recipe["mini"], "recipe.mini.")
    for key, part in (("recipe", raw.get("recipe")), ("recipe.mini", raw.get("recipe_mini"))):
        mistakes += _unknown_optimizer(key, part)
    if isinstance(raw.get("checkpoint"), str) and raw["checkpoint"].startswith((".", "/", "~")):
        try:
            raw["checkpoint"] = str(local.own(file.parent, raw["checkpoint"]))
        except RequestError as error:
            mistakes.append(f"'checkpoint': {raw['checkpoint'][:80]!r} {error}; correct it")
    return _validated(ModelSpec, raw, file, mistakes)


def _unknown_optimizer(key: str, recipe: object) -> list[str]:
    name = recipe.get("optimizer") if isinstance(recipe, dict) else None
    if not isinstance(name, str) or name in OPTIMIZERS:
        return []
    near = get_close_matches(name, OPTIMIZERS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(OPTIMIZERS)}"
    return [f"'{key}.optimizer' is no optimizer that is run here: {name[:80]!r}; {hint}"]


def load_dataset(file: Path) -> DatasetSpec:
    """The data set spec of one file; its `file` is taken relative to the spec."""
    raw = _read(file)
    mistakes: list[str] = []
    for key in ("file", "passages"):
        if isinstance(raw.get(key), str):
            raw[key] = _inside(file, raw[key], key, mistakes)
    return _validated(DatasetSpec, raw, file, mistakes)


def local_model(folder: Path) -> ModelSpec:
    """A spec for a checkpoint on disk: its shape from its own files, the default recipe."""
    held = local.holding(folder)
    return ModelSpec(
        name=_local_name(folder, folder.resolve().name),
        checkpoint=str(folder.resolve()),
        licence="unknown",
        family=held.family,
        architecture=held.architecture,
        objective=held.objective,
        parameters=held.parameters,
        config=held.config,
        source="local checkpoint",
    )


def gguf_model(file: Path) -> ModelSpec:
    """A spec for a GGUF file: its shape from the file, the default recipe."""
    facts = gguf.facts(file)
    return ModelSpec(
        name=_local_name(file, file.resolve().stem),
        checkpoint=str(file.resolve()),
        licence=facts.licence,
        family=facts.family,
        architecture=facts.architecture,
        objective="causal",
        parameters=facts.parameters,
        source=f"local GGUF file, {facts.quantisation or 'not quantised'}",
    )


def _at(path: str) -> ModelSpec:
    place = Path(path).expanduser()
    if place.suffix == gguf.SUFFIX and files.is_file(place):
        return gguf_model(place)
    if files.is_file(place / "config.json"):
        return local_model(place)
    if files.is_folder(place):
        raise RequestError(f"--models {path}: the folder has no config.json, so it holds no checkpoint")
    raise RequestError(f"--models {path}: there is no such checkpoint; give a registered name or a path")


def _with_weights(spec: ModelSpec, given: ModelSpec) -> ModelSpec:
    """The registered model from weights on this disk. Raises `RequestError` for another model's."""
    if given.architecture != spec.architecture:
        raise RequestError(
            f"--models {spec.name}={given.checkpoint}: holds a {given.architecture}, but '{spec.name}' "
            f"is a {spec.architecture}; give the path alone"
        )
    if abs(given.parameters / spec.parameters - 1) > PARAMETER_TOLERANCE:
        raise RequestError(
            f"--models {spec.name}={given.checkpoint}: holds {given.parameters:,} parameters, but "
            f"'{spec.name}' has {spec.parameters:,}; give the path alone"
        )
    return spec.model_copy(update={"checkpoint": given.checkpoint})


def _local_name(place: Path, name: str) -> str:
    if not NAME.fullmatch(name):
        raise SpecError(str(place), [f"name '{name}' must match {NAME.pattern}; rename it"])
    return name


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(files.text(file, LARGEST_SPEC))
    except Unreadable as error:
        raise SpecError(str(file), [error.reason]) from None
    except ValueError as error:
        raise SpecError(str(file), [f"is not TOML: {error}"]) from None
    except RecursionError:
        raise SpecError(str(file), ["is nested too deeply"]) from None


def _inside(file: Path, text: str, key: str, mistakes: list[str]) -> str:
    try:
        target = files.resolved(file.parent / text)
    except Unreadable as error:
        mistakes.append(f"'{key}': {text[:80]!r} {error.reason}; correct it")
        return text
    home = files.resolved(file.parent)
    if not any(target.is_relative_to(folder) for folder in (home, home.parent / PASSAGES)):
        mistakes.append(f"'{key}': '{text}' leaves the folder of the spec; put the file beside it")
    return str(target)


def _validated(kind: type[Spec], raw: dict[str, Any], file: Path, mistakes: list[str]) -> Spec:
    raw.setdefault("name", file.stem)
    if raw["name"] != file.stem:
        mistakes.append(f"'name': is '{raw['name']}' but the file is called '{file.name}'; make them equal")
    mistakes = [*_mistakes(kind, raw), *mistakes]
    if mistakes:
        raise SpecError(str(file), mistakes)
    return kind.model_validate(raw)


def _mistakes(kind: type[BaseModel], raw: Mapping[str, Any], prefix: str = "") -> list[str]:
    try:
        kind.model_validate(raw)
    except ValidationError as error:
        return [_in_words(kind, detail, prefix) for detail in error.errors()]
    return []


def _in_words(kind: type[BaseModel], detail: Any, prefix: str) -> str:
    path = [str(part) for part in detail["loc"]]
    key = prefix + ".".join(path)
    if detail["type"] == "extra_forbidden":
        return f"'{key}' {_unknown_key(path[-1], _fields_beside(kind, path))}"
    if detail["type"] == "missing":
        return f"'{key}' is missing; add it"
    if not path:
        return str(detail["msg"]).removeprefix("Value error, ")
    message = str(detail["msg"]).removeprefix("Input should be ")
    return f"'{key}' should be {message}, is {reprlib.repr(detail['input'])}"


def _unknown_key(key: str, known: list[str]) -> str:
    if key in CONTRACT_KEYS:
        return f"belongs to the contract, which is equal for all models; move it to {CONTRACT_KEYS[key]}"
    if key == "trust_remote_code":
        return "is refused: it would run code from the repository; remove it"
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    return f"is not a key of this file; {hint}"


def _fields_beside(kind: type[BaseModel], path: list[str]) -> list[str]:
    parts: dict[str, type[BaseModel]] = {"recipe": Recipe, "columns": Columns}
    beside = parts.get(path[0], kind) if len(path) > 1 else kind
    return list(beside.model_fields)
