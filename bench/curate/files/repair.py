"""Texts whose bytes were once decoded in the wrong encoding, mended: the only module that imports ftfy.

Only the encoding is mended ("cafÃ©" to "café"); quotes, widths and line ends stay as they were written.
Where the extra is not installed, texts that look damaged are counted and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import metadata

from bench.spec import Example

#: What UTF-8 of Latin letters, dashes and quotes looks like in cp1252.
_LOOKS_DAMAGED = re.compile(r"Ã[\x80-\xbf€-™ -¿]|â€|Â[\xa0-\xbf]|ï»¿|â\x80")
#: Repairs that provenance shows.
SHOWN = 3
_WIDTH = 30


@dataclass(frozen=True)
class Repaired:
    """Examples, how many texts of them were mended, a few of those, and how many still look damaged."""

    examples: list[Example]
    texts: int = 0
    samples: tuple[tuple[str, str], ...] = ()
    damaged: int = 0


def repaired(examples: Iterable[Example]) -> Repaired:
    """The examples with their mojibake mended."""
    mended: list[Example] = []
    samples: list[tuple[str, str]] = []
    texts = damaged = 0
    fixing = _is_installed()
    for example in examples:
        fields = {
            "question": _fixed(example.question, fixing),
            "context": _fixed(example.context, fixing),
            "answers": tuple(_fixed(answer, fixing) for answer in example.answers),
        }
        before = (example.question, example.context, *example.answers)
        after = (fields["question"], fields["context"], *fields["answers"])
        for old, new in zip(before, after, strict=True):
            if old != new:
                texts += 1
                samples += [_difference(old, str(new))] if len(samples) < SHOWN else []
            elif _LOOKS_DAMAGED.search(old):
                damaged += 1
        mended.append(replace(example, **fields) if before != after else example)  # type: ignore[arg-type]
    return Repaired(mended, texts, tuple(samples), damaged)


def looks_damaged(text: str) -> bool:
    """Whether a text holds what UTF-8 looks like when it is read as cp1252."""
    return bool(_LOOKS_DAMAGED.search(text))


def _is_installed() -> bool:
    try:
        metadata.version("ftfy")
    except metadata.PackageNotFoundError:
        return False
    return True


def _fixed(text: str, fixing: bool) -> str:
    if not fixing or text.isascii():
        return text
    import ftfy

    return str(ftfy.fix_encoding(text))


def _difference(old: str, new: str) -> tuple[str, str]:
    """The place where two texts part, with a few letters around it."""
    place = next(
        (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    start = max(0, place - _WIDTH // 2)
    return tuple(" ".join(text[start : start + _WIDTH].split()) for text in (old, new))  # type: ignore[return-value]
