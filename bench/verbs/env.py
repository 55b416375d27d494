"""`bench env`: what a report of a defect needs to say about program, machine and settings.

Nothing heavy is imported; where the machine hints at a GPU, torch is asked in a child process. Values of
variables that may be secrets are hidden, and so are user names and passwords in addresses.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from bench import __version__, devices, packaged, provenance
from bench.cache import cache_root
from bench.render import words
from bench.render.tables import columns
from bench.verbs import Output

DISTRIBUTION = "bench-sft"
#: Beginnings of variables that change what the program or its libraries do.
RELEVANT = re.compile(
    r"(BENCH|HF|HUGGINGFACE|TRANSFORMERS|TOKENIZERS|DATASETS|CUDA|NVIDIA|NCCL|ROCR|HIP|PYTORCH|TORCH|TRITON|OMP|MKL"
    r"|OPENBLAS|RAY|UV|PIP|PYTHON|XDG_CACHE|WANDB|MLFLOW|UNSLOTH|OPENAI|HTTPS?_PROXY|NO_PROXY)"
    r"(_|HASHSEED|PATH|HOME|$)",
    re.IGNORECASE,
)
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASS|AUTH|CREDENTIAL", re.IGNORECASE)
#: TOKEN in the name of a library is none.
NO_SECRET = re.compile(r"TOKENIZERS_|_NO_AUTH$|MAX_NEW_TOKENS$|_TOKENS$", re.IGNORECASE)
HIDDEN = "(hidden)"
#: Seconds for the size of one folder.
LONGEST_LOOK = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say but how it is printed."""


def execute(args: argparse.Namespace) -> Output:
    """Look around."""
    facts = {
        "program": _program(),
        "machine": _machine(),
        "versions": provenance.versions(),
        "extras": _extras(),
        "folders": [_folder(name, path) for name, path in _folders()],
        "variables": _variables(),
    }
    return Output("\n".join(_lines(facts)), facts)


def _program() -> dict[str, Any]:
    is_checkout = (packaged.ROOT / ".git").exists()  # else git would answer for a folder above
    tree = provenance.tree(packaged.ROOT) if is_checkout else provenance.Tree(None, False)
    return {
        "version": __version__,
        "commit": tree.commit,
        "changed": tree.dirty,
        "installed": str(Path(packaged.__file__).parent),
    }


def _machine() -> dict[str, Any]:
    import psutil  # here: on Unix it needs modules that Windows lacks

    here = devices.here()
    return {
        "python": f"{platform.python_implementation()} {provenance.python()}",
        "executable": sys.executable,
        "platform": platform.platform(),
        "processor": provenance.hardware(),
        "memory": psutil.virtual_memory().total,
        "disk_free": shutil.disk_usage(Path.cwd()).free,
        "device": here.device,
        "gpus": [{"name": gpu.name, "capability": gpu.capability, "memory": gpu.memory} for gpu in here.gpus],
        "note": here.note,
    }


def _extras() -> dict[str, list[str]]:
    """Extra -> its distributions that are missing here; empty where all are there."""
    missing: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    for text in requirements:
        requirement = Requirement(text)
        named = re.search(r"""extra == ['"]([\w-]+)['"]""", str(requirement.marker or ""))
        if named:
            lacking = missing.setdefault(named[1], [])
            if not _is_installed(requirement):
                lacking.append(f"{requirement.name}{requirement.specifier}")
    return missing


def _is_installed(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except (metadata.PackageNotFoundError, InvalidRequirement):
        return False


def _folders() -> Iterator[tuple[str, Path]]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface")
    yield "bench", cache_root()
    yield "hub", Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    yield "datasets", Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets")


def _folder(name: str, path: Path) -> dict[str, Any]:
    """A folder's size; of a large one what can be counted in `LONGEST_LOOK`."""
    end = time.monotonic() + LONGEST_LOOK
    size, is_whole, left = 0, True, [path]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(Path(entry.path))
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
        if time.monotonic() > end:
            is_whole = not left
            break
    return {"name": name, "path": str(path), "exists": path.is_dir(), "bytes": size, "whole": is_whole}


def _variables() -> dict[str, str]:
    """The variables that matter, without secrets."""
    held = {name: value for name, value in sorted(os.environ.items()) if RELEVANT.match(name)}
    return {name: _shown(name, value) for name, value in held.items()}


def _shown(name: str, value: str) -> str:
    if value and SECRET.search(name) and not NO_SECRET.search(name):
        return HIDDEN
    return re.sub(r"//[^/@\s]*@", f"//{HIDDEN}@", value)


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    program, machine = facts["program"], facts["machine"]
    commit = f", commit {program['commit'][:12]}" if program["commit"] else ""
    yield f"bench {program['version']}{commit}{', changed since' if program['changed'] else ''}"
    yield f"at {program['installed']}"
    yield f"{machine['python']}, {machine['platform']}"
    memory, free = (machine[key] / 2**30 for key in ("memory", "disk_free"))
    yield f"{machine['processor']}, {memory:.1f} GB of memory, {free:.1f} GB free on this disk"
    gpus = [f"{gpu['name']} ({gpu['memory'] / 2**30:.1f} GB)" for gpu in machine["gpus"]]
    yield f"device: {machine['device']}{': ' + ', '.join(gpus) if gpus else ''}"
    if machine["note"]:
        yield machine["note"]
    yield ""
    yield from columns([["library", "version"], *map(list, facts["versions"].items())])
    yield ""
    for extra, missing in facts["extras"].items():
        yield f"extra {extra}: {'missing ' + ', '.join(missing) if missing else 'present'}"
    yield ""
    for folder in facts["folders"]:
        size = words.kilobytes(folder["bytes"]) if folder["exists"] else "none"
        more = "" if folder["whole"] else "more than "
        yield f"cache {folder['name']}: {folder['path']} ({more}{size})"
    yield ""
    yield from (f"{name}={value}" for name, value in facts["variables"].items())
