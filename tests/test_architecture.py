"""The house: imports point down, data folders hold data, modules stay readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: From the bottom up; a module may import its own floor and those below.
FLOORS: list[tuple[str, ...]] = [
    (
        "bench",
        "bench.cache",
        "bench.devices",
        "bench.digest",
        "bench.errors",
        "bench.files",
        "bench.harness",
        "bench.packaged",
        "bench.prompt",
        "bench.provenance",
        "bench.recipe_keys",
        "bench.registry",
        "bench.run.identity",  # what a run is: vocabulary for those who train, store and judge one
        "bench.spec",
        "bench.stats",
        "bench.train.gguf",  # what a file holds; the registry names a model by it
        "bench.train.local",  # the same of a folder
    ),
    ("bench.data", "bench.train", "bench.score", "bench.store"),
    ("bench.run", "bench.retrieval", "bench.judge", "bench.twins", "bench.curate"),
    ("bench.render",),
    ("bench.launch", "bench.versions"),
    ("bench.serve", "bench.metrics"),
    ("bench.config",),
    ("bench.verbs",),
    ("bench.api", "bench.cli"),
]
#: Package -> what it may never import, whatever the floors say.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "bench.stats": ("bench.spec", "bench.store", *(heavy := ("torch", "transformers", "datasets"))),
    "bench.store": ("bench.train", "bench.data", "bench.score", *heavy),
    "bench.train": ("bench.store", "bench.data", "bench.score"),
    "bench.judge": ("bench.run.attempt", "bench.data", "bench.train", "bench.render", *heavy),
    "bench.render": ("bench.run.attempt", "bench.data", "bench.train", "bench.launch", *heavy),
    "bench.run": ("bench.judge", "bench.render"),
    "bench.curate": ("bench.run", "bench.store", *heavy),
}
#: What reads or writes files; `judge` and `stats` take records and arrays.
FILE_ACCESS = ("pathlib", "os", "io", "shutil", "tempfile", "subprocess")
PURE = ("bench.judge", "bench.stats")
FILES = sorted((ROOT / "bench").rglob("*.py"))
LONGEST_MODULE = 300
LONGEST_FUNCTION = 60
MOST_MODULES = 13
#: Folders with a module for each verb of the command line, or each family of one kind.
ONE_A_FILE = ("verbs",)


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def floor_of(name: str) -> int | None:
    """The floor of the longest package that holds this name; `bench` alone holds only itself."""
    matches = [
        (len(package), number)
        for number, floor in enumerate(FLOORS)
        for package in floor
        if within(name, package) and (package != "bench" or name == "bench")
    ]
    return max(matches)[1] if matches else None


def faults(module: str, source: str) -> Iterator[str]:
    """Every import of a module that the house does not allow."""
    own = floor_of(module)
    for name in imports_of(source):
        if within(name, "bench") and own is not None and (floor_of(name) or 0) > own:
            yield f"{module} imports {name}, which lies above it"
        for owner, banned in FORBIDDEN.items():
            if within(module, owner) and any(within(name, package) for package in banned):
                yield f"{module} imports {name}"
        if any(within(module, package) for package in PURE) and name.split(".")[0] in FILE_ACCESS:
            yield f"{module} imports {name}, which reads or writes files"
    if any(within(module, package) for package in PURE):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and node.id == "open":
                yield f"{module} opens a file"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_point_down(file: Path) -> None:
    assert list(faults(module_of(file), file.read_text())) == []


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("bench.judge.board", "from bench.render import words"),
        ("bench.judge.board", "import torch"),
        ("bench.judge.compare", "from pathlib import Path"),
        ("bench.judge.compare", "def read(name):\n    return open(name)"),
        ("bench.stats.paired", "import os"),
        ("bench.stats.paired", "from bench.store.ledger import Ledger"),
        ("bench.render.card", "from bench.train.fit import fit"),
        ("bench.train.fit", "from bench.store.record import Record"),
        ("bench.run.attempt", "from bench.render.card import model_card"),
        ("bench.store.ledger", "from bench.judge.board import board"),
        ("bench.spec", "from bench.data import prepare"),
        ("bench.launch.drive", "from bench.verbs import run"),
    ],
)
def test_an_import_against_the_rule_is_noticed(module: str, planted: str) -> None:
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert list(faults(module, f"{source}\n{planted}\n"))


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_every_module_stands_on_a_floor(file: Path) -> None:
    assert floor_of(module_of(file)) is not None


def test_a_module_outside_the_house_has_no_floor() -> None:
    assert floor_of("bench.garage.car") is None
    assert floor_of("bench.garage") is None


def test_data_folders_hold_no_python() -> None:
    """A stray `datasets/__init__.py` would hide the `datasets` library."""
    assert not [file for folder in ("models", "datasets") for file in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_module_says_what_it_decides_and_stays_readable(file: Path) -> None:
    source = file.read_text()
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    assert source.count("\n") <= LONGEST_MODULE
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_no_folder_is_crowded() -> None:
    for folder in {file.parent for file in FILES}:
        modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert folder.name in ONE_A_FILE or len(modules) <= MOST_MODULES, f"{folder.name}: {len(modules)}"


def test_no_two_classes_share_a_name() -> None:
    homes: dict[str, str] = {}
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                assert node.name not in homes, f"{node.name} in {homes[node.name]} and {module_of(file)}"
                homes[node.name] = module_of(file)


def test_only_the_command_line_prints_or_exits() -> None:
    """Progress and notes go to standard error, which is not a result."""
    for file in FILES:
        if module_of(file) == "bench.cli":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert any(keyword.arg == "file" for keyword in node.keywords), f"{file.name}:{node.lineno}"
