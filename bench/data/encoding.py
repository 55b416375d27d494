"""Bytes of a data file become lines of text, in the encoding that was named.

`detected` finds the encoding of a file that names none: a byte order mark decides, then UTF-8, then the zero
bytes of UTF-16; what holds no UTF-8 at all is cp1252. A line that cannot be decoded is refused. Another
encoding is advised only where the whole file decodes in it, so that nobody who follows the advice is refused
again for the same reason.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from bench import files
from bench.errors import DataError

DEFAULT = "utf-8"
#: Encodings of domain names and of program text: no file is in them, and some take hours for a long line.
NOT_OF_FILES = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
#: Bytes of the longest line that is a row.
LONGEST_LINE = 1 << 26
#: UTF-8, with cp1252 for the lines that are none: files that two programs have written.
MIXED = "utf-8 with lines of cp1252"
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Bytes by which an encoding is guessed from zero bytes, and the share of them from which on it is UTF-16.
_SAMPLE, _ZEROS = 4096, 0.3


def canonical(encoding: str) -> str:
    """The one spelling of an encoding's name. Raises `DataError` for an unknown one."""
    try:
        "".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        name = ""
    if not name or name in NOT_OF_FILES:
        raise DataError(f"unknown encoding '{encoding}'; try utf-8, utf-16 or cp1252")
    return name


def detected(file: Path, mixed: bool = False) -> str:
    """The encoding of a file, by its bytes; `MIXED` only where that is allowed.

    The default where nothing else fits, so that reading it names the line that is at fault.
    """
    content = files.content(file)
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if content.startswith(_MARKS):
        return "utf-16"
    if wide := _wide(content):
        return wide
    if _decodes(content, DEFAULT):
        return DEFAULT
    if not _holds_utf8(content):
        return "cp1252" if mixed or _decodes(content, "cp1252") else DEFAULT
    return MIXED if mixed else DEFAULT


def _wide(content: bytes) -> str:
    """UTF-16 without a mark, by the zero bytes of its Latin letters; "" for anything else."""
    sample = content[:_SAMPLE]
    half = len(sample) // 2
    for name, start in (("utf-16-le", 1), ("utf-16-be", 0)):
        zeros, others = sample[start::2].count(0), sample[1 - start :: 2].count(0)
        if half and zeros > _ZEROS * half and not others and _decodes(content, name):
            return name
    return ""


def lines(file: Path, encoding: str) -> Iterator[str]:
    """Decoded lines with their ends. Raises `DataError` naming the line that cannot be decoded."""
    if encoding == MIXED:
        yield from _mixed_lines(file)
        return
    try:
        name = canonical(encoding)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    if name.startswith(("utf-16", "utf-32")):  # a line break is more than one byte
        yield from io.StringIO(_whole(file, name), newline="\n")
        return
    with files.opened(file) as handle:
        for number, line in enumerate(iter(lambda: handle.readline(LONGEST_LINE + 1), b""), start=1):
            if len(line) > LONGEST_LINE:
                raise DataError(f"{file}: line {number} is longer than {LONGEST_LINE >> 20} MiB")
            try:
                yield line.decode(name)
            except UnicodeDecodeError as error:
                byte = f"byte {error.start + 1}: 0x{line[error.start]:02x}"
                raise DataError(
                    f"{file}: line {number} is not {name} ({byte}); {_advice(file, name)}"
                ) from None


def _mixed_lines(file: Path) -> Iterator[str]:
    with files.opened(file, files.LARGEST) as handle:
        for number, line in enumerate(handle, start=1):
            try:
                yield line.decode(DEFAULT)
            except UnicodeDecodeError:
                try:
                    yield line.decode("cp1252")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{file}: line {number} is neither utf-8 nor cp1252 (byte {error.start + 1}: "
                        f"0x{line[error.start]:02x}); mend it, or save the file as utf-8"
                    ) from None


def _whole(file: Path, encoding: str) -> str:
    content = files.content(file)
    try:
        return content.decode(encoding)
    except UnicodeError as error:
        place = f"byte {error.start + 1}" if isinstance(error, UnicodeDecodeError) else str(error)
        raise DataError(f"{file}: is not {encoding} ({place}); {_advice(file, encoding)}") from None


def _advice(file: Path, refused: str) -> str:
    content = files.content(file)
    if content.startswith(_MARKS):
        candidates = ["utf-16"]
    elif _holds_utf8(content):
        candidates = [DEFAULT]
        if refused == DEFAULT:
            return "other lines are utf-8, so this one is damaged; mend it"
    else:
        candidates = [DEFAULT, "cp1252"]
    for name in candidates:
        if name != refused and _decodes(content, name):
            return f'it decodes as {name}: say --encoding {name}, or encoding = "{name}" in its spec'
    return "save the file as utf-8"


def _holds_utf8(content: bytes) -> bool:
    """True where a line beyond ASCII is whole UTF-8, which text in another encoding hardly ever is."""
    return any(not line.isascii() and _decodes(line, DEFAULT) for line in content.split(b"\n"))


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeError:
        return False
    return True


def reads_as_default(file: Path, encoding: str) -> bool:
    """True where the default encoding gives the same text, as it does for plain ASCII."""
    content = files.content(file)
    try:
        return content.decode(encoding) == content.decode(DEFAULT)
    except UnicodeError:
        return False
