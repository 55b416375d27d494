"""What this machine, this tree and this environment are."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from bench import __version__

#: Distributions that a record names; those that define a run's identity are in `plan`.
NAMED = (
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "trl",
    "peft",
    "bitsandbytes",
    "gguf",
    "unsloth",
    "unsloth_zoo",
    "datasets",
    "evaluate",
    "rouge_score",
    "nltk",
    "bm25s",
    "numpy",
    "safetensors",
    "triton",
    "xformers",
    "flash-attn",
)


class Tree(NamedTuple):
    """The state of the git checkout of the current folder."""

    commit: str | None
    dirty: bool


def versions() -> dict[str, str]:
    """Distribution -> installed version, without importing any of them."""
    installed = {"bench": __version__}
    for name in NAMED:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def tree(folder: Path, ignore: Path | None = None) -> Tree:
    """Commit and dirtiness of the checkout around `folder`; what lies in `ignore` does not count."""
    commit = git(folder, "rev-parse", "HEAD")
    if commit is None:
        return Tree(None, False)
    left_out = []
    if ignore and ignore.resolve().is_relative_to(folder.resolve()):
        left_out = [f":!{ignore.resolve().relative_to(folder.resolve())}"]
    status = git(folder, "status", "--porcelain", "--", ".", *left_out)
    return Tree(commit, bool(status))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> str:
    """The processor by name and the number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {cores()} cores"


def python() -> str:
    """The interpreter's version."""
    return platform.python_version()


def command(words: Sequence[str] | None = None) -> str:
    """The command line that a user would type to repeat this; `words` stand for those that were typed.

    Records travel between people, so the user's own folder is written as `~`.
    """
    typed, home = sys.argv[1:] if words is None else words, f"{Path.home()}{os.sep}"
    return " ".join(["bench", *(_quoted(word.replace(home, f"~{os.sep}")) for word in typed)])


def _quoted(word: str) -> str:
    return f"'{word}'" if any(char in word for char in " *$;&|<>") else word


def git(folder: Path, *words: str) -> str | None:
    """What git answers in a folder; none where there is no git, no checkout or no answer.

    A checkout may come from a stranger: its settings name commands that git would run (a file system
    monitor, hooks, clean filters), so all of them are switched off.
    """
    safe = ["-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"]
    filters = _answer([*safe, "-C", str(folder), "config", "--name-only", "--get-regexp", r"^filter\."])
    for name in sorted({key.rpartition(".")[0] for key in (filters or "").splitlines()}):
        safe += ["-c", f"{name}.clean=", "-c", f"{name}.process=", "-c", f"{name}.required=false"]
    return _answer([*safe, "-C", str(folder), *words])


def _answer(words: list[str]) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
