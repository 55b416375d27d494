"""`bench data chunk` and `bench data make`: notes become chunks, and chunks pairs that hold."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from bench import registry
from bench.cli import run_verb
from bench.curate.pages.passages import Passage
from bench.curate.pairs import definitions, endpoint, sentences, support
from bench.data import prepare
from bench.verbs import data_make
from tests import chat_endpoint
from tests.chat_endpoint import Answer, pairs

NOTES = """# Bridges

An arch bridge is a bridge with abutments at each end shaped as a curved arch. It carries its load by
compression. Dr. Smith measured it, e.g. in 1900.

What is a truss?
----------------

The truss is a structure of straight members that meet at joints. Trusses are light. It is not heavy.

```
# no heading
```
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(endpoint, "PAUSE", 0.001)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path


def of_rivers(count: int) -> list[Passage]:
    """Passages that share no sentence."""
    return [
        Passage(
            f"https://rivers.org/{n}",
            f"River {n}",
            f"River number {n * 7919} rises in the hills of province {n * 31 + 5} and reaches the sea after "
            f"{n + 90} miles. Its water drives {n + 3} mills, and barges with coal travel upon it.",
        )
        for n in range(count)
    ]


def write(here: Path, passages: list[Passage]) -> None:
    (here / "passages").mkdir(exist_ok=True)
    rows = ({"url": p.url, "heading": p.heading, "text": p.text} for p in passages)
    (here / "passages" / "rivers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def about(text: str) -> tuple[str, str]:
    """A pair that its passage supports."""
    number = text.split()[2]
    return f"Where does river number {number} rise?", text.split(" and ")[0] + "."


def honest(text: str, attempt: int) -> Answer:
    return pairs(about(text))


def make(url: str, *options: str) -> int:
    asked = ["--endpoint", url, "--model", "m"] if url else []
    return run_verb(["data", "make", "rivers", "--from", "rivers", *asked, *options])


def test_notes_are_cut_at_headings_and_sentences(here: Path) -> None:
    """Also at underlined headings; a fence holds none, and an abbreviation ends no sentence."""
    (here / "notes.md").write_text(NOTES)
    assert run_verb(["data", "chunk", "notes.md", "--to", "notes", "--tokens", "24"]) == 0
    rows = [json.loads(line) for line in (here / "passages" / "notes.jsonl").open()]
    assert [row["heading"] for row in rows] == ["Bridges", "Bridges", *["What is a truss?"] * 2]
    assert rows[1]["text"] == ("It carries its load by compression. Dr. Smith measured it, e.g. in 1900.")
    assert "# no heading" in rows[-1]["text"]


def test_no_chunk_is_longer_than_asked_and_no_word_is_lost(here: Path) -> None:
    """Sentences that are longer by themselves are cut between words."""
    text = " ".join(
        f"Sentence {n} has {' '.join('word' + str(n + k) for k in range(n % 40))} in it." for n in range(60)
    )
    chunks = list(sentences.chunks([Passage("", "", text)], 20, 0, lambda words: len(words.split())))
    assert max(len(chunk.text.split()) for chunk in chunks) <= 20
    assert " ".join(chunk.text for chunk in chunks).split() == text.split()


def test_overlapping_chunks_share_sentences(here: Path) -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(9))
    chunks = list(sentences.chunks([Passage("", "", text)], 15, 1, lambda words: len(words.split())))
    for left, right in pairwise(chunks):
        assert sentences.sentences(left.text)[-1] == sentences.sentences(right.text)[0]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("A keystone is a wedge that sits at the top of an arch.", "What is a keystone?"),
        ("Overfitting is the tendency of a model to learn noise in its data.", "What is Overfitting?"),
        (
            "The Bag of Words model is a method to count the words of a text.",
            "What is the Bag of Words model?",
        ),
        ("It is a wedge that sits at the top of an arch.", ""),
        ("This bridge is a bridge that everyone in the town knows well.", ""),
        ("If it rains, the bridge is a danger to all who cross it at night.", ""),
        ("A keystone is heavy.", ""),
    ],
)
def test_a_definition_is_asked_for_and_nothing_else(text: str, question: str) -> None:
    made = [pair.question for pair in definitions.pairs([Passage("", "", text)])]
    assert made == ([question] if question else [])


def test_pairs_are_made_of_notes_without_a_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the card says so."""
    (here / "notes.md").write_text(NOTES)
    assert run_verb(["data", "make", "bridges", "--from", "notes.md"]) == 0
    assert "made by extraction of definitions, without a model" in capsys.readouterr().out
    rows = [json.loads(line) for line in (here / "datasets" / "bridges.jsonl").open()]
    assert rows[0]["question"] == "What is an arch bridge?"
    assert rows[0]["answer"].endswith("It carries its load by compression.")
    assert rows[1]["question"] == "What is a truss?"
    assert "without a model" in (here / "datasets" / "bridges.md").read_text()


def test_pairs_of_one_passage_share_a_group_and_never_straddle_the_split(here: Path) -> None:
    write(here, of_rivers(80))

    def two(text: str, attempt: int) -> Answer:
        number = text.split()[2]
        second = (f"What drives the water of {number}?", text.partition(". ")[2])
        return pairs(about(text), second)

    with chat_endpoint.served(two) as server:
        assert make(server.url) == 0
    prepared = prepare.prepare(registry.find_dataset("rivers"))
    parts = [
        {example.group for example in part} for part in (prepared.train, prepared.validation, prepared.test)
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 80
    assert prepared.counts["kept"] == 160


FAULTS = {
    support.EMPTY: lambda text: ("", "nothing at all here"),
    support.ABOUT_TEXT: lambda text: ("What does the passage say of rivers?", about(text)[1]),
    support.TOO_SHORT: lambda text: ("Is there a river?", "Yes indeed."),
    support.UNSUPPORTED: lambda text: (
        "Who owns it?",
        "Emperor Napoleon bought everything from Spanish bankers.",
    ),
}


def test_pairs_that_do_not_hold_are_dropped_and_the_numbers_add_up(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here, of_rivers(6))

    def faulty(text: str, attempt: int) -> Answer:
        question, answer = about(text)
        bad = [fault(text) for fault in FAULTS.values()]
        return pairs((question, answer), (f"Please, {question}", answer), *bad)

    with chat_endpoint.served(faulty) as server:
        assert make(server.url, "--json") == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts == {"made": 36, support.REPEATED: 6, **dict.fromkeys(FAULTS, 6)}
    assert len((here / "datasets" / "rivers.jsonl").read_text().splitlines()) == 6


def test_what_goes_wrong_is_asked_again_and_paid_for_once(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Limits of the rate, errors of the server, connections that break off, servers without JSON mode."""
    write(here, of_rivers(8))
    first: list[Answer] = [429, 500, "break", 503, 400]

    def moody(text: str, attempt: int) -> Answer:
        place = int(text.split()[2]) // 7919
        return first[place] if attempt == 1 and place < len(first) else honest(text, attempt)

    with chat_endpoint.served(moody) as server:
        assert make(server.url) == 0
        assert set(server.paid.values()) == {1}
        assert len(server.paid) == 8
    assert "8 pairs kept, of 8 passages" in capsys.readouterr().out


def test_a_second_run_costs_nothing_and_gives_the_same_bytes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here, of_rivers(5))
    with chat_endpoint.served(honest) as server:
        assert make(server.url) == 0
        assert "0 answered before: 5 requests to m" in capsys.readouterr().err
        before = (here / "datasets" / "rivers.jsonl").read_bytes()
        assert make(server.url) == 0
        assert "5 answered before: 0 requests to m" in capsys.readouterr().err
        assert sum(server.attempts.values()) == 5
    assert (here / "datasets" / "rivers.jsonl").read_bytes() == before


def test_an_interrupted_command_goes_on_and_pays_for_nothing_twice(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, of_rivers(12))
    with chat_endpoint.served(honest) as server:
        for stop in (2, 5, 9):

            def interrupted(number: int, total: int, stop: int = stop) -> None:
                if number > stop:
                    raise KeyboardInterrupt

            monkeypatch.setattr(data_make, "_note", interrupted)
            assert make(server.url) == 130
        monkeypatch.setattr(data_make, "_note", lambda number, total: None)
        assert make(server.url) == 0
        assert set(server.paid.values()) == {1}
    assert len((here / "datasets" / "rivers.jsonl").read_text().splitlines()) == 12


def test_an_endpoint_that_gives_up_ends_the_command_and_keeps_what_was_answered(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here, of_rivers(12))
    with chat_endpoint.served(
        lambda text, n: 503 if int(text.split()[2]) > 3 * 7919 else honest(text, n)
    ) as server:
        assert make(server.url) == 1
        assert "5 passages in a row without an answer (answers 503)" in capsys.readouterr().err
        server.script = honest
        assert make(server.url) == 0
        assert set(server.paid.values()) == {1}


def test_the_number_of_requests_is_bounded(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, of_rivers(12))
    with chat_endpoint.served(honest) as server:
        assert make(server.url, "--requests", "4") == 0
        assert sum(server.attempts.values()) == 4
    assert "8 passages beyond --requests" in capsys.readouterr().out


def test_a_plan_asks_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, of_rivers(3))
    with chat_endpoint.served(honest) as server:
        assert make(server.url, "--plan") == 0
        assert not server.attempts
    assert "3 passages, 0 answered before: 3 requests to m, about" in capsys.readouterr().out


def test_the_key_goes_to_the_endpoint_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unencrypted only to this machine, nowhere by a redirect, and into no file."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-mine")
    write(here, of_rivers(2))
    with chat_endpoint.served(honest) as server:
        assert make(server.url) == 0
        assert server.keys == {"Bearer secret-of-mine"}
    assert not [file for file in here.rglob("*") if file.is_file() and b"secret-of-mine" in file.read_bytes()]
    assert make("http://elsewhere.invalid/v1") == 2
    assert "would send the key of OPENAI_API_KEY unencrypted" in capsys.readouterr().err
    with chat_endpoint.served(lambda text, n: 307) as server:
        assert make(server.url) == 2
    assert "answers 307" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data", "make", "x", "--from", "nowhere"], "unknown passages 'nowhere'"),
        (["data", "make", "x", "--from", "nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
        (["data", "make", "x", "--from", "rivers", "--model", "m"], "--endpoint and --model belong together"),
        (["data", "make", "dolly", "--from", "rivers"], "NAME dolly: is a registered data set"),
        (
            ["data", "make", "x", "--from", "rivers"],
            "rivers: no pair of 2 passages holds (no definition was found)",
        ),
        (["data", "make", "x", "--from", "bad.jsonl"], "bad.jsonl: row 1 has no 'text'"),
        (["data", "make", "x", "--from", "rivers", "--model", "m", "--endpoint", "host"], "expected a URL"),
        (["data", "chunk", "empty.md", "--to", "x"], "empty.md: holds no text"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_one_line(
    here: Path, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here, of_rivers(2))
    (here / "bad.jsonl").write_text('{"url": "x"}\n')
    (here / "empty.md").write_text("\n")
    assert run_verb(words) == 2
    assert expected in (told := capsys.readouterr().err)
    assert told.count("\n") == 1
