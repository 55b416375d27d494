"""Real prose that every machine has: the documentation of Python's own modules, read by a test."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

MODULES = ("statistics", "collections", "pathlib", "datetime", "logging", "argparse")


def write_notes(folder: Path, modules: tuple[str, ...] = MODULES) -> Path:
    """One markdown file a module, a heading for each documented function and class; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in modules:
        parts = [f"# The module {name}", inspect.getdoc(import_module(name)) or "", *_members(name)]
        (folder / f"{name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return folder


def _members(name: str) -> Iterator[str]:
    for member, value in sorted(vars(import_module(name)).items()):
        documented = inspect.isfunction(value) or inspect.isclass(value)
        if documented and not member.startswith("_") and (text := inspect.getdoc(value)):
            yield from (f"## {name}.{member}", text)
