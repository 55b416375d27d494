"""Properties that hold for every text: of a spec, of a data file, of a document that is read as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import files, registry
from bench.data import prepare, sources
from bench.errors import BenchError
from bench.spec import DatasetSpec, ModelSpec

quickly = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Characters that specs and data files use for more than text.
LETTERS = st.sampled_from("abz0_.=\"[]{}#,:\\\n\r\t 'é漢\u2028\ufeff\0")
TEXT = st.text(LETTERS | st.characters(codec="utf-8"), max_size=60)
#: Keys of both kinds of spec beside keys that are none, and values of every type of TOML.
KEYS = st.sampled_from([*ModelSpec.model_fields, *DatasetSpec.model_fields, "epochs", "x"])
VALUES = st.one_of(
    *(st.integers(), st.floats(), st.booleans(), TEXT.map(json.dumps)),
    st.sampled_from(["[]", "{}", "1979-05-27", "'a'", "[1, 'b']"]),
)
LINES = st.lists(st.tuples(KEYS, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"), max_size=8)
SPECS = st.one_of(TEXT, LINES.map("\n".join), st.binary(max_size=60))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
COLUMNS = st.sampled_from(["question", "answer", "id", "context", "x"])
ROWS = st.lists(st.dictionaries(COLUMNS, JSON, max_size=4), max_size=6)
CELLS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


def written(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def outcome(work: Callable[[], Any]) -> tuple[Any, str]:
    """What something gives, or the text of its refusal; any other exception is a defect."""
    try:
        return work(), ""
    except BenchError as error:
        return None, str(error)


@quickly
@given(content=SPECS)
@pytest.mark.parametrize("load", [registry.load_model, registry.load_dataset])
def test_every_text_is_a_spec_or_its_mistakes_by_name(
    tmp_path: Path, load: Callable[[Path], Any], content: str | bytes
) -> None:
    file = written(tmp_path / "x.toml", content)
    spec, refusal = outcome(lambda: load(file))
    assert refusal.startswith(str(file)) if spec is None else spec.name == "x"


@quickly
@given(rows=ROWS)
def test_every_list_of_json_objects_is_read_back_or_refused_by_its_file(tmp_path: Path, rows: Any) -> None:
    """What is read is what was written, and preparing it ends in examples or one line."""
    file = written(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    spec = sources.spec_for_file("x", file)
    read, refusal = outcome(lambda: list(sources.rows(spec)))
    assert json.dumps(read) == json.dumps(rows) or str(file) in refusal
    prepared, refusal = outcome(lambda: prepare.prepare(spec))
    assert "\n" not in refusal
    assert str(file) in refusal if prepared is None else prepared.counts["read"] == len(rows)


@quickly
@given(cells=CELLS)
def test_every_table_that_csv_can_write_is_read_back(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    """Cells with commas, quotes and line breaks; a stray carriage return inside one is a blank."""
    file = tmp_path / "x.csv"
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("question", "answer"), *cells])
    read, refusal = outcome(lambda: list(sources.rows(sources.spec_for_file("x", file))))
    expected = [[cell.replace("\r\n", "\n").replace("\r", " ") for cell in row] for row in cells]
    assert str(file) in refusal if read is None else [list(row.values()) for row in read] == expected


@quickly
@given(content=st.one_of(TEXT, st.binary(max_size=80), JSON.map(json.dumps)))
def test_every_document_is_a_value_that_can_be_written_again_or_refused(
    tmp_path: Path, content: str | bytes
) -> None:
    file = written(tmp_path / "x.json", content)
    value, refusal = outcome(lambda: files.json_value(file))
    assert refusal.startswith(str(file)) or json.dumps(value, ensure_ascii=False).encode()


@quickly
@given(name=TEXT)
def test_every_name_of_a_model_is_a_spec_or_a_line(name: str) -> None:
    spec, refusal = outcome(lambda: registry.find_model(name))
    assert spec or refusal
