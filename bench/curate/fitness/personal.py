"""Patterns of personal data and of secrets in text: mail addresses, telephone numbers, keys, account numbers.

Patterns find what looks like such data, not what is: numbers must be written as people write them, and carry
their check digits where they have any. Addresses at example domains (RFC 2606) are nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MAIL = re.compile(
    r"\b[\w.+-]+@(?!example\.)(?:[\w-]+\.)+(?!example\b|test\b|invalid\b)[a-z]{2,}\b", re.IGNORECASE
)
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}|"
    r"\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\w-])"
)
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}\b|"
    r"\bsk-(?:[a-z]+-)*[A-Za-z0-9]{20,}\b|\bhf_[A-Za-z]{30,}\b|\bxox[abpr]-[\w-]{20,}|\bAIza[\w-]{35}\b"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.-])\d{4}(?:[ -]?\d{4}){2}[ -]?\d{3,4}(?![\d.-])")
#: Letters of a match that are shown; the rest is masked.
SHOWN = 3


def found(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of everything that looks like personal data."""
    for kind, pattern in (("mail address", _MAIL), ("telephone number", _PHONE), ("key", _KEY)):
        yield from ((kind, match[0]) for match in pattern.finditer(text))
    yield from (("account number", match[0]) for match in _IBAN.finditer(text) if _is_iban(match[0]))
    yield from (("card number", match[0]) for match in _CARD.finditer(text) if _is_card(match[0]))


def masked(text: str) -> str:
    """A match that can be looked for and tells nobody."""
    return text[:SHOWN] + "…" * (len(text) > SHOWN)


def _is_iban(text: str) -> bool:
    """ISO 13616: the number that letters and digits make leaves 1 when divided by 97."""
    compact = text.replace(" ", "")
    digits = "".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])
    return len(compact) >= 15 and int(digits) % 97 == 1


def _is_card(text: str) -> bool:
    """ISO/IEC 7812: the Luhn sum is a multiple of ten."""
    digits = [int(letter) for letter in text if letter.isdigit()][::-1]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0
