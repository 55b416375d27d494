"""What a row of a user's file becomes: exactly its examples, or one line that refuses the file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.cli import run_verb
from bench.data import layout, prepare, sources
from bench.errors import DataError
from bench.spec import Columns

#: As many plain rows as leave a training and a test part.
PLAIN = 40


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jsonl(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def messages(*turns: tuple[str, str], role: str = "role", content: str = "content") -> list[dict[str, str]]:
    return [{role: speaker, content: text} for speaker, text in turns]


def sharegpt(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return messages(*turns, role="from", content="value")


QA = {"question": "What is red?", "answer": "A colour."}
USER, REPLY = ("user", "Hi?"), ("assistant", "Hello.")


@dataclass(frozen=True)
class Refused:
    """One file, what is said of it, and further words of the command."""

    name: str
    content: bytes
    expected: str
    options: tuple[str, ...] = ()


REFUSED = {
    "an unquoted comma in a later row": Refused(
        "d.csv",
        b"question,answer\nWhat?,That\nWho?,He, of course\n",
        "d.csv: row 2 (to line 3) has 3 cells under a header of 2; "
        "put a cell that holds a comma in double quotes",
    ),
    "a trailing comma": Refused("d.csv", b"question,answer\nWhat?,That,\n", "row 1 (to line 2) has 3 cells"),
    "two columns of one name": Refused(
        "d.csv",
        b"question,answer,answer\nWhat?,right,wrong\n",
        "d.csv: the header has 'answer' twice; rename or remove the second",
    ),
    "two columns of one name but for blanks": Refused(
        "d.csv", b"question,answer, answer\nWhat?,right,wrong\n", "the header has 'answer' twice"
    ),
    "a field twice in one object": Refused(
        "d.jsonl",
        jsonl(QA) + b'{"question": "a", "answer": "b", "answer": "c"}\n',
        "d.jsonl: line 2 has 'answer' twice; rename or remove the second",
    ),
    "a field twice in a JSON list": Refused(
        "d.json", b'[{"question": "a", "answer": "b", "answer": "c"}]', "a row has 'answer' twice"
    ),
    "a number for an answer": Refused(
        "d.jsonl",
        jsonl(QA, {"question": "Two and two?", "answer": 4}),
        "d.jsonl: row 2: 'answer' is the number 4, not text; write it as text, in quotes",
    ),
    "true for an answer": Refused(
        "d.jsonl", jsonl({"question": "Is it?", "answer": True}), "row 1: 'answer' is true or false, not text"
    ),
    "a dictionary for an answer": Refused(
        "d.jsonl",
        jsonl({"question": "a", "answer": {"value": "b"}}),
        "row 1: 'answer' is a dictionary, not text; "
        "write the cell as text, or name another column by --columns",
    ),
    "a list for a question": Refused(
        "d.jsonl", jsonl({"question": ["a", "b"], "answer": "c"}), "row 1: 'question' is a list, not text"
    ),
    "whole columns in one object": Refused(
        "d.json",
        b'[{"questions": ["a", "b"], "answers": ["c", "d"]}]',
        "row 1: 'questions' is a list, not text",
    ),
    "a dictionary for a context": Refused(
        "d.jsonl", jsonl({**QA, "context": {"title": "x"}}), "row 1: 'context' is a dictionary, not text"
    ),
    "a list of numbers for answers": Refused(
        "d.jsonl",
        jsonl({"question": "a", "answers": ["1", 2]}),
        "row 1: 'answers' is a list that holds the number 2; write it as text, in quotes",
    ),
    "a list of dictionaries for answers": Refused(
        "d.jsonl", jsonl({"question": "a", "answers": [{"x": 1}]}), "is a list that holds a dictionary"
    ),
    "a list for an id": Refused("d.jsonl", jsonl({**QA, "id": [1]}), "row 1: 'id' is a list, not text"),
    "choices": Refused(
        "d.jsonl",
        jsonl({**QA, "choices": ["A colour.", "A taste."]}),
        "'choices' holds choices, which are not asked; write them into the question and the right one into "
        "the answer, or read the rows without them by --columns question=question,answer=answer",
    ),
    "a chat of two questions": Refused(
        "d.jsonl",
        jsonl({"messages": messages(USER, REPLY)}, {"messages": messages(USER, REPLY, USER, REPLY)}),
        "d.jsonl: row 2: 'messages' holds 2 user, 2 assistant and 0 system turns; write each row as one user "
        "turn and its answer, with at most one system turn before them",
    ),
    "a chat without an answer": Refused(
        "d.jsonl", jsonl({"messages": messages(USER)}), "holds 1 user, 0 assistant and 0 system turns"
    ),
    "a chat that the assistant opens": Refused(
        "d.jsonl", jsonl({"messages": messages(REPLY, USER)}), "holds 1 user, 1 assistant and 0 system turns"
    ),
    "a tool's turn": Refused(
        "d.jsonl",
        jsonl({"messages": messages(USER, ("tool", "{}"), REPLY)}),
        "row 1: 'messages' has a turn of 'tool'; only system, user and assistant turns can be read",
    ),
    "an image in a turn": Refused(
        "d.jsonl",
        jsonl({"messages": [{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant"}]}),
        "row 1: 'messages' has a turn whose content is list; write it as text",
    ),
    "a chat that is a text": Refused(
        "d.jsonl", jsonl({"messages": "user: Hi"}), "row 1: 'messages' is str, expected a list of messages"
    ),
    "a conversational prompt of two questions": Refused(
        "d.jsonl",
        jsonl({"prompt": messages(USER, REPLY, USER), "completion": messages(REPLY)}),
        "row 1: 'prompt' holds 2 user, 2 assistant and 0 system turns",
    ),
    "messages written out in CSV": Refused(
        "d.csv",
        b"""prompt,completion\n"[{'role': 'user', 'content': 'Hi?'}]",Hello.\n""",
        "row 1: 'prompt' is a list or dictionary written out as text; save the rows as JSONL or Parquet",
    ),
    "SQuAD's answers written out in CSV": Refused(
        "d.csv",
        b"""question,answers\nWhich?,"{'text': array(['red'], dtype=object)}"\n""",
        "row 1: 'answers' is a list or dictionary written out as text",
    ),
    "one question many times": Refused(
        "d.jsonl",
        jsonl(*({"question": "What is thing 3?", "answer": f"It is {n}."} for n in range(PLAIN))),
        "data set 'd': no test example is left of 40 rows (40 of use, 1 different questions); add rows, or "
        "raise --test-fraction",
    ),
    "nothing left to train on": Refused(
        "d.jsonl", jsonl(QA), "no training example is left of 1 rows", ("--test-fraction", "0.999999")
    ),
    "a header alone": Refused("d.csv", b"question,answer\n", "d.csv: no usable example (no rows)"),
    "what cp1252 cannot decode either": Refused(
        "d.csv", b"question,answer\nWhat?,\x81\xe9\n", "(byte 7: 0x81); save the file as utf-8"
    ),
    "cp1252 asked for in vain": Refused(
        "d.csv",
        b"question,answer\nWhat?,\x81\xe9\n",
        "line 2 is not cp1252 (byte 7: 0x81); save the file as utf-8",
        ("--encoding", "CP1252"),
    ),
    "utf-8 that was called cp1252": Refused(
        "d.csv",
        "question,answer\nWhat?,Á\n".encode(),
        "line 2 is not cp1252 (byte 8: 0x81); it decodes as utf-8: say --encoding utf-8",
        ("--encoding", "cp1252"),
    ),
    "one damaged line of utf-8": Refused(
        "d.csv",
        "question,answer\nWhat?,café\n".encode() + b"Who?,caf\xe9\n",
        "line 3 is not utf-8 (byte 9: 0xe9); other lines are utf-8, so this one is damaged; mend it",
    ),
    "utf-16 asked for in vain": Refused(
        "d.csv", b"question,answer\nWhat?,x", "d.csv: is not utf-16 (byte 23)", ("--encoding", "utf-16")
    ),
    "an unknown encoding": Refused(
        "d.csv",
        b"question,answer\nWhat?,That\n",
        "--encoding klingon: unknown encoding 'klingon'; try utf-8, utf-16 or cp1252",
        ("--encoding", "klingon"),
    ),
    "a column that is not there": Refused(
        "d.csv",
        b"Frage,Antwort\nWas?,Das\n",
        "columns.answer = 'A' is not a column; there are: 'Frage', 'Antwort'",
        ("--columns", "question=Frage,answer=A"),
    ),
    "columns by no usual name": Refused(
        "d.csv", b"Frage,Antwort\nWas?,Das\n", "name it by --columns question=COLUMN, or in a spec"
    ),
    "an unknown field": Refused(
        "d.csv",
        b"Q,A\na,b\n",
        "unknown field of --columns 'anser'; did you mean 'answer'?",
        ("--columns", "anser=A"),
    ),
    "columns without a name": Refused(
        "d.csv",
        b"Q,A\na,b\n",
        "--columns Q: expected FIELD=COLUMN,..., as in question=Q,answer=A",
        ("--columns", "Q"),
    ),
    "a test part of all": Refused(
        "d.csv",
        b"Q,A\na,b\n",
        "--test-fraction 1: must lie between 0 and 1, as in 0.3",
        ("--test-fraction", "1"),
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_file_that_would_be_read_wrongly_is_refused(
    capsys: pytest.CaptureFixture[str], here: Path, case: Refused
) -> None:
    """In one line, exit code 2, and without a word of any example."""
    (here / case.name).write_bytes(case.content)
    assert run_verb(["data", "d", "--data", f"d={case.name}", *case.options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert case.expected in captured.err
    assert captured.err.count("\n") == 1


@dataclass(frozen=True)
class Read:
    """One file, its examples as (question, answers, context), and the columns in words."""

    name: str
    content: bytes
    examples: list[tuple[str, tuple[str, ...], str]]
    columns: str
    spec: tuple[tuple[str, Any], ...] = ()


READ = {
    "Alpaca's input": Read(
        "d.jsonl",
        jsonl(
            {"instruction": "Translate.", "input": "chat", "output": "cat"},
            {"instruction": "Count to two.", "input": "", "output": "1 2"},
        ),
        [("Translate.", ("cat",), "chat"), ("Count to two.", ("1 2",), "")],
        "question ← instruction, answer ← output, context ← input",
    ),
    "input and output alone": Read(
        "d.jsonl",
        jsonl({"input": "a?", "output": "b"}),
        [("a?", ("b",), "")],
        "question ← input, answer ← output",
    ),
    "SQuAD's answers": Read(
        "d.jsonl",
        jsonl(
            {
                "id": "1",
                "title": "t",
                "context": "A red, a blue.",
                "question": "Which?",
                "answers": {"text": ["red", "blue", "red"], "answer_start": [2, 9, 2]},
            }
        ),
        [("Which?", ("red", "blue"), "A red, a blue.")],
        "question ← question, answer ← answers, context ← context, id ← id, ignored: title",
    ),
    "a list of answers": Read(
        "d.jsonl",
        jsonl({"question": "Which?", "answers": ["red", None, "blue"]}),
        [("Which?", ("red", "blue"), "")],
        "question ← question, answer ← answers",
    ),
    "messages": Read(
        "d.jsonl",
        jsonl({"messages": messages(USER, REPLY), "source": "x"}),
        [("Hi?", ("Hello.",), "")],
        "question ← messages, answer ← messages, ignored: source",
    ),
    "messages with a system turn": Read(
        "d.jsonl",
        jsonl({"messages": messages(("system", "Be kind."), USER, REPLY)}),
        [("Hi?", ("Hello.",), "Be kind.")],
        "question ← messages, answer ← messages",
    ),
    "ShareGPT": Read(
        "d.jsonl",
        jsonl({"conversations": sharegpt(("human", "Hi?"), ("gpt", "Hello."))}),
        [("Hi?", ("Hello.",), "")],
        "question ← conversations, answer ← conversations",
    ),
    "a conversational prompt": Read(
        "d.jsonl",
        jsonl({"prompt": messages(("system", "Be kind."), USER), "completion": messages(REPLY)}),
        [("Hi?", ("Hello.",), "Be kind.")],
        "question ← prompt, answer ← completion",
    ),
    "a conversational prompt and a text": Read(
        "d.jsonl",
        jsonl({"prompt": messages(USER), "response": "Hello."}),
        [("Hi?", ("Hello.",), "")],
        "question ← prompt, answer ← response",
    ),
    "a column that the first row lacks": Read(
        "d.jsonl",
        jsonl({"question": "a?", "answer": "b"}, {"question": "c?", "answer": "d", "context": "e"}),
        [("a?", ("b",), ""), ("c?", ("d",), "e")],
        "question ← question, answer ← answer, context ← context",
    ),
    "plural names": Read(
        "d.csv", b"Questions,Answers\na?,b\n", [("a?", ("b",), "")], "question ← Questions, answer ← Answers"
    ),
    "prompts and responses": Read(
        "d.csv", b"prompts,responses\na?,b\n", [("a?", ("b",), "")], "question ← prompts, answer ← responses"
    ),
    "a quoted comma and a short row": Read(
        "d.csv",
        b'question,answer,context\na?,"b, c",d\ne?,f\n',
        [("a?", ("b, c",), "d"), ("e?", ("f",), "")],
        "question ← question, answer ← answer, context ← context",
    ),
    "two answers of different names": Read(
        "d.csv",
        b"question,answer,response\na?,b,c\n",
        [("a?", ("b",), "")],
        "question ← question, answer ← answer, ignored: response",
    ),
    "choices that are not asked for": Read(
        "d.jsonl",
        jsonl({**QA, "choices": ["A colour.", "A taste."]}),
        [("What is red?", ("A colour.",), "")],
        "question ← question, answer ← answer, ignored: choices",
        (("columns", Columns(question="question", answer="answer")),),
    ),
    "a number for a name": Read(
        "d.jsonl",
        jsonl({**QA, "id": 7, "unit": 2}),
        [("What is red?", ("A colour.",), "")],
        "question ← question, answer ← answer, id ← id, category ← unit",
    ),
    "utf-16": Read(
        "d.csv",
        "question,answer\na?,b\u2028\x85c\n".encode("utf-16"),
        [("a?", ("b c",), "")],
        "question ← question, answer ← answer",
        (("encoding", "utf16"),),
    ),
}


@pytest.mark.parametrize("case", READ.values(), ids=READ)
def test_a_file_becomes_exactly_these_examples(here: Path, case: Read) -> None:
    file = here / case.name
    file.write_bytes(case.content)
    prepared = prepare.prepare(sources.spec_for_file("d", file, **dict(case.spec)))
    examples = prepared.train + prepared.validation + prepared.test
    assert {(e.question, e.answers, e.context) for e in examples} == set(case.examples)
    assert prepared.columns == case.columns


def test_a_cell_of_parquet_is_held_to_the_same(here: Path) -> None:
    import pandas as pd

    pd.DataFrame({"question": ["a?", "b?"], "answer": [1.0, None]}).to_parquet(here / "d.parquet")
    with pytest.raises(DataError, match=r"row 1: 'answer' is the number 1\.0, not text"):
        prepare.prepare(sources.spec_for_file("d", here / "d.parquet"))


def plain(number: int) -> dict[str, str]:
    return {"Q": f"What is thing number {number * 7} called?", "A": f"It is called {number}."}


def other_words(text: str) -> str:
    """Eight words that no other text has."""
    digits = sha256(text.encode()).hexdigest().translate(str.maketrans("0123456789", "ghijklmnop"))
    return " ".join(digits[place : place + 8] for place in range(0, 64, 8))


def test_one_instruction_over_many_inputs_is_split_by_the_inputs(here: Path) -> None:
    words = [f"{letter}word" for letter in "abcdefghijklmno"]
    rows = [{"instruction": "Sort.", "input": other_words(a + b), "output": b} for a in words for b in words]
    (here / "d.jsonl").write_bytes(jsonl(*rows))
    prepared = prepare.prepare(sources.spec_for_file("d", here / "d.jsonl"))
    assert len(prepared.test) > 40
    assert len(prepared.train) > 100


@pytest.mark.parametrize("verb", ["data", "plan"])
def test_the_columns_that_are_read_and_ignored_are_printed(
    capsys: pytest.CaptureFixture[str], here: Path, verb: str
) -> None:
    (here / "mine.jsonl").write_bytes(jsonl(*({**plain(n), "score": 1} for n in range(PLAIN))))
    words = (
        ["data", "mine.jsonl"] if verb == "data" else ["plan", "--models", "gpt2", "--train", "mine.jsonl"]
    )
    assert run_verb(words) == 0
    assert "question ← Q, answer ← A, ignored: score\n" in capsys.readouterr().out


def reference_of(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The digest of `mine.csv` under these options."""
    assert run_verb(["data", "mine", "--data", "mine=mine.csv", "--json", *options]) == 0
    return str(json.loads(capsys.readouterr().out)["ref"]["digest"])


def test_an_option_is_part_of_the_identity_only_where_it_changes_what_is_read(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    rows = [f"{row['Q']},{row['A']},other {n}" for n, row in enumerate(map(plain, range(PLAIN)))]
    (here / "mine.csv").write_text("\n".join(["Q,A,B", *rows]))
    usual = reference_of(capsys)
    same = (["--columns", "question=Q,answer=A"], ["--encoding", "cp1252"], ["--test-fraction", "0.3"])
    for options in (*same, ["--encoding", "UTF8"]):
        assert reference_of(capsys, *options) == usual
    for options in (["--columns", "answer=B"], ["--test-fraction", "0.4"]):
        assert reference_of(capsys, *options) != usual


def test_an_encoding_is_named_without_a_spec(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    rows = [f"{row['Q']},café {n}" for n, row in enumerate(map(plain, range(PLAIN)))]
    (here / "mine.csv").write_bytes("\n".join(["question,answer", *rows]).encode("cp1252"))
    assert run_verb(["data", "mine.csv", "--encoding", "cp1252"]) == 0
    assert "café" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["course-qa", "--columns", "answer=topic"], "--columns: describes a file without a spec, and"),
        (["dolly", "--data", "dolly=d.csv", "--encoding", "cp1252"], "--encoding: describes a file without"),
        (["course-qa", "--data", "x=d.csv"], "--data x=...: is not used; the request names course-qa"),
        (["nowhere.csv"], "nowhere.csv: is no file and no registered data set"),
        (["./dolly.csv"], "'dolly' is a registered name; give it one by --data NAME=dolly.csv"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], here: Path, words: list[str], expected: str
) -> None:
    for name in ("d.csv", "dolly.csv"):
        (here / name).write_text("Q,A\na,b\n")
    assert run_verb(["data", *words]) == 2
    assert expected in capsys.readouterr().err


def test_no_test_example_is_refused_even_by_force(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "d.csv").write_text("Q,A\nwhat,that\n")
    assert run_verb(["run", "--models", "gpt2", "--train", "d.csv", "--force"]) == 2
    assert "only 0 test examples" in (said := capsys.readouterr().err)
    assert "--force" not in said


def test_of_a_hub_data_set_the_columns_of_its_spec_are_shown() -> None:
    """Nothing is fetched for it."""
    known = registry.datasets()
    assert layout.in_words(known["openorca"]) == (
        "question ← question, answer ← response, context ← system_prompt"
    )
    assert layout.in_words(known["guanaco"]) == "question and answer ← the first two turns of text"


def test_packaged_data_keeps_its_identity() -> None:
    """Records that are committed name these digests."""
    digests = {
        name: prepare.reference(registry.find_dataset(name)).digest[:8] for name in ("course-qa", "dolly")
    }
    assert digests == {"course-qa": "c7e35920", "dolly": "2fde98c2"}
