"""Files that nobody can read rightly: one line each, with the file, the place in it, and a remedy."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.cli import run_verb
from tests import spreadsheets

HEAD = ["question", "answer"]
ROW = ["What is red?", "A colour."]


@dataclass(frozen=True)
class Bad:
    """What is given to `bench data import`, and what is said of it."""

    name: str
    content: bytes | Callable[[Path], object]
    expected: str
    options: tuple[str, ...] = ()


def book(*rows: list[object], merged: tuple[str, ...] = (), **extra: bytes) -> Callable[[Path], object]:
    return lambda file: spreadsheets.xlsx(file, {"S": [HEAD, *rows]}, merged, extra)


def bomb(file: Path) -> None:
    """60 MB of nothing in a file of 60 kB."""
    file.write_bytes(zipped({"xl/worksheets/sheet1.xml": b"\0" * 60_000_000}))


def zipped(parts: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return whole.getvalue()


def understated(content: bytes) -> bytes:
    """The archive with its longest part said to be of ten bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        longest = max(item.file_size for item in archive.infolist())
    return content.replace(longest.to_bytes(4, "little"), (10).to_bytes(4, "little"))


def damaged(file: Path) -> None:
    """A workbook with a byte of a packed part turned over."""
    content = bytearray(
        spreadsheets.xlsx(file, {"S": [HEAD, *[[f"q {n}?", f"a {n}"] for n in range(99)]]}).read_bytes()
    )
    start = content.rindex(b"xl/worksheets/sheet1.xml", 0, content.index(b"PK\x01\x02"))
    content[start + 60] ^= 0xFF
    file.write_bytes(bytes(content))


def damaged_parquet(file: Path) -> None:
    import pandas as pd

    pd.DataFrame({"question": ["a"], "answer": ["b"]}).to_parquet(file)
    content = bytearray(file.read_bytes())
    content[-60:-20] = bytes(40)
    file.write_bytes(bytes(content))


def folder(**files: bytes) -> Callable[[Path], object]:
    def make(place: Path) -> None:
        place.mkdir()
        for name, content in files.items():
            (place / name.replace("__", ".")).write_bytes(content)

    return make


def linked(place: Path) -> None:
    """A folder with a link to a file beside it."""
    (place.parent / "secret.csv").write_text("question,answer\na,b\n")
    place.mkdir()
    (place / "inside.csv").symlink_to(place.parent / "secret.csv")


def unreadable(file: Path) -> None:
    file.symlink_to(file)


OLE = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600

BAD = {
    "no such file": Bad("a.csv", lambda file: None, "a.csv: no such file or folder"),
    "an empty file": Bad("a.csv", b"", "a.csv: is empty"),
    "an unknown kind": Bad("a.docx", b"x", "a.docx: unknown kind of file '.docx'; known: .jsonl"),
    "an archive": Bad("a.zip", zipped({"a.csv": b"Q,A\n"}), "a.zip: unknown kind of file '.zip'; unpack it"),
    "a workbook called csv": Bad(
        "a.csv",
        lambda file: spreadsheets.xlsx(file, {"S": [HEAD, ROW]}),
        "a.csv: is a workbook or archive, not text; rename it to .xlsx or .ods",
    ),
    "a link to itself": Bad("a.csv", unreadable, "a.csv: no such file or folder"),
    # text tables
    "a quote that never closes": Bad(
        "a.csv",
        b'question,answer\nWho?,He.\nWhat?,"That\nWhere?,There\n',
        "a.csv: a quote that opens in row 2 (from line 3) never closes; close it, or write a quote inside",
    ),
    "text after a closing quote": Bad(
        "a.csv", b'question,answer\nWho?,"He" said\n', "a.csv: line 2 is not CSV: ',' expected after '\"'"
    ),
    "an unquoted delimiter": Bad(
        "a.csv",
        b"question;answer\nWho?;He; of course\n",
        "a.csv: row 1 (to line 2) has 3 cells under a header of 2; put a cell that holds a semicolon in",
    ),
    "a tab too many": Bad(
        "a.tsv",
        b"question\tanswer\nWho?\tHe\tand\n",
        "a.tsv: row 1 (to line 2) has 3 cells under a header of 2",
    ),
    "a zero byte": Bad(
        "a.csv",
        b"question,answer\nWho?,He\0\n",
        "a.csv: line 2 holds a zero byte, so this is no text or in another encoding",
    ),
    "a zero byte in JSON": Bad(
        "a.jsonl", b'{"question": "Who?", "answer": "He\0"}\n', "a.jsonl: line 1 holds a zero byte"
    ),
    "a header alone": Bad("a.csv", b"question,answer\n", "a.csv: holds no row below its header"),
    "no header": Bad(
        "a.csv", b"What is red?,A colour.\nWho?,He\n", "a.csv: no column for the question; there are:"
    ),
    "another language's header": Bad(
        "a.csv", b"Frage,Antwort\nWas?,Das\n", "name it by --columns question=COLUMN"
    ),
    "a column twice": Bad("a.csv", b"question,answer,answer\na,b,c\n", "the header has 'answer' twice"),
    "a row of 50 MB": Bad(
        "a.csv",
        b"question,answer\nWho?,He\nWhat?," + b"x" * 50_000_000 + b"\n",
        "a.csv: row 2: 'answer' holds 50,000,000 characters, over 1,000,000",
    ),
    "rows without an answer": Bad(
        "a.csv", b"question,answer\nWho?,\n", "a.csv: no example (1 read, 1 empty answer)"
    ),
    # encodings
    "neither utf-8 nor cp1252": Bad(
        "a.csv", b"question,answer\nWho?,\x81\xe9\n", "a.csv: line 2 is not cp1252 (byte 6: 0x81)"
    ),
    "utf-8 with bytes of neither": Bad(
        "a.csv",
        "question,answer\nWho?,é\n".encode() + b"What?,\x81\n",
        "a.csv: line 3 is neither utf-8 nor cp1252 (byte 7: 0x81); mend it, or save the file as utf-8",
    ),
    "half of a utf-16 letter": Bad(
        "a.csv", "question,answer\na,b\n".encode("utf-16") + b"x", "a.csv: is not utf-16"
    ),
    "an unknown encoding": Bad(
        "a.csv", b"Q,A\na,b\n", "unknown encoding 'klingon'", ("--encoding", "klingon")
    ),
    "an encoding that it is not in": Bad(
        "a.csv", b"Q,A\na,b\nx", "a.csv: is not utf-16", ("--encoding", "utf-16")
    ),
    # JSON
    "half a line": Bad(
        "a.jsonl", b'{"question": "a", "answer": "b"}\n{"question"\n', "a.jsonl: line 2 is not JSON"
    ),
    "half a list": Bad("a.json", b'[{"question": "a",\n "answer": "b"}', "a.json: line 2 is not JSON"),
    "a list of texts": Bad(
        "a.json", b'["a", "b"]', "a.json: row 1 is str, expected an object with named fields"
    ),
    "JSON nested 100,000 deep": Bad(
        "a.jsonl",
        b'{"question": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        "a.jsonl: line 1 is nested too deeply",
    ),
    "an object for an answer": Bad(
        "a.jsonl",
        b'{"question": "a", "answer": {"text": {"en": "b"}}}\n',
        "a.jsonl: row 1: 'answer' is a dictionary, not text",
    ),
    "a field twice": Bad(
        "a.jsonl", b'{"question": "a", "answer": "b", "answer": "c"}\n', "line 1 has 'answer' twice"
    ),
    "a speaker that is unknown": Bad(
        "a.jsonl",
        json.dumps({"messages": [{"role": "narrator", "content": "x"}]}).encode(),
        "a.jsonl: row 1: 'messages' has a turn of 'narrator'; only system, user, assistant and tool turns",
    ),
    "a chat of questions alone": Bad(
        "a.jsonl",
        json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode(),
        "a.jsonl: no example (1 read, 1 no question followed by an answer)",
    ),
    "a chat that is half text": Bad(
        "a.jsonl",
        b'{"messages": [{"role": "user", "content": "a"}]}\n{"messages": "x"}\n',
        "a.jsonl: row 2: 'messages' is str, expected a list of messages",
    ),
    "a list that was cut when written out": Bad(
        "a.csv",
        b"""messages\n"[{'role': 'user', 'content': 'Hi"\n""",
        "a.csv: row 1: 'messages' is a list or dictionary written out as text that cannot be read",
    ),
    "plain text": Bad("a.txt", b"Once upon a time.", "a.txt: plain text holds no question"),
    "no Parquet": Bad("a.parquet", b"PAR1 no parquet", "a.parquet: is not Parquet"),
    # workbooks
    "a formula that was never computed": Bad(
        "a.xlsx", book(ROW, ["Two and two?", "=2+2"]), "a.xlsx: sheet1: the formula in B3 has no saved value"
    ),
    "an error in a cell of ODS": Bad(
        "a.ods",
        lambda file: spreadsheets.ods(file, {"S": [HEAD, ROW, ["Who?", "#NAME?"]]}),
        "a.ods, sheet 'S': row 3 holds the error #NAME?; mend its formula",
    ),
    "an error in a cell": Bad(
        "a.xlsx", book(ROW, ["Who?", "#REF!"]), "a.xlsx: sheet1: B3 holds the error #REF!; mend its formula"
    ),
    "cells merged over columns": Bad(
        "a.xlsx",
        book(ROW, ["Chapter 2"], merged=("A3:B3",)),
        "row 3 has a cell merged over 2 columns; split it",
    ),
    "a block of merged cells": Bad(
        "a.xlsx",
        book(ROW, ["Chapter 2"], [None], merged=("A3:B4",)),
        "a cell merged over 2 columns and 2 rows",
    ),
    "empty sheets": Bad(
        "a.xlsx",
        lambda file: spreadsheets.xlsx(file, {"S": [], "T": [HEAD]}),
        "a.xlsx: every sheet is empty, or holds a header alone",
    ),
    "an empty ODS": Bad(
        "a.ods", lambda file: spreadsheets.ods(file, {"S": []}), "a.ods: every sheet is empty"
    ),
    "a header twice in a sheet": Bad(
        "a.xlsx",
        lambda file: spreadsheets.xlsx(file, {"S": [["question", "answer", "answer"], ["a", "b", "c"]]}),
        "a.xlsx, sheet 'S': the header has 'answer' twice",
    ),
    "sheets without questions": Bad(
        "a.xlsx",
        lambda file: spreadsheets.xlsx(file, {"S": [["x", "y"], ["a", "b"]], "T": [["z"], ["c"]]}),
        "a.xlsx, sheet 'S': no column for the question",
    ),
    "a password": Bad(
        "a.xlsx", OLE, "a.xlsx: is protected by a password, or an old .xls; save it as XLSX without"
    ),
    "a password in ODS": Bad(
        "a.ods",
        lambda file: spreadsheets.ods(file, {"S": [HEAD, ROW]}, encrypted=True),
        "is protected by a password",
    ),
    "a damaged old workbook": Bad("a.xls", OLE, "a.xls: is no workbook that can be read"),
    "a zip bomb": Bad("a.xlsx", bomb, "a.xlsx: would unpack to 60 MB from"),
    "a workbook that is text": Bad("a.xlsx", b"question,answer\na,b\n", "a.xlsx: is no workbook"),
    "a workbook that is longer than it says": Bad(
        "a.ods",
        lambda file: file.write_bytes(understated(spreadsheets.ods(file, {"S": [HEAD, ROW]}).read_bytes())),
        "a.ods: is no workbook",
    ),
    "a workbook with a damaged part": Bad("a.xlsx", damaged, "a.xlsx: is no workbook"),
    "damaged Parquet": Bad("a.parquet", damaged_parquet, "a.parquet: is not Parquet"),
    "half a workbook": Bad(
        "a.xlsx",
        lambda file: file.write_bytes(spreadsheets.xlsx(file, {"S": [HEAD, ROW]}).read_bytes()[:900]),
        "a.xlsx: is no workbook",
    ),
    "an archive that holds no workbook": Bad(
        "a.xlsx", zipped({"hello.txt": b"hello"}), "a.xlsx: is no workbook"
    ),
    "broken XML in a workbook": Bad(
        "a.xlsx", book(ROW, **{"xl/worksheets/sheet1.xml": b"<worksheet><sheetData><row"}), "a.xlsx"
    ),
    # folders
    "an empty folder": Bad("mine", folder(), "mine: holds no data file; known: .jsonl"),
    "a folder of other files": Bad("mine", folder(notes__md=b"# hello"), "mine: holds no data file"),
    "a link out of a folder": Bad(
        "mine", linked, "inside.csv: is a link to a place outside the folder; copy the file into it"
    ),
    "a bad file in a folder": Bad(
        "mine", folder(a__csv=b"Q,A\na,b\n", b__csv=b"x,y\n1,2\n"), "b.csv: no column for the question"
    ),
    # the request
    "a name that is none": Bad("a.csv", b"Q,A\na,b\n", "--to a/b: a name is of letters", ("--to", "a/b")),
    "a registered name": Bad(
        "a.csv", b"Q,A\na,b\n", "--to dolly: is a registered data set", ("--to", "dolly")
    ),
    "a test part of all": Bad("a.csv", b"Q,A\na,b\n", "must lie between 0 and 1", ("--test-fraction", "1")),
    "a column that is not there": Bad(
        "a.csv", b"Q,A\na,b\n", "columns.answer = 'X' is not a column", ("--columns", "question=Q,answer=X")
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_imported_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Bad
) -> None:
    """Exit code 2, no traceback, and no data set."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / case.name
    if isinstance(case.content, bytes):
        place.write_bytes(case.content)
    else:
        case.content(place)
    assert run_verb(["data", "import", case.name, "--to", "made", *case.options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert case.expected in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "datasets").exists()
