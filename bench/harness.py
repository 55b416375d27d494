"""What of this program can change a run's numbers, as one digest.

A run's identity names it, so a record that was made by other code is never taken for today's. The digest
is over the syntax trees of the modules in `PARTS`: comments, docstrings and layout do not count. Rendering,
judging and the command line are left out, since they read records and make none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from bench.digest import digest

PACKAGE = Path(__file__).parent
#: Modules and packages that select, encode, train, generate or score.
PARTS = (
    "prompt.py",
    "data",
    "train",
    "score",
    "run/encode.py",
    "run/answers",
    "run/attempt.py",
)
#: The same for runs whose contract asks for arms that retrieve.
RETRIEVAL = ("retrieval",)


@cache
def harness(package: Path = PACKAGE, retrieval: bool = False) -> str:
    """64 hexadecimal digits over the code in `PARTS` below `package`, and in `RETRIEVAL` if that is used."""
    parts = (*PARTS, *RETRIEVAL) if retrieval else PARTS
    return digest({str(file.relative_to(package)): _code(file) for file in _files(package, parts)})


def _files(package: Path, parts: Sequence[str]) -> Iterator[Path]:
    for part in parts:
        place = package / part
        yield from [place] if place.is_file() else sorted(place.rglob("*.py"))


def _code(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[0] = ast.Pass()
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
