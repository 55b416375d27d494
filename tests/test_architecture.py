"""The house: imports point down, data folders hold data, modules stay readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: From the bottom up; a module may import its own level and those below.
LEVELS: list[tuple[str, ...]] = [
    ("bench", "bench.errors", "bench.digest", "bench.spec", "bench.run", "bench.record", "bench.stats"),
    ("bench.registry", "bench.plan", "bench.prompt", "bench.job", "bench.data.shape"),
    (
        "bench.data",
        "bench.train",
        "bench.encode",
        "bench.generate",
        "bench.score",
        "bench.ledger",
        "bench.provenance",
        "bench.selection",
        "bench.report",
        "bench.twins",
        "bench.progress",
    ),
    ("bench.attempt", "bench.account"),
    ("bench.launch",),
    ("bench.verbs",),
    ("bench.cli",),
]
#: module -> what it may never import, at any level.
FORBIDDEN = {
    "bench.train": ("bench.ledger", "bench.report"),
    "bench.report": ("bench.train", "bench.generate", "bench.data", "torch", "transformers"),
    "bench.generate": ("bench.ledger", "bench.report"),
}
FILES = sorted((ROOT / "bench").rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def level_of(name: str) -> int:
    matches = [
        (len(package), number)
        for number, level in enumerate(LEVELS)
        for package in level
        if within(name, package)
    ]
    return max(matches)[1]


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_point_down(file: Path) -> None:
    module = module_of(file)
    for name in imports_of(file):
        if within(name, "bench"):
            assert level_of(name) <= level_of(module), f"{module} imports {name}"
        for owner, banned in FORBIDDEN.items():
            if within(module, owner):
                assert not any(within(name, one) for one in banned), f"{module} imports {name}"


def test_every_module_has_a_level() -> None:
    for file in FILES:
        assert level_of(module_of(file)) or module_of(file).startswith("bench")


def test_data_folders_hold_no_python() -> None:
    """A stray `datasets/__init__.py` would hide the `datasets` library."""
    assert not [file for folder in ("models", "datasets") for file in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_every_module_says_what_it_decides(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text()))


def test_only_the_command_line_prints_or_exits() -> None:
    """Progress and notes go to standard error, which is not a result."""
    for file in FILES:
        if module_of(file) == "bench.cli":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert any(keyword.arg == "file" for keyword in node.keywords), f"{file.name}:{node.lineno}"
