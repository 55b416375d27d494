"""One way to turn a value into an identity: SHA-256 over canonical JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bench.files import opened


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """64 hexadecimal digits that stand for a JSON-like value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """64 hexadecimal digits that stand for a file's bytes. Raises `Unreadable`."""
    with opened(path) as handle:
        state = hashlib.sha256()
        while block := handle.read(1 << 20):
            state.update(block)
        return state.hexdigest()
