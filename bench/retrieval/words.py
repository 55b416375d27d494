"""The words by which rows are found and their overlap is measured."""

from __future__ import annotations

import re

from bench.score.rouge import Tokens

_WORD = re.compile(r"\w+")


class Words:
    """Runs of letters and digits in lower case, English ones by their Porter stem, as in the score."""

    def __init__(self) -> None:
        self._stems = Tokens()

    def __call__(self, text: str) -> list[str]:
        """The words of a text."""
        found: list[str] = []
        for word in _WORD.findall(text.casefold()):
            found += self._stems(word) if word.isascii() and word.isalnum() else [word]
        return found
