"""Files that are trained on as they are, without a data set being made of them first.

What `bench.data` reads by itself (CSV, JSON, Parquet) it reads. Workbooks, text in turns and folders are
imported, and the examples kept in the cache under the digest of their content. A choice that changes what is
asked is left to `bench data import`: here a conversation gives its first exchange, and nothing is mended.
"""

from __future__ import annotations

from pathlib import Path

from bench.cache import cache_root
from bench.curate import writing
from bench.curate.files import importing, tables
from bench.data import encoding as encodings
from bench.data import sources
from bench.digest import digest
from bench.files import put
from bench.spec import Columns, DatasetSpec


def is_data(file: Path) -> bool:
    """Whether a path is a folder, or a file of a kind that can be read."""
    return file.is_dir() or file.suffix.lower() in tables.KNOWN


def needs_import(file: Path) -> bool:
    """Whether `bench.data` cannot read a path by itself."""
    return file.is_dir() or file.suffix.lower() in tables.SUFFIXES


def spec_of(
    name: str, file: Path, columns: Columns, encoding: str | None, test_fraction: float
) -> DatasetSpec:
    """The spec of an imported file or folder; its attribution says what was done. Raises `DataError`."""
    imported = importing.import_files([file], importing.Options(columns, encoding, mend=False))
    text = writing.lines(imported.examples)
    kept = cache_root() / "imported" / digest(text)[:16] / f"{name}.jsonl"
    if not kept.is_file():
        put(kept, text)
    spec = sources.spec_for_file(name, kept, test_fraction=test_fraction)
    done = "; ".join([*imported.tables, *imported.steps()])
    return spec.model_copy(update={"attribution": f"read from {file.name}: {done}"})


def described(name: str, file: Path) -> DatasetSpec:
    """The spec of a file that is read as it is found. Raises `DataError`."""
    if needs_import(file):
        return spec_of(name, file, Columns(), None, sources.FILE_TEST_FRACTION)
    return sources.spec_for_file(
        name, file, encoding=encoding_of(file) if file.is_file() else encodings.DEFAULT
    )


def encoding_of(file: Path) -> str:
    """The encoding in which a file is read that names none."""
    text = sources.SUFFIXES.get(file.suffix.lower()) in ("csv", "jsonl")
    return encodings.detected(file) if text else encodings.DEFAULT


def remark(spec: DatasetSpec) -> str:
    """What had to be found out to read a data set, in one line; "" where nothing had."""
    if spec.attribution.startswith("read from"):
        return spec.attribution
    return "" if spec.encoding == encodings.DEFAULT else f"{spec.name}: read as {spec.encoding}"
