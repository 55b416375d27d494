"""Where rows come from: a file in JSONL, CSV or Parquet, or a data set on the hub.

A source has an identity that is known before its rows are read (the file's digest, or
repository and commit), so plans and run ids never need the data itself.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bench import files
from bench.data import encoding as encodings
from bench.digest import digest, file_digest
from bench.errors import DataError, Unreachable, Unreadable
from bench.spec import Columns, DatasetSpec

#: Suffix of a data file -> its format.
SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
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
    if kind == "jsonl":
        return _writable(file, _jsonl_rows(file, spec.encoding))
    if kind == "csv":
        return _writable(file, _csv_rows(file, spec.encoding))
    if kind == "parquet":
        return _writable(file, _parquet_rows(file))
    raise DataError(f"{file}: unknown kind of file '{file.suffix}'; known: {', '.join(SUFFIXES)}")


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


def _writable(file: Path, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows, each held to what can be written again: no half characters, no endless nesting."""
    for number, row in enumerate(rows, start=1):
        try:
            json.dumps(row, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{file}: row {number} holds half a character (a surrogate without its pair); mend it"
            ) from None
        except (RecursionError, ValueError, TypeError):
            raise DataError(f"{file}: row {number} is nested too deeply, or its names are no text") from None
        yield row


def _jsonl_rows(file: Path, encoding: str) -> Iterator[dict[str, Any]]:
    if file.suffix.lower() == ".json":
        whole = "".join(encodings.lines(file, encoding)).lstrip("\ufeff").strip()
        if whole.startswith("["):
            try:
                items = json.loads(whole, object_pairs_hook=_fields)
            except json.JSONDecodeError as error:
                raise DataError(f"{file}: line {error.lineno} is not JSON: {error.msg}") from None
            except _Repeated as error:
                raise DataError(f"{file}: a row {error}") from None
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file}: {_beyond(error)}") from None
            yield from (_object(file, number, item) for number, item in enumerate(items, start=1))
            return
    for number, line in enumerate(encodings.lines(file, encoding), start=1):
        line = line.lstrip("\ufeff").strip()
        if not line:
            continue
        try:
            item = json.loads(line, object_pairs_hook=_fields)
        except json.JSONDecodeError as error:
            raise DataError(f"{file}: line {number} is not JSON: {error.msg}") from None
        except _Repeated as error:
            raise DataError(f"{file}: line {number} {error}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}: line {number} {_beyond(error)}") from None
        yield _object(file, number, item)


def _beyond(error: ValueError | RecursionError) -> str:
    """What JSON allows and this program does not read."""
    return "is nested too deeply" if isinstance(error, RecursionError) else "holds too long a number"


def _object(file: Path, number: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DataError(
            f"{file}: row {number} is {type(item).__name__}, expected an object with named fields"
        )
    return item


class _Repeated(Exception):
    """A name that occurs twice where each may occur once."""

    def __init__(self, name: str) -> None:
        super().__init__(f"has '{name}' twice; rename or remove the second")


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _Repeated(_repeated([name for name, _ in pairs]))
    return fields


def _repeated(names: Iterable[str]) -> str:
    """The first name that occurs twice; "" where none does."""
    return next((name for name, count in Counter(names).items() if name and count > 1), "")


def _csv_rows(file: Path, encoding: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(_csv_lines(file, encoding), strict=True)
    try:
        header = next((cells for cells in reader if cells), [])
        if name := _repeated(cell.strip() for cell in header):
            raise DataError(f"{file}: the header {_Repeated(name)}")
        for number, cells in enumerate((cells for cells in reader if cells), start=1):
            if len(cells) > len(header):
                raise DataError(
                    f"{file}: row {number} (to line {reader.line_num}) has {len(cells)} cells under a "
                    f"header of {len(header)}; put a cell that holds a comma in double quotes"
                )
            yield dict(zip_longest(header, cells))
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num} is not CSV: {error}") from None


def _csv_lines(file: Path, encoding: str) -> Iterator[str]:
    """Lines without a byte order mark; a stray carriage return inside a cell is a blank."""
    for number, line in enumerate(encodings.lines(file, encoding)):
        line = line.replace("\r\n", "\n").replace("\r", " ")
        yield line.lstrip("\ufeff") if number == 0 else line


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet  # here: 60 MB that only this format needs

    try:
        table = parquet.ParquetFile(file, page_checksum_verification=True)
        names = table.schema_arrow.names
    except Exception as error:  # what a damaged file raises has no common kind
        raise DataError(f"{file}: is not Parquet: {_first_line(error)}") from None
    if name := _repeated(names):
        raise DataError(f"{file}: the schema {_Repeated(name)}")
    batches, read = table.iter_batches(), 0
    while True:
        try:
            cells = next(batches).to_pylist()
        except StopIteration:
            break
        except Exception as error:
            raise DataError(
                f"{file}: is damaged after row {read}: {_first_line(error)}; write it again"
            ) from None
        yield from cells
        read += len(cells)
    if read != table.metadata.num_rows:
        raise DataError(
            f"{file}: holds {read} rows, its footer says {table.metadata.num_rows}; write it again"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


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
