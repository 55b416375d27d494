"""The documentation: links hold, what is generated is fresh, what is said about the program is true."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import ROOT

from bench import stats
from bench.cli import parser_of, run_verb

PAGES = sorted((ROOT / "docs").glob("*.md"))


def printed(capsys: pytest.CaptureFixture[str], topic: str) -> str:
    assert run_verb(["help", topic]) == 0
    return capsys.readouterr().out


def commands() -> list[str]:
    """The commands of all shell blocks."""
    blocks = [
        block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    ]
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("bench ")]


def test_the_command_reference_is_what_the_parsers_say(capsys: pytest.CaptureFixture[str]) -> None:
    """After a change of options: `make docs`, or `bench help commands > docs/commands.md`."""
    assert printed(capsys, "commands") == (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_the_schema_of_a_record_is_that_of_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "schema") == (ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8")


def records() -> list[Path]:
    return sorted((ROOT / "reports").glob("*/runs/*/record.json"))


def test_every_committed_record_follows_the_schema() -> None:
    schema = json.loads((ROOT / "docs" / "record.schema.json").read_text())
    check = jsonschema.Draft202012Validator(schema)
    assert len(records()) > 20
    for file in records():
        assert not list(check.iter_errors(json.loads(file.read_text()))), file


@pytest.mark.parametrize(
    ("key", "value"),
    [("digest", None), ("seed", 1), ("spent", {}), ("id", 3), ("scores", {"tuned": {"rougeL": 0.2}})],
)
def test_another_object_does_not_follow_the_schema(key: str, value: Any) -> None:
    schema = json.loads((ROOT / "docs" / "record.schema.json").read_text())
    record = json.loads(records()[0].read_text())
    if value is None:
        del record[key]
    else:
        record[key] = value
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(record))


def test_every_statistic_stands_on_the_page_about_numbers() -> None:
    page = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
    functions = [name for name in stats.__all__ if name.islower()]
    assert functions
    assert [name for name in functions if f"`{name}`" not in page] == []


def test_every_cited_source_stands_in_a_docstring() -> None:
    """What the page about numbers cites is what the code says that it follows."""
    page = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
    folders = ("stats", "judge", "score")
    code = " ".join(file.read_text() for name in folders for file in (ROOT / "bench" / name).rglob("*.py"))
    code = re.sub(r"[\s()]+", " ", code)
    cited = re.findall(r"([A-Z][a-zé]+)(?: et al\.)? (?:and [A-Z]\w+ )?(19\d\d|20\d\d)", page)
    assert len(cited) >= 10
    for name, year in cited:
        assert re.search(rf"{name}[^.;]{{0,60}}{year}", code), f"{name} {year}"


@pytest.mark.parametrize("command", commands())
def test_no_command_of_the_documentation_has_an_option_that_does_not_exist(command: str) -> None:
    words = shlex.split(command)[1:]
    assert parser_of(words[0]).parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    names = re.findall(r"`((?:bench|benchmarks|docker|tests)/[\w./-]+|[\w-]+\.(?:md|yml))`", page.read_text())
    assert [name for name in names if not (ROOT / name).exists()] == []


def built(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed")
    # not -q: mkdocs then counts no warning, and strict means nothing
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(out)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)


def test_the_site_is_built_and_a_broken_link_is_noticed(tmp_path: Path) -> None:
    done = built(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "numbers.html").is_file()
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs" / "use.md").open("a") as page:
        page.write("\nSee [there](nowhere.md) and [here](index.md#nothing).\n")
    done = built(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "#nothing" in done.stderr
