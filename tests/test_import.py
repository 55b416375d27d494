"""`bench data import`: whatever kind of file rows come in, they become the same data set."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.cli import run_verb
from bench.data import prepare
from tests import spreadsheets

Row = dict[str, str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(rows: list[Row], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def cells(rows: list[Row]) -> list[list[object]]:
    """Header and rows, units as the numbers that a spreadsheet holds."""
    values = [
        [int(cell) if name == "unit" and cell.isdigit() else cell for name, cell in row.items()]
        for row in rows
    ]
    return [list(rows[0]), *values]


def named(rows: list[Row], question: str, answer: str, **more: str) -> list[dict[str, Any]]:
    return [{question: row["Q"], answer: row["A"], "unit": row["unit"], **more} for row in rows]


def chats(
    rows: list[Row], column: str, speaker: str, body: str, names: tuple[str, str]
) -> list[dict[str, Any]]:
    return [
        {
            column: [{speaker: names[0], body: row["Q"]}, {speaker: names[1], body: row["A"]}],
            "unit": row["unit"],
        }
        for row in rows
    ]


def prompts(rows: list[Row]) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": row["Q"]}],
            "completion": [{"role": "assistant", "content": row["A"]}],
            "unit": row["unit"],
        }
        for row in rows
    ]


def turns(rows: list[Row]) -> list[dict[str, Any]]:
    return [{"text": f"### Human: {row['Q']}### Assistant: {row['A']}", "unit": row["unit"]} for row in rows]


def in_lines(items: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def parquet(file: Path, rows: list[Row]) -> None:
    import pandas as pd

    pd.DataFrame(rows).to_parquet(file)


#: Name of a file -> how the rows of a course are written to it.
FORMS: dict[str, Callable[[Path, list[Row]], object]] = {
    "plain.csv": lambda file, rows: file.write_text(table(rows), encoding="utf-8"),
    "marked.csv": lambda file, rows: file.write_text(table(rows), encoding="utf-8-sig"),
    "excel.csv": lambda file, rows: file.write_text("sep=;\n" + table(rows, ";"), encoding="utf-8"),
    "semicolons.csv": lambda file, rows: file.write_text(table(rows, ";"), encoding="utf-8"),
    "tabs.tsv": lambda file, rows: file.write_text(table(rows, "\t"), encoding="utf-8"),
    "windows.csv": lambda file, rows: file.write_text(table(rows), encoding="cp1252"),
    "utf16.csv": lambda file, rows: file.write_text(table(rows), encoding="utf-16"),
    "utf16-without-mark.tsv": lambda file, rows: file.write_text(table(rows, "\t"), encoding="utf-16-le"),
    "book.xlsx": lambda file, rows: spreadsheets.xlsx(file, {"Notes": [], "Questions": cells(rows)}),
    "book.ods": lambda file, rows: spreadsheets.ods(file, {"Questions": cells(rows)}),
    "lines.jsonl": lambda file, rows: file.write_text(in_lines(named(rows, "question", "answer"))),
    "list.json": lambda file, rows: file.write_text(json.dumps(named(rows, "question", "answer"), indent=1)),
    "held.json": lambda file, rows: file.write_text(json.dumps({"data": named(rows, "question", "answer")})),
    "columns.json": lambda file, rows: file.write_text(
        json.dumps({name: [row[name] for row in rows] for name in rows[0]}, indent=1)
    ),
    "table.parquet": parquet,
    "alpaca.json": lambda file, rows: file.write_text(
        json.dumps(named(rows, "instruction", "output", input=""))
    ),
    "sharegpt.json": lambda file, rows: file.write_text(
        json.dumps(chats(rows, "conversations", "from", "value", ("human", "gpt")))
    ),
    "chat.jsonl": lambda file, rows: file.write_text(
        in_lines(chats(rows, "messages", "role", "content", ("user", "assistant")))
    ),
    "pairs.jsonl": lambda file, rows: file.write_text(in_lines(named(rows, "prompt", "completion"))),
    "prompts.jsonl": lambda file, rows: file.write_text(in_lines(prompts(rows))),
    "guanaco.jsonl": lambda file, rows: file.write_text(in_lines(turns(rows))),
}


@pytest.fixture(scope="module")
def course(shared: Path) -> list[Row]:
    """A course's real export, both of its files, as far as cp1252 can write it."""
    rows = []
    for name in ("aiml_questions.csv", "aiml_unit2.csv"):
        text = (shared / "data" / "course-qa-export" / name).read_text(encoding="utf-8")
        for row in csv.DictReader(io.StringIO(text, newline="")):
            unit = row.get("unit") or row.get("Unit") or ""
            rows.append({"Q": row["Q"] or "", "A": row["A"] or "", "unit": unit})
    return [row for row in rows if _fits_cp1252("".join(row.values()))]


def _fits_cp1252(text: str) -> bool:
    return text.encode("cp1252", "ignore").decode("cp1252") == text


@pytest.fixture(scope="module")
def expected(course: list[Row], tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """The data set of the plain file, and the digest under which runs know it."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        FORMS["plain.csv"](folder / "plain.csv", course)
        assert run_verb(["data", "import", "plain.csv", "--to", "course"]) == 0
        digest = prepare.reference(registry.find_dataset("course")).digest
    return (folder / "datasets" / "course.jsonl").read_bytes(), digest


@pytest.mark.parametrize("name", FORMS)
def test_a_course_is_the_same_data_set_in_every_form(
    here: Path, course: list[Row], expected: tuple[bytes, str], name: str
) -> None:
    """The same examples byte for byte, hence the same digest and the same split."""
    FORMS[name](here / name, course)
    assert run_verb(["data", "import", name, "--to", "course"]) == 0
    assert (here / "datasets" / "course.jsonl").read_bytes() == expected[0]
    assert prepare.reference(registry.find_dataset("course")).digest == expected[1]


def test_a_workbook_is_trained_on_without_being_imported_first(
    here: Path, capsys: pytest.CaptureFixture[str], course: list[Row]
) -> None:
    """And the reader is told how it was read; the split is that of the same rows in CSV."""
    spreadsheets.xlsx(here / "course.xlsx", {"Questions": cells(course)})
    FORMS["plain.csv"](here / "plain.csv", course)
    parts = {}
    for name in ("course.xlsx", "plain.csv"):
        assert run_verb(["data", name, "--json"]) == 0
        parts[name] = json.loads(capsys.readouterr().out)["counts"]
    assert parts["course.xlsx"]["test"] == parts["plain.csv"]["test"]
    assert run_verb(["plan", "--models", "gpt2", "--train", "course.xlsx"]) == 0
    assert "read from course.xlsx: course.xlsx, sheet 'Questions'" in capsys.readouterr().out


def test_a_folder_of_two_kinds_is_one_data_set(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file by its own columns; what is no data is named."""
    folder = here / "mine"
    folder.mkdir()
    (folder / "a.csv").write_text("Q,A\nWhat is red?,A colour.\n")
    (folder / "b.json").write_text('[{"instruction": "Add.", "input": "1 2", "output": "3"}]')
    (folder / "notes.docx").write_text("no data")
    assert run_verb(["data", "import", "mine", "--to", "mine"]) == 0
    out = capsys.readouterr().out
    assert "a.csv: 1 rows, question and answer columns" in out
    assert "b.json: 1 rows, Alpaca" in out
    assert "left out: notes.docx: no data file" in out
    assert [json.loads(line)["answer"] for line in (here / "datasets" / "mine.jsonl").open()] == [
        "A colour.",
        "3",
    ]


LONG = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "One?"},
    {"from": "gpt", "value": "1"},
    {"from": "human", "value": "And two?"},
    {"from": "gpt", "value": "2"},
    {"from": "human", "value": "Three?"},
]


def test_of_a_conversation_the_first_exchange_is_kept_and_the_others_are_counted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "c.jsonl").write_text(in_lines([{"conversations": LONG}]))
    assert run_verb(["data", "import", "c.jsonl", "--to", "c"]) == 0
    out = capsys.readouterr().out
    assert "1 times: later exchange left out (--turns all makes each an example)" in out
    assert "1 times: question without an answer left out" in out
    assert json.loads((here / "datasets" / "c.jsonl").read_text()) == {
        "question": "One?",
        "answer": "1",
        "context": "Be brief.",
    }


def test_every_exchange_of_a_conversation_may_be_an_example(here: Path) -> None:
    """With what was said before as its context, and one group, so that none is a hint for another."""
    (here / "c.jsonl").write_text(in_lines([{"conversations": LONG}]))
    assert run_verb(["data", "import", "c.jsonl", "--to", "c", "--turns", "all"]) == 0
    first, second = map(json.loads, (here / "datasets" / "c.jsonl").open())
    assert second["context"] == "Be brief.\nUser: One?\nAssistant: 1"
    assert (second["question"], second["answer"]) == ("And two?", "2")
    assert first["group"] == second["group"]


def test_text_that_was_decoded_wrongly_is_mended_and_counted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The change is shown, also in the card; other texts keep every character."""
    (here / "m.csv").write_text("Q,A\nWas?,Das ist schÃ¶n und cafÃ© auch.\nWer?,“Ich”…\n", encoding="utf-8")
    assert run_verb(["data", "import", "m.csv", "--to", "m"]) == 0
    assert "1 texts mended that were decoded wrongly before" in capsys.readouterr().out
    answers = [json.loads(line)["answer"] for line in (here / "datasets" / "m.jsonl").open(encoding="utf-8")]
    assert answers == ["Das ist schön und café auch.", "“Ich”…"]
    assert 'became "Das ist schön' in (here / "datasets" / "m.md").read_text(encoding="utf-8")


def test_stray_bytes_of_another_encoding_are_read_and_counted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "m.csv").write_bytes("Q,A\nWas?,schön\n".encode() + b"Wo?,dort\xa0dr\xfcben\n")
    assert run_verb(["data", "import", "m.csv", "--to", "m"]) == 0
    assert "utf-8, with 1 lines of cp1252" in capsys.readouterr().out
    assert "dort drüben" in (here / "datasets" / "m.jsonl").read_text(encoding="utf-8")


def test_importing_again_gives_the_same_bytes_and_replaces_nothing_written_by_hand(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "m.csv").write_text("Q,A\nWhat is red?,A colour.\n")
    assert run_verb(["data", "import", "m.csv", "--to", "m"]) == 0
    before = {file.name: file.read_bytes() for file in (here / "datasets").iterdir()}
    assert run_verb(["data", "import", "m.csv", "--to", "m"]) == 0
    assert {file.name: file.read_bytes() for file in (here / "datasets").iterdir()} == before
    (here / "datasets" / "m.toml").write_text('file = "m.jsonl"\n')
    assert run_verb(["data", "import", "m.csv", "--to", "m"]) == 2
    assert "was written by hand; choose another name, or pass --force" in capsys.readouterr().err


def test_rows_that_become_no_example_are_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "m.csv").write_text("Q,A\nWhat is red?,A colour.\n,Nothing.\nWho?,\n")
    assert run_verb(["data", "import", "m.csv", "--to", "m", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts == {"read": 3, "empty question": 1, "empty answer": 1}


@pytest.mark.parametrize(
    ("encoding", "expected"), [("cp1252", "mine: read as cp1252"), ("utf-16", "mine: read as utf-16")]
)
def test_the_encoding_of_a_file_that_is_trained_on_is_found_and_told(
    here: Path, capsys: pytest.CaptureFixture[str], encoding: str, expected: str
) -> None:
    text = "question,answer\n" + "".join(f"Wo ist {n * 7}?,Café {n}\n" for n in range(40))
    (here / "mine.csv").write_bytes(text.encode(encoding))
    assert run_verb(["plan", "--models", "gpt2", "--train", "mine.csv"]) == 0
    assert expected in capsys.readouterr().out
    assert run_verb(["data", "mine.csv"]) == 0
    out = capsys.readouterr().out
    assert expected in out
    assert "Café" in out


def test_bench_check_reads_a_workbook_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[f"What is {n * 7} of {n}?", f"It is called {n} by all."] for n in range(40)]
    spreadsheets.xlsx(here / "mine.xlsx", {"S": [["Q", "A"], *rows]})
    assert run_verb(["check", "--data", "mine=mine.xlsx"]) == 0
    assert run_verb(["check", "--data", "mine=nowhere.xlsx"]) == 2
    assert "nowhere.xlsx: no such file or folder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["data", "import", "b.xlsx", "--to", "b"], "python-calamine", "bench-sft[data]"),
        (["data", "pages", "http://127.0.0.1:1/", "--to", "b"], "trafilatura", "bench-sft[pages]"),
    ],
)
def test_what_needs_an_extra_names_it(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    package: str,
    extra: str,
) -> None:
    spreadsheets.xlsx(here / "b.xlsx", {"S": [["Q", "A"], ["a", "b"]]})
    without(monkeypatch, package)
    assert run_verb(words) == 2
    assert f"pip install '{extra}'" in capsys.readouterr().err


def test_without_the_extra_damaged_text_is_counted_and_stays(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "m.csv").write_text("Q,A\nWas?,schÃ¶n\n", encoding="utf-8")
    without(monkeypatch, "ftfy")
    assert run_verb(["data", "import", "m.csv", "--to", "m"]) == 0
    assert "1 texts look as if they were decoded wrongly, and stay as they are" in capsys.readouterr().out


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """The distributions, but for one."""
    version = metadata.version

    def missing(name: str) -> str:
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", missing)


HEAD = ["unit", "question", "answer"]
WORKBOOKS: dict[str, tuple[dict[str, spreadsheets.Rows], tuple[str, ...], list[Any], str]] = {
    "a merged cell stands for every row that it covers": (
        {"S": [HEAD, ["One", "a?", "b"], [None, "c?", "d"], ["Two", "e?", "f"]]},
        ("A2:A3",),
        ["One", "One", "Two"],
        "1 cells take the value of the cell that they are merged with",
    ),
    "a title above the header is left out": (
        {"S": [["Exam of 2024"], [], HEAD, ["One", "a?", "b"]]},
        ("A1:C1",),
        ["One"],
        "1 rows above the header left out",
    ),
    "a sheet without questions is left out beside one with": (
        {"Notes": [["To do"], ["nothing"]], "S": [HEAD, ["One", "a?", "b"]]},
        (),
        ["One"],
        "left out: b.xlsx, sheet 'Notes': no column for the question",
    ),
    "a computed formula is its value, and numbers are text": (
        {"S": [HEAD, [2.0, "Two and two?", "=2+2|4"], ["=1+2|3", "Half?", 0.5]]},
        (),
        ["2", "3"],
        "b.xlsx, sheet 'S': 2 rows, question and answer columns",
    ),
}


@pytest.mark.parametrize("name", WORKBOOKS)
def test_workbooks_are_read_as_people_make_them(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    sheets, merged, units, told = WORKBOOKS[name]
    spreadsheets.xlsx(here / "b.xlsx", sheets, merged)
    assert run_verb(["data", "import", "b.xlsx", "--to", "b"]) == 0
    assert told in capsys.readouterr().out
    rows = [json.loads(line) for line in (here / "datasets" / "b.jsonl").open()]
    assert [row["category"] for row in rows] == units
    assert all(isinstance(row["answer"], str) for row in rows)


def test_cells_that_are_no_text_are_read_and_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers in JSON, and lists that a table holds written out."""
    (here / "n.jsonl").write_text(in_lines([{"question": "Two and two?", "answer": 4}]))
    chat = "[{'role': 'user', 'content': 'Hi?'}, {'role': 'assistant', 'content': 'Hello.'}]"
    (here / "c.csv").write_text(f'messages\n"{chat}"\n')
    assert run_verb(["data", "import", "n.jsonl", "c.csv", "--to", "m"]) == 0
    out = capsys.readouterr().out
    assert "1 times: cell that is a number, read as text" in out
    assert "1 times: list that was written out as text, read as a list" in out
    rows = [json.loads(line) for line in (here / "datasets" / "m.jsonl").open()]
    assert [(row["question"], row["answer"]) for row in rows] == [("Two and two?", "4"), ("Hi?", "Hello.")]


def test_what_cannot_be_an_example_in_a_conversation_is_counted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turns of tools, images, and an assistant that speaks first."""
    chat = [
        {"role": "assistant", "content": "Welcome."},
        {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": [{"type": "text", "text": "Thanks?"}]},
        {"role": "assistant", "content": "You are welcome."},
    ]
    (here / "c.jsonl").write_text(in_lines([{"messages": chat}]))
    assert run_verb(["data", "import", "c.jsonl", "--to", "c", "--turns", "all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == {
        "turn of the assistant that opens a conversation left out": 1,
        "exchange with a turn that is no text left out": 1,
        "exchange with a tool's turn left out": 1,
    }
    assert json.loads((here / "datasets" / "c.jsonl").read_text())["question"] == "Thanks?"


def test_names_and_letters_that_cannot_be_written_spoil_no_file(here: Path) -> None:
    """A line end in a column's name, and half of a surrogate pair in a text."""
    row = '{"question": "a \\ud83d b?", "answer": "c\\u0000", "x\\n[y]\\ud800": "z"}\n'
    (here / "m.jsonl").write_text(row)
    assert run_verb(["data", "import", "m.jsonl", "--to", "m"]) == 0
    assert registry.find_dataset("m").name == "m"
    assert json.loads((here / "datasets" / "m.jsonl").read_text()) == {"question": "a b?", "answer": "c"}
