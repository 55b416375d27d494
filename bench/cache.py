"""Where this program keeps what it can make again: prepared data, environments."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The folder: `BENCH_CACHE`, else `bench` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("BENCH_CACHE") or Path(base) / "bench")
