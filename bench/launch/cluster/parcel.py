"""A folder as bytes and back: how a node's workspace reaches the driver, and a checkpoint a node.

Only plain files travel. What is unpacked is checked by `tarfile`'s `data` filter: no link, no device, nothing
outside the folder, no owner and no mode that the sender chose.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

#: Where a parcel is unpacked before its pieces are put in place.
FRESH = ".fetched"
#: Names at the top of a workspace that only its own machine needs.
LOCAL = frozenset({"checkpoints", ".lock", "selection.json", FRESH})


def pack(folder: Path, names: Iterable[str] | None = None) -> bytes:
    """The plain files below a folder, or those of `names`, but for `LOCAL`."""
    buffer = io.BytesIO()
    tops = sorted(names) if names is not None else sorted(path.name for path in folder.iterdir())
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for top in tops:
            if top in LOCAL or not (folder / top).exists():
                continue
            files = [folder / top] if (folder / top).is_file() else sorted((folder / top).rglob("*"))
            for file in files:
                if file.is_file() and not file.is_symlink():
                    archive.add(file, str(file.relative_to(folder)), recursive=False)
    return buffer.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Write what `pack` made. Raises `tarfile.TarError` for anything else, OSError for a full disk."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r") as archive:
        archive.extractall(folder, filter="data")


def deliver(content: bytes, folder: Path, last: str) -> None:
    """Put what `pack` made into a folder, piece by piece, `last` at the end: it says that all is there.

    Raises what `unpack` raises.
    """
    fresh = folder / FRESH
    shutil.rmtree(fresh, ignore_errors=True)
    unpack(content, fresh)
    for piece in sorted(fresh.iterdir(), key=lambda path: path.name == last):
        place = folder / piece.name
        if place.is_dir():
            shutil.rmtree(place)
        piece.replace(place)
    fresh.rmdir()
