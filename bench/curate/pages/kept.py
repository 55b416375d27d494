"""Answers kept on disk: an interrupted crawl goes on where it was, and a later one asks only what changed.

A crawl has a number. Answers of the running crawl are taken as they are; those of an earlier one are asked
for again by their date and tag, and taken where the server says that they stand (304).
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.curate.pages.fetch import Fetcher, Page, PageProblem
from bench.digest import digest
from bench.files import put


@dataclass
class Kept:
    """The answers of one data set's crawls, in a folder."""

    folder: Path
    number: int = 0
    #: Requests that were sent, and pages that stood unchanged since an earlier crawl.
    asked: int = 0
    unchanged: int = 0

    def begin(self) -> None:
        """Go on with a crawl that was interrupted, else begin the next one."""
        state = self._load(self.folder / "crawl.json") or {"number": 0, "finished": True}
        self.number = int(state["number"]) + (1 if state["finished"] else 0)
        self._save(self.folder / "crawl.json", {"number": self.number, "finished": False})

    def finish(self) -> None:
        """Note that the crawl came to its end, so that the next one asks again."""
        self._save(self.folder / "crawl.json", {"number": self.number, "finished": True})

    def fetch(self, url: str, fetcher: Fetcher) -> Page | PageProblem:
        """The answer for a URL: from the disk where this crawl has it, else from the server."""
        file = self.folder / f"{digest(url)[:32]}.json"
        entry = self._load(file)
        if entry is not None and entry["crawl"] == self.number:
            return _answer(entry)
        earlier = _answer(entry) if entry else None
        conditions = _conditions(earlier) if isinstance(earlier, Page) and earlier.status == 200 else {}
        self.asked += 1
        answer = fetcher.fetch(url, conditions)
        if isinstance(answer, Page) and answer.status == 304 and isinstance(earlier, Page):
            self.unchanged += 1
            answer = earlier
        self._save(file, _entry(answer, self.number))
        return answer

    def _load(self, file: Path) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            loaded: dict[str, Any] = json.loads(file.read_bytes())
            return loaded
        return None

    def _save(self, file: Path, value: dict[str, Any]) -> None:
        put(file, json.dumps(value))


def _conditions(page: Page) -> dict[str, str]:
    headers = {}
    if "last-modified" in page.headers:
        headers["If-Modified-Since"] = page.headers["last-modified"]
    if "etag" in page.headers:
        headers["If-None-Match"] = page.headers["etag"]
    return headers


def _entry(answer: Page | PageProblem, crawl: int) -> dict[str, Any]:
    if isinstance(answer, PageProblem):
        return {"crawl": crawl, "url": answer.url, "reason": answer.reason}
    body = base64.b64encode(answer.body).decode()
    return {
        "crawl": crawl,
        "url": answer.url,
        "status": answer.status,
        "headers": answer.headers,
        "body": body,
    }


def _answer(entry: dict[str, Any]) -> Page | PageProblem:
    if "reason" in entry:
        return PageProblem(entry["url"], entry["reason"])
    return Page(entry["url"], entry["status"], base64.b64decode(entry["body"]), entry["headers"])
