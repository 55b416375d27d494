"""The language of a text, by its letters and its commonest words.

Enough to see that a data set mixes languages, not to name every one: a language of Latin letters that is not
in `COMMON`, and a text of few words, has none.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

#: Words that only these languages have so often; none stands in two lists.
COMMON: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "English": "the of and is to that it with for are this which by be or from an how what",
        "German": "der die das und ist nicht ein eine mit von zu den dem wird auf für sich werden oder wie",
        "French": "le les et est une dans pour des qui du sur avec pas ce sont cette au aux ou où",
        "Spanish": "el los las y es una para del por con se su al más qué cómo como lo entre está",
        "Italian": "il gli di che è per non della nel sono dei delle alla anche questo perché dal ed ai",
        "Portuguese": "o os da do em não uma um são pelo pela mais ao também seu sua isso você às das",
        "Dutch": "het een van en dat niet zijn voor aan ook wordt deze door naar bij worden kan of dit",
    }.items()
}
#: Letters of other scripts -> what a reader calls them.
SCRIPTS = {
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "CJK": "Chinese or Japanese",
    "HIRAGANA": "Chinese or Japanese",
    "KATAKANA": "Chinese or Japanese",
    "HANGUL": "Korean",
    "THAI": "Thai",
}
#: Common words that a text must have, and how many times those of any other language.
FEWEST, TIMES = 3, 2
#: Letters of another script from which on a text is written in it.
HALF = 0.5
_WORDS = re.compile(r"[^\W\d_]+")


def language(text: str) -> str:
    """The language or script of a text; "" where its words do not tell."""
    letters = [letter for letter in text if letter.isalpha()]
    if not text.isascii() and letters:
        scripts = Counter(
            unicodedata.name(letter, "").split(" ")[0] for letter in letters if ord(letter) > 0x24F
        )
        for script, count in scripts.most_common(1):
            if count > HALF * len(letters) and script in SCRIPTS:
                return SCRIPTS[script]
    words = Counter(word.lower() for word in _WORDS.findall(text))
    hits = Counter({name: sum(words[word] for word in common) for name, common in COMMON.items()})
    (best, most), (_, next_most) = hits.most_common(2)
    return best if most >= FEWEST and most >= TIMES * next_most else ""
