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
from bench.errors import BenchError, DataError, SpecError, Unreadable
from bench.spec import DatasetSpec, ModelSpec

quickly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Characters that specs and data files use for more than text.
LETTERS = st.sampled_from("abz0_.=\"[]{}#,:\\\n\r\t 'é漢\u2028\ufeff\0")
TEXT = st.text(LETTERS | st.characters(codec="utf-8"), max_size=60)
#: Keys of a model spec beside keys that are none, and values of every type of TOML.
KEYS = st.sampled_from(
    [*ModelSpec.model_fields, *DatasetSpec.model_fields, "epochs", "trust_remote_code", "x"]
)
VALUES = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    TEXT.map(json.dumps),
    st.just("[]"),
    st.just("{}"),
    st.just("1979-05-27"),
)
LINES = st.lists(st.tuples(KEYS, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"), max_size=8)
SPECS = st.one_of(TEXT, LINES.map("\n".join), st.binary(max_size=60))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["question", "answer", "id", "context", "x"]), JSON, max_size=4),
    max_size=6,
)
CELLS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


def written(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@quickly
@given(content=SPECS)
@pytest.mark.parametrize("load", [registry.load_model, registry.load_dataset])
def test_every_text_is_a_spec_or_its_mistakes_by_name(
    tmp_path: Path, load: Callable[[Path], Any], content: str | bytes
) -> None:
    file = written(tmp_path / "x.toml", content)
    try:
        spec = load(file)
    except SpecError as error:
        lines = str(error).splitlines()
        assert len(lines) >= len(error.mistakes) >= 1
        assert lines[0].startswith(str(file))
    else:
        assert spec.name == "x"


@quickly
@given(rows=ROWS)
def test_every_list_of_json_objects_is_read_back_or_refused_by_its_file(tmp_path: Path, rows: Any) -> None:
    """What is read is what was written, and preparing it ends in examples or one line."""
    file = written(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    spec = sources.spec_for_file("x", file)
    try:
        read = list(sources.rows(spec))
        assert json.dumps(read) == json.dumps(rows)
        assert prepare.prepare(spec).counts["read"] == len(rows)
    except DataError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)


@quickly
@given(cells=CELLS)
def test_every_table_that_csv_can_write_is_read_back(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    """Cells with commas, quotes and line breaks; a stray carriage return inside one is a blank."""
    file = tmp_path / "x.csv"
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("question", "answer"), *cells])
    try:
        read = [(row["question"], row["answer"]) for row in sources.rows(sources.spec_for_file("x", file))]
    except DataError as error:
        assert str(file) in str(error)
        return
    assert read == [tuple(cell.replace("\r\n", "\n").replace("\r", " ") for cell in row) for row in cells]


@quickly
@given(content=st.one_of(TEXT, st.binary(max_size=80), JSON.map(json.dumps)))
def test_every_document_is_a_value_that_can_be_written_again_or_refused(
    tmp_path: Path, content: str | bytes
) -> None:
    file = written(tmp_path / "x.json", content)
    try:
        value = files.json_value(file)
    except Unreadable as error:
        assert str(error).startswith(str(file))
    else:
        json.dumps(value, ensure_ascii=False).encode()


@quickly
@given(name=TEXT)
def test_every_name_of_a_model_is_a_spec_or_a_line(name: str) -> None:
    try:
        registry.find_model(name)
    except BenchError as error:
        assert str(error)
