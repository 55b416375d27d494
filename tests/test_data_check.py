"""`bench data check` and `bench data show`: what a reader should know before training on a data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from bench.cli import run_verb
from bench.curate.fitness import language, personal

Row = dict[str, str]
ROWS = 250


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(seed: str, count: int) -> str:
    """Words that no other seed has."""
    letters = "".join(sha256(f"{seed}{n}".encode()).hexdigest() for n in range(count // 8 + 1))
    letters = letters.translate(str.maketrans("0123456789", "ghijklmnop"))
    return " ".join(letters[place : place + 7] for place in range(0, 8 * count, 8))


def sound(count: int = ROWS) -> list[Row]:
    """Questions of their own, whose answers share a word or three with them and none with each other."""
    rows = []
    for number in range(count):
        topic, *asked = words(f"topic {number}", 4).split()
        answer = f"{' '.join([topic, *asked[: number % 3]])} {words(f'answer {number}', 6 + number % 7)}."
        rows.append({"question": f"What is the {topic} of {' '.join(asked)}?", "answer": answer})
    return rows


def own_words(question: str) -> str:
    return " ".join(word for word in question[:-1].split() if word not in ("What", "is", "the", "of"))


def every(step: int, change: Callable[[Row, int], Row]) -> Callable[[list[Row]], list[Row]]:
    """Change every so many rows."""
    return lambda rows: [change(row, n) if n % step == 0 else row for n, row in enumerate(rows)]


def answered(text: str) -> Callable[[Row, int], Row]:
    return lambda row, n: {**row, "answer": text.format(n=n, word=words(f"x {n}", 1), row=row)}


GERMAN = "Das ist nicht die {word} und es wird auf der {word} für den {word} mit dem {word} gemacht."
#: What is done to sound rows -> the one fault that is found.
FAULTY: dict[str, tuple[Callable[[list[Row]], list[Row]], str]] = {
    "forty rows": (lambda rows: rows[:40], "few_questions"),
    "one mail address": (
        lambda rows: [
            {**rows[0], "answer": f"Write to anna.berg@firma-nord.de. {rows[0]['answer']}"},
            *rows[1:],
        ],
        "personal",
    ),
    "answers given away": (
        every(17, lambda row, n: {"question": f"Is it true? {row['answer']}", "answer": row["answer"]}),
        "in_question",
    ),
    "yes to all": (every(5, answered("That is for nobody to know.")), "same_answer"),
    "one word": (every(4, answered("{word}")), "one_word"),
    "a long story": (
        every(9, lambda row, n: {**row, "answer": f"{row['answer']} {words(f'long {n}', 100)}"}),
        "long",
    ),
    "two answers to each": (
        lambda rows: [
            *rows,
            *(
                {**row, "answer": answered("Rather {word}.")(row, n)["answer"]}
                for n, row in enumerate(rows[:60])
            ),
        ],
        "contradiction",
    ),
    "every row twice": (lambda rows: [*rows, *rows], "duplicates"),
    "German among English": (every(9, answered(GERMAN)), "languages"),
    "mojibake": (every(99, lambda row, n: {**row, "answer": row["answer"] + " cafÃ©"}), "damaged"),
    "a copy that scores": (
        every(1, lambda row, n: {**row, "answer": f"{own_words(row['question'])} {words(f'y {n}', 3)}."}),
        "reference",
    ),
}


def faults(capsys: pytest.CaptureFixture[str], rows: list[Row], *options: str) -> tuple[int, list[str]]:
    """Exit code and faults of `bench data check` on these rows."""
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = run_verb(["data", "check", "mine.jsonl", "--json", *options])
    return code, [finding["fault"] for finding in json.loads(capsys.readouterr().out)["findings"]]


def test_sound_rows_have_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(capsys, sound()) == (0, [])


@pytest.mark.parametrize("name", FAULTY)
def test_each_fault_is_found_and_named_alone(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Exit code 1."""
    change, fault = FAULTY[name]
    assert faults(capsys, change(sound())) == (1, [fault])


def test_answers_that_stand_in_both_parts_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    """In other words than the leak rules of preparation look for."""
    rows = sound(200)
    twins = []
    for number, row in enumerate(rows):
        said = row["answer"].split()
        said[-1] = words(f"other {number}", 1)
        topic = row["question"].split()[3]
        twins.append(
            {"question": f"Explain {topic} with {words(f'p {number}', 3)}.", "answer": " ".join(said)}
        )
    code, found = faults(capsys, [*rows, *twins])
    assert code == 1
    assert "leaked" in found


def test_a_finding_has_its_remedy_and_hides_what_is_private(capsys: pytest.CaptureFixture[str]) -> None:
    rows = FAULTY["one mail address"][0](sound())
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_verb(["data", "check", "mine.jsonl"]) == 1
    out = capsys.readouterr().out
    assert (
        "personal data: 1 of 250 examples hold what looks like personal data or a secret: mail address (1)"
        in out
    )
    assert "remove or replace it before you train" in out
    assert "ann…" in out
    assert "anna.berg" not in out


def test_the_smallest_difference_shrinks_with_the_test_part(capsys: pytest.CaptureFixture[str]) -> None:
    smallest = []
    for limit in ("20", "100"):
        Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sound()))
        run_verb(["data", "check", "mine.jsonl", "--json", "--eval-limit", limit])
        smallest.append(json.loads(capsys.readouterr().out)["smallest_difference"])
    assert 0 < smallest[1] < smallest[0]


def test_the_shipped_course_has_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["data", "check", "course-qa"]) == 0
    assert "nothing that would mislead was found" in capsys.readouterr().out


def test_tokens_are_counted_as_a_model_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["data", "show", "course-qa", "--model", "gpt2", "--max-new-tokens", "20", "--json"]) == 0
    cut = json.loads(capsys.readouterr().out)["cut"]
    assert cut["test answers longer than the 20 tokens that are generated"] > 200
    assert cut["training examples longer than 512 tokens"] == 0


def test_a_data_set_is_shown_with_lengths_and_examples_of_each_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`bench data NAME` is the same as `bench data show NAME`."""
    assert run_verb(["data", "course-qa"]) == 0
    out = capsys.readouterr().out
    for part in ("train", "validation", "test"):
        assert out.count(f"\n--- {part} ") == 5
    assert "test answers longer than the 96 tokens that are generated" in out
    assert run_verb(["data", "show", "course-qa"]) == 0
    assert capsys.readouterr().out == out


def test_near_duplicates_across_the_split_are_shown_in_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        *sound(),
        *({**row, "question": f"Please, {row['question']}", "group": row["answer"]} for row in sound(60)),
    ]
    Path("mine.jsonl").write_text("".join(json.dumps({"group": "", **row}) + "\n" for row in rows))
    assert run_verb(["data", "show", "mine.jsonl", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["near_duplicates"]
    assert pairs
    assert all(left.removeprefix("Please, ") == right.removeprefix("Please, ") for left, right in pairs)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Mail anna.berg@firma-nord.de now", "mail address"),
        ("Call +49 30 1234567 today", "telephone number"),
        ("Call (415) 555-2671 today", "telephone number"),
        ("DE89 3704 0044 0532 0130 00", "account number"),
        ("4111 1111 1111 1111", "card number"),
        ("token ghp_" + "a1B2" * 9, "key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "key"),
    ],
)
def test_personal_data_is_found(text: str, kind: str) -> None:
    assert [name for name, _ in personal.found(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "name@example.com",
        "x@y",
        "ISBN 978-0-13-468599-1",
        "from 1914-1918 and 2000-2010",
        "10.1145/3292500.3330701",
        "1234 5678 9012 3456",
        "pip install torch==2.13.0+cpu",
        "3.14159 2653 5897 9323 846",
    ],
)
def test_numbers_and_examples_are_no_personal_data(text: str) -> None:
    assert not list(personal.found(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the use of a bridge and how is it built?", "English"),
        ("Was ist das für eine Brücke und wie wird sie gebaut?", "German"),
        ("Quelle est la raison pour laquelle les ponts sont dans cette ville?", "French"),
        ("¿Cómo se construye el puente y por qué es más alto que los otros?", "Spanish"),
        ("Что такое мост?", "Cyrillic"),
        ("def add(a, b): return a + b", ""),
    ],
)
def test_a_language_is_told_by_its_commonest_words(text: str, expected: str) -> None:
    assert language.language(text) == expected
