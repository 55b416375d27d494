"""Where passages come from: a name in `passages/`, a file of passages, or notes."""

from __future__ import annotations

from pathlib import Path

from bench.curate.pages import writing
from bench.curate.pages.passages import Passage
from bench.curate.pairs import notes
from bench.errors import DataError, UnknownName


def passages_of(source: str, home: Path) -> list[Passage]:
    """The passages of a name or path. Raises `DataError`, and `UnknownName` for what is neither."""
    path = Path(source).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() in notes.SUFFIXES):
        return notes.passages(path)
    if path.is_file() and path.suffix == ".jsonl":
        return writing.read(path)
    if path.exists():
        raise DataError(
            f"{source}: is no file of passages (.jsonl) and no notes ({', '.join(notes.SUFFIXES)})"
        )
    folder = home / writing.FOLDER
    if "/" in source or path.suffix:
        raise DataError(f"{source}: no such file or folder")
    if not (folder / f"{source}.jsonl").is_file():
        raise UnknownName("passages", source, (file.stem for file in folder.glob("*.jsonl")))
    return writing.read(folder / f"{source}.jsonl")
