"""The scorer that an identity names: the inverse of `Rouge.identity`.

Records name their scorer and keep no scorer; to score one record's texts as another's were scored, the
name must be enough.
"""

from __future__ import annotations

from bench.errors import UnknownName
from bench.score.rouge import Rouge


def scorer(identity: str) -> Rouge:
    """A scorer whose identity is this one.

    Raises `UnknownName` where this version of the program has none: its values would be others.
    """
    known = {rouge.identity: rouge for rouge in (Rouge(stemmer=True), Rouge(stemmer=False))}
    if identity not in known:
        raise UnknownName("scorer", identity, known)
    return known[identity]
