"""Text folded for comparison, so that the same words in two spellings are the same words.

`words` undoes what changes a text's characters and not what it says: compatibility forms (NFKC), accents,
characters of no width, HTML entities and tags, letters of other scripts that look Latin, underscores, case,
punctuation, articles, and a greeting or polite phrase at either end. The result is only ever compared:
examples keep the text that their author wrote, and `bench.data.shape.fold`, which makes the groups of the
split, stays as it is.

Left out: meaning. A synonym is another word here, and Greek in capitals is not Greek in small letters.
"""

from __future__ import annotations

import html
import re
import unicodedata

#: Letters, in lower case, and the Latin ones that they are taken for.
_LOOK_ALIKES = str.maketrans(
    "авекмнорстухіїјѕһԁԛԝгαβεηικμνορτυχωςϲıɑɡɩȷøłđħŧᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢօոսհց",
    "abekmhopctyxiijshdqwrabenikuvoptuxwcciagijoldhtabcdeghijklmnoprtuvwyzonuhg",
)
#: Greek capitals that look like other letters than their small forms do.
_GREEK_CAPITALS = str.maketrans("ΗΜΝΥ", "hmny")
_ACCENTS = re.compile("[\u0300-\u036f]")
#: Characters of no width that Unicode does not count among those for format (Cf).
_NO_WIDTH = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_TAGS = re.compile(
    r"<!--.*?-->|</?(?:a|abbr|b|big|blockquote|br|center|code|del|div|em|font|h[1-6]|hr|i|img|ins|li|mark|ol|p|"
    rf"pre|s|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul)(?:{_ATTRIBUTE})*\s*/?>",
    re.IGNORECASE | re.DOTALL,
)
#: C++ and C# are not C, and 2 + 3 is not 2 * 3.
_PLUS_PLUS = re.compile(r"\b([a-z])(\+\+|#)")
_DIGIT = re.compile(r"\d")
_OPERATOR = re.compile(r"(?<=\d)\s*([-+*/^=<>×÷−])\s*(?=\d)")
_OPERATORS = {
    "+": "plussign",
    "-": "minussign",
    "−": "minussign",
    "/": "oversign",
    "÷": "oversign",
    "*": "timessign",
    "×": "timessign",
    "^": "powersign",
}
_NOT = re.compile(r"n['’]t\b")
#: Parts that a hyphen joins are one word, unless one of them decides by itself ("two-stage").
_COMPOUND = re.compile(r"[^\W\d_]{2,}(?:[-\u2010\u2011][^\W\d_]{2,})+")
_WORD = re.compile(r"[^\W_]+")
_GREETINGS = (
    *("please", "kindly", "pls", "plz", "hi", "hello", "hey", "hi there", "hello there", "hey there"),
    *("ok", "okay", "thanks", "thank you", "tell me", "let me know", "i want to know", "i need to know"),
    *("i wish to know", "i would like to know", "i d like to know", "i have a question", "quick question"),
    *("do you know", "just", "so", "well", "now"),
    *(f"{verb} {you}" for verb in ("can", "could", "would", "will") for you in ("you", "u")),
)
_THANKS = (
    *("please", "kindly", "pls", "plz", "thanks", "thank you", "thx", "cheers"),
    *("in advance", "for me", "very much", "a lot"),
)
_FIRST_WORDS = frozenset(phrase.split()[0] for phrase in _GREETINGS)
_LAST_WORDS = frozenset(phrase.split()[-1] for phrase in _THANKS)
_GREETING = re.compile(rf"(?:(?:{'|'.join(_GREETINGS)}) )+")
_THANKING = re.compile(rf"(?: (?:{'|'.join(_THANKS)}))+$")
#: Words that most questions have; which of them a question takes says little about what it asks.
USUAL = frozenset(
    [
        "about",
        "am",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "between",
        "by",
        "can",
        "could",
        "define",
        "describe",
        "did",
        "discuss",
        "do",
        "does",
        "explain",
        "for",
        "from",
        "give",
        "had",
        "has",
        "have",
        "how",
        "i",
        "in",
        "into",
        "is",
        "it",
        "its",
        "list",
        "me",
        "mean",
        "means",
        "my",
        "name",
        "of",
        "on",
        "or",
        "our",
        "s",
        "so",
        "some",
        "tell",
        "than",
        "that",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "write",
        "you",
        "your",
    ]
)
#: Words that add nothing to a question.
FILLERS = frozenset(
    {"actually", "also", "basically", "exactly", "just", "kindly", "please", "really", "simply"}
)
#: A shorter word with another letter is another word ("GPU", "CPU"), unless it is among the usual ones.
_TYPO_LETTERS = 4
ARTICLES = frozenset({"a", "an", "the"})
_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand "
    "million billion first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth last "
    "ii iii iv vi vii viii ix xi xii"
)
_NEGATIONS = "not no never nor neither none without cannot"
_DECISIVE = frozenset((*f"{_COUNTED} {_NEGATIONS} plusplus sharp comparesign".split(), *_OPERATORS.values()))


def words(text: str) -> tuple[str, ...]:
    """The words that a text is compared by, in order, without articles."""
    every = _WORD.findall(_spell_out(_plain_letters(text)))
    if every and (every[0] in _FIRST_WORDS or every[-1] in _LAST_WORDS):
        every = _without_politeness(every)
    return tuple([word for word in every if word not in ARTICLES]) or tuple(every)


def _without_politeness(every: list[str]) -> list[str]:
    """Words without a greeting before and thanks behind them, unless that is all they say."""
    folded = " ".join(every) + " "
    polite = _GREETING.match(folded)
    asked = folded[polite.end() :] if polite else folded
    return _THANKING.sub("", asked.strip()).split() or every


def decisive(word: str) -> bool:
    """Whether this word alone makes another question: a number, a negation, a letter that names something."""
    if word in _DECISIVE or has_digit(word):
        return True
    return len(word) == 1 and "b" <= word <= "z" and word not in "is"


def _plain_letters(text: str) -> str:
    """Lower-case text in plain letters, without markup and characters of no width."""
    if "&" in text:
        text = html.unescape(html.unescape(text))  # twice: exports often escape what was escaped
    if "<" in text:
        text = _TAGS.sub(" ", text)
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text))
    text = _ACCENTS.sub("", text)
    text = "".join(
        letter for letter in text if unicodedata.category(letter) != "Cf" and letter not in _NO_WIDTH
    )
    return text.translate(_GREEK_CAPITALS).casefold().translate(_LOOK_ALIKES)


def _joined(compound: re.Match[str]) -> str:
    parts = _WORD.findall(compound[0])
    return compound[0] if any(map(decisive, parts)) else "".join(parts)


def _spell_out(text: str) -> str:
    """Signs that make another question, as words."""
    text = text.replace("_", " ")
    if "n'" in text or "n’" in text:
        text = _NOT.sub(" not", text)
    if "-" in text or "\u2010" in text or "\u2011" in text:
        text = _COMPOUND.sub(_joined, text)
    if "++" in text or "#" in text:
        text = _PLUS_PLUS.sub(lambda sign: f"{sign[1]} {'plusplus' if sign[2] == '++' else 'sharp'} ", text)
    if not _DIGIT.search(text):
        return text
    return _OPERATOR.sub(lambda sign: f" {_OPERATORS.get(sign[1], 'comparesign')} ", text)


def has_digit(word: str) -> bool:
    """Whether a digit is in a word."""
    return not word.isalpha() and any(letter.isdigit() for letter in word)


def is_typo(left: str, right: str) -> bool:
    """Whether two words differ by a letter replaced, added or left out, or by two neighbours in turn.

    Never where a digit is in one of them, or where both decide what is asked ("seven" and "eleven").
    """
    if len(left) > len(right):
        left, right = right, left
    if len(right) - len(left) > 1 or left == right:
        return left == right
    if len(right) < _TYPO_LETTERS and not any(word in USUAL or word in ARTICLES for word in (left, right)):
        return False
    if len(left) >= _TYPO_LETTERS - 1 and left[0] != right[0] and left[-1] != right[-1]:
        return False  # one mistake leaves the first or the last letter as it is
    if has_digit(left) or has_digit(right) or (left in _DECISIVE and right in _DECISIVE):
        return False
    start = 0
    while start < len(left) and left[start] == right[start]:
        start += 1
    if len(left) < len(right):
        return left[start:] == right[start + 1 :]
    if left[start + 1 :] == right[start + 1 :]:
        return True
    turned = right[start + 1 : start + 2] + right[start : start + 1]
    return left[start : start + 2] == turned and left[start + 2 :] == right[start + 2 :]
