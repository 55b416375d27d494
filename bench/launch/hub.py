"""What the hub says of a checkpoint before anything is fetched: its commit, its weights, whether we may.

The description of a gated repository is public, so reading it proves nothing: access is asked for by
itself. A repository is usable if it holds the weights file or its index, not because it has a `config.json`.
What identifies a checkpoint is the commit: a branch is asked for each time, and where the hub is away the
commit that the cache holds is named. A pinned commit that is whole in the cache needs no hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.errors import Gated, RequestError, Unreachable, UnsafeRequest
from bench.spec import ModelSpec
from bench.train.local import deciding

#: Seconds until an answer of the hub has to come.
TIMEOUT = 10.0
#: A checkpoint of the hub, at a branch or commit if one is named.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = ("model-", ".safetensors")
#: Files beside the weights that a checkpoint may need.
BESIDE = (".json", ".model", ".txt", ".jinja")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
#: How classes of transformers end that write text.
GENERATING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
#: Bytes of a number, by the name of its type in a configuration.
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Published:
    """A checkpoint as the hub, or the cache, has it."""

    commit: str
    config: Mapping[str, Any]
    #: Bytes of the weights, and of all files that are not in the cache yet.
    weights: int
    missing: int = 0
    #: As its card and settings say; empty and False where only the cache was asked.
    licence: str = ""
    gated: bool = False
    #: What the user should know about how it was found.
    note: str = ""

    @property
    def parameters(self) -> int:
        """Numbers in the weights, by the type that the configuration names."""
        name = str(self.config.get("dtype") or self.config.get("torch_dtype") or "float32")
        return self.weights // BYTES.get(name.removeprefix("torch."), 4)


def ask(spec: ModelSpec, source: str = "", revision: str = "") -> Published:
    """The checkpoint of a spec, or another repository in its place.

    Raises `Gated`, `Unreachable`, and `UnsafeRequest` for pickled weights or code of the checkpoint.
    """
    source, revision = source or spec.checkpoint, revision or spec.revision
    where = f"model '{spec.name}': {source}@{revision[:12]}"
    cached = _cached(source, revision)
    if cached and cached.commit == revision:
        return _safe(where, cached)
    try:
        with _explained(spec, where):
            return _safe(where, _on_hub(source, revision, where))
    except Unreachable as error:
        if cached is None or error.answered:
            raise
        note = f"{where}: the hub is out of reach, its commit {cached.commit[:12]} is taken from the cache"
        return _safe(where, Published(cached.commit, cached.config, cached.weights, note=note))


def published_model(text: str) -> ModelSpec:
    """A spec for any checkpoint of the hub, `org/name` or `org/name@revision`, with the default recipe.

    The commit of today is pinned. Raises as `ask`, and `RequestError` for a class that cannot be tuned here.
    """
    repository, _, revision = text.partition("@")
    spec = ModelSpec(
        name=repository.rpartition("/")[2],
        checkpoint=repository,
        revision=revision or "main",
        licence="see the hub",
        family="unknown",
        architecture="unknown",
        objective="causal",
        parameters=1,
        source="published checkpoint, default recipe",
    )
    found = ask(spec)
    names = found.config.get("architectures") or [""]
    if not str(names[0]).endswith(GENERATING):
        raise RequestError(
            f"--models {text}: holds a {names[0] or 'model of no named class'}, which writes no text; "
            f"needed is a class that ends in {' or '.join(GENERATING)}"
        )
    facts = {
        "revision": found.commit,
        "family": str(found.config.get("model_type", "unknown")),
        "architecture": str(names[0]),
        "objective": "seq2seq" if found.config.get("is_encoder_decoder") else "causal",
        "parameters": max(found.parameters, 1),
        "config": deciding(found.config),
        "licence": found.licence or spec.licence,
        "gated": found.gated,
    }
    return ModelSpec.model_validate({**spec.model_dump(exclude_defaults=True), **facts})


def _on_hub(source: str, revision: str, where: str) -> Published:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.utils import disable_progress_bars

    api = HfApi()
    info = api.model_info(source, revision=revision, files_metadata=True, timeout=TIMEOUT)
    commit = str(info.sha)
    if info.gated or info.private:
        api.auth_check(source)
    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
    weights = _weights_among(sizes)
    if not weights:
        raise UnsafeRequest(f"{where} has no safetensors weights; pickled weights run code: refused")
    beside = [name for name in sizes if "/" not in name and name.endswith(BESIDE)]
    absent = [
        name
        for name in {*weights, *beside}
        if not isinstance(try_to_load_from_cache(source, name, revision=commit), str)
    ]
    disable_progress_bars()
    config = _read(Path(api.hf_hub_download(source, "config.json", revision=commit)))
    licence = getattr(info.card_data, "license", None)
    return Published(
        commit,
        config,
        weights=sum(sizes[name] for name in weights),
        missing=sum(sizes[name] for name in absent),
        licence=licence if isinstance(licence, str) else "",
        gated=bool(info.gated),
    )


def _weights_among(names: Mapping[str, int] | list[str]) -> list[str]:
    """The files that hold the weights as transformers takes them: the single one, else the shards."""
    if WEIGHTS in names:
        return [WEIGHTS]
    if INDEX not in names:
        return []
    return [name for name in names if name.startswith(SHARD[0]) and name.endswith(SHARD[1])]


def _cached(source: str, revision: str) -> Published | None:
    """What the cache holds of a checkpoint at a commit or a branch, if it is whole."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(source, "config.json", revision=revision)
    if not isinstance(file, str):
        return None
    folder = Path(file).parent
    names = [WEIGHTS]
    if (folder / INDEX).is_file():
        names = sorted(set(_read(folder / INDEX).get("weight_map", {}).values()))
    whole = names and all((folder / name).is_file() for name in names)
    if not whole or not any((folder / name).is_file() for name in TOKENIZERS):
        return None
    weights = sum((folder / name).stat().st_size for name in names)
    return Published(folder.name, _read(Path(file)), weights)


def _read(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_bytes())
    return content if isinstance(content, dict) else {}


def _safe(where: str, found: Published) -> Published:
    """Refuse a checkpoint that transformers could only load by running its code."""
    if "auto_map" in found.config and not _is_known(str(found.config.get("model_type"))):
        raise UnsafeRequest(f"{where}: 'auto_map' in its config.json asks to run its code; refused")
    return found


def _is_known(model_type: str) -> bool:
    """Whether transformers has classes of its own for a type: a folder; importing it would take seconds."""
    package = find_spec("transformers")
    if package is None or package.origin is None:
        return False
    return (Path(package.origin).parent / "models" / model_type.replace("-", "_")).is_dir()


@contextmanager
def _explained(spec: ModelSpec, where: str) -> Iterator[None]:
    """Turn the errors of the hub's client into one line with a remedy."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    twin = "use its twin by --scale mini" if spec.twin else "leave the model out"
    try:
        yield
    except UnsafeRequest:
        raise
    except GatedRepoError as error:
        raise Gated(
            f"{where} is gated; accept its licence on the hub and run `hf auth login`, or {twin}",
            answered=True,
        ) from error
    except RevisionNotFoundError as error:
        raise Unreachable(
            f"{where}: the repository has no such revision; name another in the spec", answered=True
        ) from error
    except RepositoryNotFoundError as error:
        raise Unreachable(
            f"{where}: no such repository, or it is private; check the name, `hf auth login`, or {twin}",
            answered=True,
        ) from error
    except Exception as error:  # the hub client raises a dozen unrelated types
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            raise Unreachable(
                f"{where}: the hub refuses the token; run `hf auth login` again, or {twin}", answered=True
            ) from error
        raise Unreachable(
            f"{where} is not in the cache and the hub cannot be reached ({type(error).__name__}); "
            f"check the network, or {twin}"
        ) from error
