"""Exact match and token F1, as the evaluation of SQuAD defines them.

Rajpurkar et al. (2016), "SQuAD: 100,000+ Questions for Machine Comprehension of Text": texts are compared in
lower case, without ASCII punctuation, without the articles a, an and the, and with single spaces. Of several
references the best counts. Where one of two texts has no token left, both measures say whether the other has
none either (the rule of SQuAD 2.0).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from bench.score.rouge import Prf

#: Raised when any value changes.
VERSION = 1
NORMALISATION = "lower,punctuation,articles,space"
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """The text as it is compared.

    >>> normalised("The  Mean, of an array!")
    'mean of array'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(references: Sequence[str], answer: str) -> float:
    """1 where the answer equals a reference, else 0."""
    given = normalised(answer)
    return float(any(normalised(reference) == given for reference in references))


def token_f1(references: Sequence[str], answer: str) -> Prf:
    """Precision, recall and F1 over tokens, of the reference with the highest F1."""
    given = normalised(answer).split()
    return max((_overlap(normalised(text).split(), given) for text in references), key=lambda prf: prf.f)


def _overlap(reference: Sequence[str], answer: Sequence[str]) -> Prf:
    if not reference or not answer:
        same = float(reference == answer)
        return Prf(same, same, same)
    common = (Counter(reference) & Counter(answer)).total()
    if not common:
        return Prf(0.0, 0.0, 0.0)
    precision, recall = common / len(answer), common / len(reference)
    return Prf(precision, recall, 2 * precision * recall / (precision + recall))
