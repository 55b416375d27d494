"""The one guarded way to read a file that somebody else may have made.

Records are copied and merged, specs and data come from strangers, and so may the folder one stands in. In
the place of a file there can be a pipe that never answers, a device, a folder, a link that leads to itself,
or a sparse file of terabytes. Whoever reads through this module gets bytes or `Unreadable`, in bounded time
and memory. What the bytes mean is the caller's affair.

`put` is the one way to write a text that others may be reading or writing.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from bench.errors import Unreadable

#: Bytes of the largest file that is read whole: data, scores, answers.
LARGEST = 1 << 30
#: Bytes of the largest description: a record, a spec, a configuration.
LARGEST_DESCRIPTION = 1 << 26
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)


def is_file(path: Path) -> bool:
    """True for a regular file or a link to one; False for all else, also where no look is possible."""
    return _has_mode(path, stat.S_ISREG)


def is_folder(path: Path) -> bool:
    """True for a folder or a link to one; False for all else, also where no look is possible."""
    return _has_mode(path, stat.S_ISDIR)


def resolved(path: Path) -> Path:
    """The path without links. Raises `Unreadable` for links that lead in a circle, and for no path at all."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise Unreadable(path, "is no path to a file") from None


@contextmanager
def opened(file: Path, largest: int | None = None) -> Iterator[BinaryIO]:
    """A regular file of at most `largest` bytes, open for reading. Raises `Unreadable`.

    It is opened without waiting and looked at afterwards, so nothing can be put in its place in between.
    """
    try:
        _refuse_special(file, file.stat().st_mode)  # opening a device may already do something
        handle = os.fdopen(os.open(file, os.O_RDONLY | _NO_WAITING), "rb")
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None
    with handle:
        status = os.fstat(handle.fileno())
        _refuse_special(file, status.st_mode)
        if largest is not None and status.st_size > largest:
            raise Unreadable(file, f"is larger than {largest >> 20:,} MiB")
        try:
            yield handle
        except OSError as error:
            raise _unreadable(file, error) from None


def content(file: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file. Raises `Unreadable`."""
    with opened(file, largest) as handle:
        held = handle.read(largest + 1)
    if len(held) > largest:  # its size says nothing, as under /proc, or it grows
        raise Unreadable(file, f"is larger than {largest >> 20:,} MiB")
    return held


def text(file: Path, largest: int = LARGEST_DESCRIPTION) -> str:
    """The UTF-8 text of a regular file. Raises `Unreadable`."""
    try:
        return content(file, largest).decode()
    except UnicodeDecodeError as error:
        raise Unreadable(file, f"is not UTF-8 at byte {error.start}; save it as UTF-8") from None


def put(file: Path, text: str) -> None:
    """Write a UTF-8 text whole or not at all, in the place of an earlier one; makes the folder.

    By a name of this process's own, then renamed: of two processes that write the same file at once, one
    would otherwise rename what the other is still writing. Raises `OSError`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        fresh.write_bytes(text.encode())
        fresh.replace(file)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def json_value(file: Path, largest: int = LARGEST_DESCRIPTION) -> Any:
    """The JSON value in a regular file, whose text can be written again. Raises `Unreadable`."""
    try:
        value = json.loads(text(file, largest))
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable(file, "holds half a character (an escaped surrogate without its pair)") from None
    except ValueError as error:
        raise Unreadable(file, f"is not JSON: {error}") from None
    except RecursionError:
        raise Unreadable(file, "is nested too deeply") from None
    return value


def json_object(content: bytes, source: Path, what: str = "") -> dict[str, Any]:
    """The JSON object that a part of `source` is; `what` names the part. Raises `Unreadable`."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise Unreadable(source, f"{what}is not JSON; cut short?") from None
    if not isinstance(value, dict):
        raise Unreadable(source, f"{what}is no JSON object")
    return value


def check_tree(folder: Path) -> None:
    """Raise `Unreadable` for anything below a folder that is neither a file nor a folder, links included.

    Writing into such a folder could wait for ever, or write somewhere else.
    """
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            mode = os.lstat(Path(parent) / name).st_mode
            if not stat.S_ISDIR(mode):
                _refuse_special(Path(parent) / name, mode)


#: A pipe without a writer opens at once; Windows has neither.
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def _has_mode(path: Path, kind: Any) -> bool:
    try:
        return bool(kind(path.stat().st_mode))
    except (OSError, ValueError):
        return False


def _refuse_special(file: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        name = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise Unreadable(file, f"is {name}, not a file")


def _unreadable(file: Path, error: OSError | ValueError) -> Unreadable:
    if isinstance(error, FileNotFoundError):
        return Unreadable(file, "is not there", missing=True)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unreadable(file, f"cannot be read ({reason})")
