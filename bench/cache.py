"""Where this program keeps what it can make again: prepared data, environments, digests of large files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.digest import digest, file_digest
from bench.errors import Unreadable
from bench.files import json_value, put


def cache_root() -> Path:
    """The folder: `BENCH_CACHE`, else `bench` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("BENCH_CACHE") or Path(base) / "bench")


def kept_digest(file: Path) -> str:
    """The digest of every byte of a file, read once and kept while its size, times and inode stay.

    A checkpoint of 16 GB takes seconds the first time and nothing afterwards.
    """
    stat = file.stat()
    facts = [str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    kept = cache_root() / "digests" / f"{digest(facts)[:32]}.json"
    with suppress(Unreadable, TypeError, KeyError):
        return str(json_value(kept)["sha256"])
    value = file_digest(file)
    keep(kept, json.dumps({"sha256": value}))
    return value


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` fills, whole or not at all; a quicker process may have made it."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".fresh-", dir=folder.parent))
    try:
        make(fresh)
        try:
            fresh.rename(folder)
        except OSError:  # another process was quicker
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def keep(file: Path, text: str) -> None:
    """Put a text into the cache, whole or not at all; a cache that takes none costs time and nothing else."""
    with suppress(OSError):
        put(file, text)
