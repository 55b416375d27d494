"""Where rows come from: a file in JSONL, CSV, TSV or Parquet, or a data set on the hub.

A source has an identity that is known before its rows are read (the file's digest, or
repository and commit), so plans and run ids never need the data itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from bench import files
from bench.data import encoding as encodings
from bench.data import formats
from bench.digest import digest, file_digest
from bench.errors import DataError, Unreachable, Unreadable
from bench.spec import Columns, DatasetSpec

#: Suffix of a data file -> its format.
SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".parquet": "parquet",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: Part of a file without a spec that is held out to be scored.
FILE_TEST_FRACTION = 0.3
#: Seed and buffer of the streamed subset of a large hub data set.
SUBSET_SEED, SUBSET_BUFFER = 3407, 10_000


def from_file(spec: DatasetSpec, file: Path) -> DatasetSpec:
    """The same data set, read from a local copy."""
    return spec.model_copy(update={"hub": None, "file": str(files.resolved(file)), "subset": None})


def spec_for_file(
    name: str,
    file: Path,
    columns: Columns | None = None,
    encoding: str = encodings.DEFAULT,
    test_fraction: float = FILE_TEST_FRACTION,
) -> DatasetSpec:
    """A data set that has no spec file: columns by their usual names where none are given."""
    return DatasetSpec(
        name=name,
        file=str(files.resolved(file)),
        columns=columns or Columns(),
        encoding=encoding,
        test_fraction=test_fraction,
    )


def identity(spec: DatasetSpec) -> str:
    """A digest of the content: of the file's bytes, or of repository and commit.

    Raises `DataError` for a file that is missing or empty, `Unreachable` where a branch of a
    hub repository cannot be resolved to a commit.
    """
    if spec.file is not None:
        return file_digest(_existing(spec, Path(spec.file)))
    try:
        return digest([spec.hub, _commit(spec), spec.split, spec.subset, SUBSET_SEED])
    except Exception as error:  # the hub client raises a dozen unrelated types
        raise _unreachable(spec, error) from error


def rows(spec: DatasetSpec) -> Iterator[dict[str, Any]]:
    """Every row of a source as a dictionary. Raises `DataError` or `Unreachable`."""
    if spec.hub is not None:
        return _hub_rows(spec)
    file = _existing(spec, Path(str(spec.file)))
    kind = spec.format or SUFFIXES.get(file.suffix.lower())
    if kind in ("jsonl", "csv"):
        read = formats.json_rows if kind == "jsonl" else formats.csv_rows
        return _usable(read(encodings.lines(file, spec.encoding), file), file)
    if kind == "parquet":
        return _usable(formats.parquet_rows(file), file)
    raise DataError(f"{file}: unknown kind of file '{file.suffix}'; known: {', '.join(SUFFIXES)}")


def _usable(rows: Iterator[dict[str, Any]], file: Path) -> Iterator[dict[str, Any]]:
    return formats.within_limits(formats.writable(rows, file), file)


def _existing(spec: DatasetSpec, file: Path) -> Path:
    try:
        with files.opened(file, files.LARGEST) as handle:
            if not handle.read(1):
                raise DataError(f"{file}: is empty")
    except Unreadable as error:
        problem = "no such file" if error.missing else error.reason
        raise DataError(
            f"{file}: {problem} (data set '{spec.name}'); give another by --data {spec.name}=FILE"
        ) from None
    return file


def _hub_rows(spec: DatasetSpec) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset  # here: slow to import, and most runs read a file

    try:
        stream = load_dataset(str(spec.hub), revision=_commit(spec), split=spec.split, streaming=True)
        if spec.subset:
            stream = stream.shuffle(seed=SUBSET_SEED, buffer_size=SUBSET_BUFFER).take(spec.subset)
        for row in stream:
            yield dict(row)
    except Exception as error:  # the hub client raises a dozen unrelated types
        raise _unreachable(spec, error) from error


def _commit(spec: DatasetSpec) -> str:
    """The commit that is read: a branch that moves meanwhile gives no other rows than the plan names."""
    return spec.revision if _COMMIT.fullmatch(spec.revision) else _resolved(str(spec.hub), spec.revision)


@cache
def _resolved(repository: str, revision: str) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(repository, revision=revision).sha)


def _unreachable(spec: DatasetSpec, error: Exception) -> Unreachable:
    remedy = f"give a local copy by --data {spec.name}=FILE"
    where = f"data set '{spec.name}': {spec.hub}@{spec.revision[:12]}"
    if "gated" in str(error).lower():
        return Unreachable(
            f"{where} is gated; accept its licence on the hub and run `hf auth login`, or {remedy}"
        )
    return Unreachable(
        f"{where} cannot be fetched ({type(error).__name__}); check the network and the name, or {remedy}"
    )
