"""The rows of a data set of the hub as they come in, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Bytes that are read, and rows that are decoded, of a Parquet file at once.
BUFFER, BATCH = 1 << 20, 1000


def rows(
    repository: str, commit: str, split: str, configuration: str | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a split at a commit, in order. Raises `ValueError` for a split that is not there.

    Whatever else goes wrong is raised as the hub's client and `datasets` raise it.
    """
    from datasets.utils.logging import disable_progress_bar

    from datasets import load_dataset_builder  # here: slow to import, and most runs read a file

    disable_progress_bar()
    builder = load_dataset_builder(repository, configuration, revision=commit)
    files = builder.config.data_files or {}
    if files and split not in files:
        raise ValueError(f"has no split '{split}'; there are: {', '.join(map(str, files))}")
    if files and all(file.endswith(".parquet") for file in files[split]):
        for file in files[split]:
            yield from _of_parquet(file)
        return
    for row in builder.as_streaming_dataset(split=split):
        yield dict(row)


def _of_parquet(file: str) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a row group at a time; `datasets` would decode all of it ahead."""
    import fsspec
    import pyarrow.parquet as parquet

    with fsspec.open(file, "rb") as handle:
        table = parquet.ParquetFile(handle, pre_buffer=False, buffer_size=BUFFER)
        for group in range(table.num_row_groups):
            for batch in table.iter_batches(BATCH, row_groups=[group], use_threads=False):
                yield from batch.to_pylist()
