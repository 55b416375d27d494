"""A data set is written: its examples as JSON lines, its spec, and its card, always the same bytes.

The three stand beside each other in `datasets/`: `NAME.jsonl`, `NAME.toml`, `NAME.md`. The spec names sources
and digests in comments, for a spec holds nothing that is not read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.curate.files.tables import Source
from bench.data import shape
from bench.data.sources import FILE_TEST_FRACTION
from bench.digest import canonical
from bench.errors import RequestError
from bench.registry import PASSAGES
from bench.spec import NAME, Example


@dataclass(frozen=True)
class Made:
    """A data set and where it comes from, in words."""

    name: str
    examples: Sequence[Example]
    #: The command in words, as in "imported from 2 files".
    origin: str
    sources: Sequence[Source | str]
    #: What was done, a line each.
    steps: Sequence[str]
    licence: str = "unknown"
    test_fraction: float = FILE_TEST_FRACTION
    further: Sequence[str] = field(default_factory=tuple)
    #: The file in `passages/` that the examples were made from.
    passages: str = ""


def check_name(name: str, home: Path, registered: Iterable[str], force: bool, option: str = "--to") -> None:
    """Raise `RequestError` for a name that is none, or that something else holds."""
    if not NAME.fullmatch(name):
        raise RequestError(f"{option} {name}: a name is of letters, digits, '.', '_' and '-'")
    spec = home / "datasets" / f"{name}.toml"
    if name in registered and not spec.is_file():
        raise RequestError(f"{option} {name}: is a registered data set; choose another name")
    if spec.exists() and not force and not _is_made(spec):
        raise RequestError(
            f"{option} {name}: {spec} was written by hand; choose another name, or pass --force"
        )


def write(made: Made, home: Path) -> list[Path]:
    """Write the three files into `home/datasets`, the spec last; their paths."""
    folder = home / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(b'"')  # as `bench.digest.digest` makes it of all lines, without holding them

    def counted() -> Iterator[str]:
        for line in each_line(made.examples):
            content.update(canonical(line)[1:-1].encode())
            yield line
        content.update(b'"')

    files = [_write(folder / f"{made.name}.jsonl", counted())]
    files.append(_write(folder / f"{made.name}.md", [card(made, content.hexdigest())]))
    files.append(_write(folder / f"{made.name}.toml", [spec(made)]))
    return files


def _write(file: Path, texts: Iterable[str]) -> Path:
    fresh = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with fresh.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(texts)
    return fresh.replace(file)


def lines(examples: Sequence[Example]) -> str:
    """JSON lines with the fields that any of the examples has."""
    return "".join(each_line(examples))


def each_line(examples: Sequence[Example]) -> Iterator[str]:
    """The same, one by one."""
    rows = [_fields(example) for example in examples]
    names = [name for name in _FIELDS if any(map(_has(name), rows))]
    for row in rows:
        yield json.dumps({name: row[name] for name in names}, ensure_ascii=False) + "\n"


def spec(made: Made) -> str:
    """The TOML file of a data set."""
    head = [f"# {_MADE} {made.origin}.", *(f"#   {_in_words(source)}" for source in made.sources)]
    head += [f"# {step}" for step in made.steps]
    body = [
        f"licence = {json.dumps(made.licence, ensure_ascii=False)}",
        f"file = {json.dumps(f'{made.name}.jsonl')}",
        f"test_fraction = {made.test_fraction:g}",
        "validation_fraction = 0.1",
        *([f"passages = {json.dumps(f'../{PASSAGES}/{made.passages}')}"] if made.passages else []),
    ]
    return "\n".join([*map(_printable, head), *body]) + "\n"


def write_text_spec(name: str, origin: str, step: str, licence: str, home: Path) -> Path:
    """Write the spec of the text in `passages/NAME.jsonl`; its path."""
    file = home / "datasets" / f"{name}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = [
        f"# {_MADE} {origin}.",
        f"# {step}",
        "# Trained on whole, scored on --eval NAME.",
    ]
    text += [f"licence = {json.dumps(licence, ensure_ascii=False)}", 'shape = "text"']
    text += [f"file = {json.dumps(f'../{PASSAGES}/{name}.jsonl')}", "validation_fraction = 0.1"]
    fresh = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    fresh.write_text("\n".join(map(_printable, text)) + "\n", encoding="utf-8", newline="\n")
    fresh.replace(file)
    return file


def card(made: Made, content: str) -> str:
    """The data card, in markdown; `content` is the digest of the lines."""
    words = sorted(len(answer.split()) for example in made.examples for answer in example.answers)
    asked = sorted(len(example.question.split()) for example in made.examples)
    text = [f"# {made.name}", "", f"{len(made.examples):,} questions and answers, {made.origin}.", ""]
    text += ["| | |", "| --- | --- |", f"| licence | {_cell(made.licence)} |"]
    text += [f"| words of a question | {_spread(asked)} |", f"| words of an answer | {_spread(words)} |"]
    text += [f"| with a context | {sum(bool(example.context) for example in made.examples):,} |"]
    text += [f"| digest of the examples | `{content[:16]}` |"]
    text += ["", "## Sources", "", *(f"- {_in_words(source)}" for source in made.sources)]
    text += ["", "## What was done", "", *(f"- {step}" for step in made.steps), *made.further]
    text += ["", "## Before you train on it", "", f"`bench data check {made.name}` names what would mislead."]
    return "\n".join(map(_printable, text)) + "\n"


_FIELDS = ("id", "question", "answer", "context", "category", "group")
_MADE = "Made by bench,"


def _is_made(spec: Path) -> bool:
    return spec.read_text(encoding="utf-8", errors="replace").startswith(f"# {_MADE}")


def _has(name: str) -> Any:
    return lambda row: bool(row[name])


def _fields(example: Example) -> dict[str, Any]:
    """A row from which `bench.data` makes this example again."""
    own = shape.example_of(example.question, example.answers, example.context)
    plain_id = isinstance(own, Example) and own.id == example.id
    plain_group = isinstance(own, Example) and own.group == example.group
    return {
        "id": "" if plain_id else example.id,
        "question": example.question,
        "answer": example.answers[0] if len(example.answers) == 1 else list(example.answers),
        "context": example.context,
        "category": example.category,
        "group": "" if plain_group else example.group,
    }


def _spread(values: list[int]) -> str:
    last = len(values) - 1
    low, middle, high = values[last // 20], values[len(values) // 2], values[last - last // 20]
    return f"{middle} in the middle, nine in ten from {low} to {high}"


def _in_words(source: Source | str) -> str:
    return (
        source if isinstance(source, str) else f"{source.name}, {source.size:,} bytes, sha256 {source.digest}"
    )


def _printable(line: str) -> str:
    """A line that is one, whatever names of columns and sheets it quotes."""
    return "".join(letter if letter.isprintable() else " " for letter in line)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
