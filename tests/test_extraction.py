"""The benchmark of extraction: its annotations, and how it counts."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import extraction
from benchmarks.extraction import Annotated, Kept, mark

HTML = b"""<html><body><nav><a href="/">All releases</a> <a href="/b">Site map</a></nav><main><h1>Notes</h1>
<p>A tree of <em>many</em> leaves grows slowly, and it is cut back in the spring of every second year.</p>
<p>Its roots reach water that lies three metres below the ground, even in the driest of summers.</p></main>
<footer>Copyright 2020 Nobody</footer></body></html>"""
PAGE = Annotated(
    "pypi",
    "trees",
    "1.0",
    "doc/notes.html",
    "3a0b2d",
    [*map(mark, ("A tree of many leaves grows slowly", "Its roots reach water", "It never rains"))],
    [*map(mark, ("All releases", "Copyright 2020"))],
)


def test_twenty_pages_are_annotated() -> None:
    """With about a dozen sentences each, and navigation wherever a page has any."""
    pages = extraction.annotated()
    assert len({(page.package, page.path) for page in pages}) == 20
    assert all(8 <= len(set(page.facts)) <= 13 for page in pages)
    assert sum(bool(page.navigation) for page in pages) == 19
    assert Counter(page.source for page in pages) == {"pypi": 9, "debian": 11}


def test_a_mark_finds_its_sentence_and_does_not_hold_it() -> None:
    marked = mark("A tree of many leaves")
    assert marked.startswith("atreeo 17 ")
    assert extraction.stands(marked, extraction.folded("A treeo; a tree of many LEAVES grows"))
    assert not extraction.stands(marked, extraction.folded("A tree of many loaves grows"))
    lines = [line for page in extraction.annotated() for line in (*page.facts, *page.navigation)]
    assert all(len(line) <= 6 + 1 + 3 + 1 + 16 for line in lines)


def test_what_is_kept_is_counted_by_letters_and_digits() -> None:
    assert extraction.kept("a tree of\nMANY leaves, grows slowly! all releases", PAGE) == Kept(1, 3, 1, 2)
    total = Kept(1, 3, 1, 2)
    total.add(Kept(2, 3, 0, 2))
    assert (total.recall, total.precision) == (0.5, 0.75)
    assert Kept().recall == Kept().precision == 0


def test_navigation_is_in_all_text_and_not_in_what_is_extracted() -> None:
    """Of a page on which everything stands as it should."""
    assert extraction.kept(extraction.all_text(HTML), PAGE) == Kept(2, 3, 2, 2)
    assert extraction.kept(extraction.by_bench(HTML), PAGE) == Kept(2, 3, 0, 2)


def packed(folder: Path, name: str) -> None:
    """A source distribution that is in the folder already."""
    place = folder / "pypi-trees"
    place.mkdir()
    with tarfile.open(place / "trees-1.0.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(HTML)
        archive.addfile(member, io.BytesIO(HTML))


def test_a_page_is_taken_out_of_its_package_by_path_and_digest(tmp_path: Path) -> None:
    packed(tmp_path, "trees-1.0/doc/notes.html")
    assert extraction.content_of(PAGE, tmp_path) == "is another page than the one that was annotated"
    digest = subprocess.run(["sha256sum"], input=HTML, capture_output=True, check=True).stdout.decode()[:16]
    assert extraction.content_of(replace(PAGE, digest=digest), tmp_path) == HTML
    assert extraction.content_of(replace(PAGE, path="doc/gone.html"), tmp_path) == "is not in its package"


def test_a_package_that_cannot_be_had_leaves_its_page_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    extraction.report([replace(PAGE, source="debian")], tmp_path)
    out = capsys.readouterr().out
    assert "trees notes.html" in out
    assert "cannot be had" in out
    assert "0 of 1 pages" in out
