"""Passages are written and read again: JSON lines with URL, heading and text, and a card beside them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.curate.pages.crawl import Crawl
from bench.curate.pages.passages import Passage
from bench.data import formats
from bench.digest import digest
from bench.errors import DataError
from bench.registry import PASSAGES

FOLDER = PASSAGES
#: Problems that a card lists by name.
LISTED = 200


def lines(passages: Sequence[Passage]) -> str:
    """JSON lines, one a passage."""
    rows = ({"url": passage.url, "heading": passage.heading, "text": passage.text} for passage in passages)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(
    name: str,
    urls: Sequence[str],
    crawl: Crawl,
    passages: Sequence[Passage],
    counts: Counter[str],
    home: Path,
) -> list[Path]:
    """Write `passages/NAME.jsonl` and its card; their paths. Equal crawls give equal bytes."""
    return write_passages(name, passages, _card(name, urls, crawl, passages, counts), home)


def write_passages(name: str, passages: Sequence[Passage], card: Sequence[str], home: Path) -> list[Path]:
    """Write `passages/NAME.jsonl` and the lines of its card; their paths."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for suffix, content in ((".jsonl", lines(passages)), (".md", "\n".join(card) + "\n")):
        file = folder / f"{name}{suffix}"
        fresh = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        fresh.write_text(content, encoding="utf-8", newline="\n")
        fresh.replace(file)
        files.append(file)
    return files


def read(file: Path) -> list[Passage]:
    """The passages of a file. Raises `DataError` naming the row that is none."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; make one by: bench data pages URL --to NAME")
    with file.open(encoding="utf-8") as handle:
        rows = list(formats.json_rows(handle, file))
    passages = []
    for number, row in enumerate(rows, start=1):
        text, heading, url = (row.get(name, "") for name in ("text", "heading", "url"))
        if not all(isinstance(cell, str) for cell in (text, heading, url)) or not text.strip():
            raise DataError(
                f"{file}: row {number} has no 'text'; a passage is an object with url, heading, text"
            )
        passages.append(Passage(url, heading, text))
    if not passages:
        raise DataError(f"{file}: holds no passage")
    return passages


def _card(
    name: str,
    urls: Sequence[str],
    crawl: Crawl,
    passages: Sequence[Passage],
    counts: Counter[str],
) -> list[str]:
    words = sum(len(passage.text.split()) for passage in passages)
    text = [f"# {name}", "", f"{len(passages):,} passages, {words:,} words, from {len(crawl.pages):,} pages."]
    text += [
        "",
        f"Digest of the passages: `{digest(lines(passages))[:16]}`. Every passage names its page; the",
    ]
    text += ["rights are those of the pages' owners.", "", "## Sources", "", *(f"- {url}" for url in urls)]
    text += ["", "## What was left out", "", *(f"- {count:,}: {reason}" for reason, count in counts.items())]
    text += [f"- {count:,}: link {reason}" for reason, count in sorted(crawl.left.items())]
    text += [f"- {problem.url} {problem.reason}" for problem in crawl.problems[:LISTED]]
    if len(crawl.problems) > LISTED:
        text += [f"- and {len(crawl.problems) - LISTED:,} more pages"]
    return text
