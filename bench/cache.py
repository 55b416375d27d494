"""Where this program keeps what it can make again: prepared data, environments, digests of large files."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from bench.digest import digest, file_digest


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
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads(kept.read_bytes())["sha256"])
    value = file_digest(file)
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps({"sha256": value}), encoding="utf-8")
        fresh.replace(kept)
    return value
