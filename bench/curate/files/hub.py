"""Data sets of the hub as tables, streamed: all of their rows, or a sample of them.

A sample is the rows whose numbers have the smallest hashes. So every row has the same chance, a commit gives
the same sample whoever draws it, and only the rows that may still belong to it are held. The whole split is
read for it.
"""

from __future__ import annotations

import hashlib
import heapq
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bench.curate.files import tables
from bench.curate.files.tables import Table
from bench.data import formats, stream
from bench.errors import DataError, Gated, Unreachable

#: A data set of the hub, at a branch, tag or commit if one is named.
HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
#: Rows that are read without a sample being drawn, so that they fit in memory.
MOST_ROWS = 500_000
#: Seconds until an answer of the hub has to come.
TIMEOUT = 10.0
#: Rows after which progress is told again.
_EVERY = 50_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What of a data set is read; `sample` rows are drawn, all without one."""

    repository: str
    revision: str = "main"
    split: str = "train"
    configuration: str | None = None
    sample: int | None = None


@dataclass(frozen=True)
class HubTable:
    """The rows of a commit, where they come from in words, and the licence that its card names."""

    table: Table
    source: str
    licence: str


def is_hub_id(text: str) -> bool:
    """Whether this is the name of a data set of the hub: no file or folder, and no name of a data file."""
    named = HUB_ID.fullmatch(text) is not None
    return named and not Path(text).exists() and Path(text).suffix.lower() not in tables.KNOWN


def fetch(wanted: Wanted) -> HubTable:
    """The rows of a data set. Raises `Unreachable`, `Gated`, and `DataError` for a split that it has not."""
    where = f"{wanted.repository}@{wanted.revision[:12]}"
    with _explained(where):
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(wanted.repository, revision=wanted.revision, timeout=TIMEOUT)
        commit = str(info.sha)
        if info.gated or info.private:
            HfApi().auth_check(wanted.repository, repo_type="dataset")
        read, rows = _rows(
            stream.rows(wanted.repository, commit, wanted.split, wanted.configuration), wanted, where
        )
    remarks = [f"split {wanted.split}"]
    if wanted.configuration:
        remarks.append(f"configuration {wanted.configuration}")
    if wanted.sample is not None:
        remarks.append(f"a sample of {len(rows):,} of {read:,} rows, by the hashes of their numbers")
    place = f"{wanted.repository}@{commit[:12]}"
    licence = getattr(info.card_data, "license", None)
    return HubTable(
        Table(place, list(formats.within_limits(rows, Path(place))), remarks),
        f"{wanted.repository} on the hub, commit {commit}, split {wanted.split}",
        licence if isinstance(licence, str) else "",
    )


def _rows(every: Iterable[Row], wanted: Wanted, where: str) -> tuple[int, list[Row]]:
    """How many rows were read, and those that are wanted, in order."""
    if wanted.sample is not None:
        return sampled(every, wanted.sample)
    rows = list(islice(every, MOST_ROWS + 1))
    if len(rows) > MOST_ROWS:
        raise DataError(f"{where}: holds more than {MOST_ROWS:,} rows; take some of them by --sample N")
    return len(rows), rows


def sampled(every: Iterable[Row], count: int) -> tuple[int, list[Row]]:
    """How many rows a stream has, and `count` of them, of the smallest hashes of their numbers, in order."""
    kept: list[tuple[int, int, Row]] = []  # the greatest hash first, as its negative
    number = -1
    for number, row in enumerate(every):
        key = -int.from_bytes(hashlib.sha256(f"bench sample:{number}".encode()).digest()[:8], "big")
        if len(kept) < count:
            heapq.heappush(kept, (key, number, row))
        elif key > kept[0][0]:
            heapq.heapreplace(kept, (key, number, row))
        if number % _EVERY == _EVERY - 1 and sys.stderr.isatty():
            print(f"\r{number + 1:>12,} rows read", end="", file=sys.stderr, flush=True)
    return number + 1, [row for _, _, row in sorted(kept, key=lambda item: item[1])]


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn the errors of the hub's client into one line with a remedy."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except DataError:
        raise
    except GatedRepoError as error:
        raise Gated(f"{where} is gated; accept its licence on the hub and run `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise Unreachable(
            f"{where}: the data set has no such revision; name another by ORG/NAME@REVISION"
        ) from error
    except RepositoryNotFoundError as error:
        raise Unreachable(
            f"{where}: no such file or folder here, and no such data set on the hub, or it is private; "
            "check the name, or `hf auth login`"
        ) from error
    except ValueError as error:  # a split or configuration that is not there, or none where there are several
        raise DataError(f"{where}: {_in_one_line(error)}; choose by --split or --configuration") from error
    except Exception as error:  # the hub client raises a dozen unrelated types
        raise Unreachable(
            f"{where}: cannot be read from the hub ({type(error).__name__}: {_in_one_line(error)}); check "
            "the network, or download its files and import those"
        ) from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
