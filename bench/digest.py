"""One way to turn a value into an identity, SHA-256 over canonical JSON, and what differs between two."""

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


def differences(prefix: str, left: Any, right: Any) -> list[tuple[str, tuple[Any, Any]]]:
    """(dotted key, the two values) for every part in which two JSON-like values differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        parts = []
        for key in [*left, *(k for k in right if k not in left)]:
            parts += differences(f"{prefix}.{key}" if prefix else key, left.get(key), right.get(key))
        return parts
    return [] if left == right else [(prefix, (left, right))]
