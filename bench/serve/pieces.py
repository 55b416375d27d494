"""An answer that grows token by token, given out as text that is never taken back.

A token may hold half a character, a stop text may begin at the end of one token and end in the next, and an
answer has no white space around it. What is not yet certain is held back. All pieces together are the
answer, as the decoder of a run would have made it from the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: What a tokenizer decodes an unfinished character to.
UNFINISHED = "\ufffd"
#: Tokens that are decoded again with every new one, so that a long answer costs no more a token than a short.
WINDOW = 8


class GrowingText:
    """The text of one answer so far."""

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        #: Tokens before `_from` are text for good; those up to `_to` were given out.
        self._from = self._to = 0
        self._text = ""
        self._given = 0
        #: Whether a stop text was reached; what follows is not taken.
        self.stopped = False

    def add(self, id: int) -> str:
        """Take up one token; the text that became certain, often empty."""
        self._ids.append(id)
        known = self._decode(self._ids[self._from : self._to])
        whole = self._decode(self._ids[self._from :])
        if len(whole) > len(known) and not whole.endswith(UNFINISHED):
            self._text += whole[len(known) :]
            self._from, self._to = max(self._from, self._to - WINDOW), len(self._ids)
        return self._give(final=False)

    def end(self) -> str:
        """The rest of the text once the last token is there."""
        if self._to < len(self._ids) and not self.stopped:
            known = self._decode(self._ids[self._from : self._to])
            self._text += self._decode(self._ids[self._from :])[len(known) :]
            self._to = len(self._ids)
        return self._give(final=True)

    @property
    def text(self) -> str:
        """What was given out so far."""
        return self._text.lstrip()[: self._given]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _give(self, final: bool) -> str:
        text = self._text.lstrip()
        places = [place for stop in self._stops if (place := self._text.find(stop)) >= 0]
        if places:
            self.stopped, final = True, True
            self._text = self._text[: min(places)]
            text = self._text.lstrip()
        unsure = 0 if final else self._unsure(text)
        certain = len(text[: len(text) - unsure].rstrip())
        piece = text[self._given : certain]
        self._given = max(self._given, certain)
        return piece

    def _unsure(self, text: str) -> int:
        """Characters at the end that may be the beginning of a stop text."""
        return max(
            (
                length
                for stop in self._stops
                for length in range(1, min(len(stop), len(text) + 1))
                if text.endswith(stop[:length])
            ),
            default=0,
        )
