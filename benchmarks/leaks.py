"""How many test questions in other spellings the training side keeps, and how many sound rows it loses.

`python -m benchmarks.leaks` prints the table that stands in `bench.data.leaks`. Each line changes every test
question in one way and gives it the answer of another row, so that only the question can betray it; the last
line keeps the answer, with a typo, under another question. The second table takes the data sets as they
are: training rows that today's rule removes beyond equal texts, and how many of them have an answer that
clearly differs, with less than `SAME_ANSWER` of its character n-grams in common.
"""

from __future__ import annotations

import argparse
import html
import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import process_time

from bench import registry
from bench.data import leaks, prepare, sources, spelling
from bench.data.alike import likeness
from bench.spec import Example

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared/data"
QUESTIONS = 200
#: Answers that share less of their n-grams (Jaccard) clearly differ.
SAME_ANSWER = 0.3
LOOK_ALIKE = str.maketrans(
    "aceopxyiABEHKMOPT",
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0410\u0412\u0415\u041d\u041a\u041c\u041e\u0420\u0422",
)
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
ACCENTED = str.maketrans("aeiou", "áéíóú")
POLITE = ("Please ", "Hello, could you please tell me: ", "Hi! ", "Can you ", "Kindly ")
ARTICLES = ("the", "a", "an")

#: What changes a question, by a source of chance and the words of all questions; None where it cannot.
Changed = Callable[[str, random.Random, Sequence[str]], str | None]


def within_words(sign: str) -> Changed:
    """A sign in the middle of every word of four letters or more."""

    def changed(text: str, chance: random.Random, words: Sequence[str]) -> str:
        cut = [word[: len(word) // 2] + sign + word[len(word) // 2 :] for word in text.split(" ")]
        return " ".join(new if len(new) > 4 else old for old, new in zip(text.split(" "), cut, strict=True))

    return changed


def once_within_a_word(sign: str) -> Changed:
    """One sign within the longest word."""

    def changed(text: str, chance: random.Random, words: Sequence[str]) -> str:
        longest = max(text.split(" "), key=len)
        return text.replace(longest, longest[:2] + sign + longest[2:], 1)

    return changed


def swapped(text: str, chance: random.Random, words: Sequence[str]) -> str | None:
    """The two words in the middle in turn."""
    parts = text.split(" ")
    middle = len(parts) // 2
    if len(parts) < 4:
        return None
    parts[middle - 1 : middle + 1] = parts[middle], parts[middle - 1]
    return " ".join(parts)


def without_article(text: str, chance: random.Random, words: Sequence[str]) -> str | None:
    """The first article left out."""
    parts = text.split(" ")
    place = next((number for number, word in enumerate(parts) if word.lower() in ARTICLES), None)
    return None if place is None else " ".join(parts[:place] + parts[place + 1 :])


def with_a_word(text: str, chance: random.Random, words: Sequence[str]) -> str:
    """A word of another question, anywhere."""
    parts = text.split(" ")
    parts.insert(chance.randint(0, len(parts)), chance.choice(words))
    return " ".join(parts)


def with_another_word(text: str, chance: random.Random, words: Sequence[str]) -> str:
    """Any word but a number or a negation replaced by a word of another question."""
    parts = text.split(" ")
    places = [at for at, part in enumerate(parts) if not any(map(spelling.decisive, spelling.words(part)))]
    parts[chance.choice(places or [0])] = chance.choice(words)
    return " ".join(parts)


def with_a_typo(text: str, chance: random.Random, words: Sequence[str]) -> str:
    """One letter replaced, doubled, left out or in turn with the next, in a word of three letters or more."""
    places = [
        at
        for at in range(1, len(text) - 1)
        if text[at - 1].isalpha() and text[at].isalpha() and text[at + 1].isalpha()
    ]
    if not places:
        return text + "x"
    at = chance.choice(places)
    turned = text[at + 1] + text[at] if text[at + 1] != text[at] else text[at]
    kinds = (
        (chance.choice("abcdefghijklmnopqrstuvwxyz".replace(text[at].lower(), "")), at + 1),
        (text[at] * 2, at + 1),
        ("", at + 1),
        (turned, at + 2),
    )
    new, after = chance.choice(kinds)
    return text[:at] + new + text[after:]


def spelled(function: Callable[[str], str]) -> Changed:
    """A change without chance."""
    return lambda text, chance, words: function(text)


#: Line of the table -> what it does; the accented question is the held-out one where accents are removed.
CHANGES: dict[str, Changed] = {
    "one soft hyphen": once_within_a_word("\u00ad"),
    "soft hyphens": within_words("\u00ad"),
    "one zero-width space": once_within_a_word("\u200b"),
    "zero-width joiners": within_words("\u2060"),
    "NFD for NFC, accents added": spelled(lambda t: unicodedata.normalize("NFD", t.translate(ACCENTED))),
    "accents removed": spelled(lambda t: t),
    "full width": spelled(lambda t: t.translate(FULL_WIDTH)),
    "&nbsp; for spaces": spelled(lambda t: t.replace(" ", "&nbsp;")),
    "entities and tags": spelled(lambda t: f"<p><b>{html.escape(t)}</b><br/></p>"),
    "underscores for spaces": spelled(lambda t: t.replace(" ", "_")),
    "look-alike letters": spelled(lambda t: t.translate(LOOK_ALIKE)),
    "capitals, no punctuation": spelled(lambda t: t.upper().rstrip("?.! ")),
    "two words swapped": swapped,
    "an article dropped": without_article,
    "one word added": with_a_word,
    "one word replaced": with_another_word,
    "polite prefix": lambda text, chance, words: chance.choice(POLITE) + text[:1].lower() + text[1:],
    "one-letter typo": with_a_typo,
}
COPIED_ANSWER = "copied answer, one typo"


def kept(held_out: Sequence[Example], others: Sequence[Example], line: str) -> tuple[int, int]:
    """Of the held-out examples, changed in one way, those that the training side keeps; and all of them."""
    chance = random.Random(line)
    words = _plain_words(others)
    if line == "accents removed":
        held_out = [
            replace(e, question=e.question.translate(ACCENTED), group=f"{e.group} é") for e in held_out
        ]
    changed = []
    for number, example in enumerate(held_out):
        other = others[number % len(others)]
        if line == COPIED_ANSWER:
            if len(example.answers[0].split()) < leaks.LONG_ANSWER:
                continue
            answer = with_a_typo(example.answers[0], chance, words)
            copy = replace(other, answers=(answer,))
        else:
            question = example.question
            if line == "accents removed":
                question = "".join(
                    c for c in unicodedata.normalize("NFD", question) if not unicodedata.combining(c)
                )
            new = CHANGES[line](question, chance, words)
            if new is None:
                continue
            copy = replace(example, question=new, answers=other.answers)
        changed.append(replace(copy, id=f"changed-{number}", group=f"changed-{number}"))
    return len(prepare.without_leaks(changed, held_out)[0]), len(changed)


def _plain_words(examples: Sequence[Example]) -> list[str]:
    """The words of questions that make no other question by themselves, as numbers and negations do."""
    every = {word.strip("?.,:;!").lower() for example in examples for word in example.question.split()}
    return sorted(w for w in every if len(w) > 2 and w.isalpha() and not spelling.decisive(w))


def removed(train: Sequence[Example], held_out: Sequence[Example]) -> tuple[int, int]:
    """Training rows that are removed as respelled ones, and those of them whose answer clearly differs."""
    respelled = leaks.HeldOut(held_out).leaks(train)
    differ = [
        likeness.jaccard(*(likeness.text_of(e.answers[0]) for e in (train[number], leak.held_out)))
        < SAME_ANSWER
        for number, leak in respelled.items()
    ]
    return len(differ), sum(differ)


def data_sets(folder: Path) -> dict[str, dict[str, list[Example]]]:
    """Name -> parts of the packaged course questions and, where they are, a real export and Dolly."""
    specs = {"course-qa": registry.find_dataset("course-qa")}
    export, dolly = (
        folder / "course-qa-export/aiml_questions.csv",
        folder / "dolly/databricks-dolly-15k.jsonl",
    )
    if export.exists():
        specs["export"] = sources.spec_for_file("export", export)
    if dolly.exists():
        specs["dolly"] = sources.from_file(registry.find_dataset("dolly"), dolly)
    return {name: prepare.split(prepare.examples_of(spec), spec) for name, spec in specs.items()}


def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.leaks", description=__doc__)
    options.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help="folder of the real data sets"
    )
    sets = data_sets(options.parse_args().data)
    print(f"{'kept of':<28}" + "".join(f"{name:>20}" for name in sets))
    for line in (*CHANGES, COPIED_ANSWER):
        cells = []
        for parts in sets.values():
            left, total = kept(parts["test"][:QUESTIONS], parts["train"], line)
            cells.append(f"{left:>4} of {total:>3} ({left / max(total, 1):5.1%})")
        print(f"{line:<28}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    print("\nremoved from the data as they are: rows, those with another answer, seconds of processor time")
    for name, parts in sets.items():
        start = process_time()
        rows, differ = removed(parts["train"], parts["test"] + parts["validation"])
        spent = process_time() - start
        total = len(parts["train"])
        share, false = f"({rows / total:.2%})", f"({differ / total:.2%})"
        print(f"{name:<12}{rows:>5} of {total:>6} {share}{differ:>5} {false}{spent:>8.1f}")


if __name__ == "__main__":
    main()
