"""A site is read from the pages that were named, link by link, breadth first and in the order of the links.

Bounded by pages, by depth, and by what traps have in common: paths that repeat themselves, and one path under
ever new queries. Everything that was not read is listed with its reason, or counted where it is many.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.curate.pages import addresses, text
from bench.curate.pages.fetch import Fetcher, Page, PageProblem
from bench.curate.pages.kept import Kept
from bench.curate.pages.robots import MOST_REDIRECTS, Rules

#: Queries under which one path is asked for, and how often a part of a path may come again in it.
MOST_QUERIES, MOST_REPEATS = 20, 2


@dataclass(frozen=True)
class Bounds:
    """How much of a site is read."""

    pages: int = 200
    depth: int = 3


@dataclass
class Crawl:
    """What a crawl read, and what it did not."""

    pages: list[text.PageText] = field(default_factory=list)
    problems: list[PageProblem] = field(default_factory=list)
    #: Reason -> links that were not followed.
    left: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    unchanged: int = 0


def crawl(
    urls: Sequence[str], fetcher: Fetcher, kept: Kept, bounds: Bounds, note: Callable[[int, str], None]
) -> Crawl:
    """Read the pages that the URLs lead to; `note` is told number and URL of each before it is read."""
    result = Crawl()
    kept.begin()
    rules = Rules(fetcher, kept)
    queue = deque((url, 0) for url in urls)
    seen = set(urls)
    queries: Counter[str] = Counter()
    while queue:
        url, depth = queue.popleft()
        if len(result.pages) >= bounds.pages:
            result.left[f"beyond {bounds.pages} pages"] += 1
            continue
        if not rules.allow(url):
            result.left["disallowed by robots.txt"] += 1
            continue
        note(len(result.pages) + 1, url)
        document = _document(url, fetcher, kept, rules, seen)
        if isinstance(document, PageProblem):
            result.problems.append(document)
            continue
        if document is None:
            continue
        result.pages.append(document)
        for link in document.links:
            reason = _refusal(link, depth + 1, fetcher, bounds, queries, seen)
            if reason is None:
                seen.add(link)
                queue.append((link, depth + 1))
            elif reason and link not in seen:
                seen.add(link)
                result.left[reason] += 1
    kept.finish()
    result.problems += rules.problems
    result.asked, result.unchanged = kept.asked, kept.unchanged
    return result


def _refusal(
    link: str, depth: int, fetcher: Fetcher, bounds: Bounds, queries: Counter[str], seen: set[str]
) -> str | None:
    """Why a link is not followed; "" for one that is known already, none for one that is."""
    if link in seen:
        return ""
    host = addresses.host_of(link)
    if host not in fetcher.hosts:
        return f"on {host}, which was not named"
    if depth > bounds.depth:
        return f"deeper than {bounds.depth} links"
    parts = urlsplit(link)
    repeats = Counter(part for part in parts.path.split("/") if part)
    if repeats and max(repeats.values()) > MOST_REPEATS:
        return "path that repeats itself"
    if parts.query:
        queries[parts.path] += 1
        if queries[parts.path] > MOST_QUERIES:
            return f"more than {MOST_QUERIES} queries of one page"
    return None


def _document(
    url: str, fetcher: Fetcher, kept: Kept, rules: Rules, seen: set[str]
) -> text.PageText | PageProblem | None:
    """The page of a URL, where its redirects end; none where that page was read already."""
    place, passed = url, [url]
    while True:
        answer = kept.fetch(place, fetcher)
        if isinstance(answer, PageProblem):
            return answer if place == url else PageProblem(url, f"leads to {place}, which {answer.reason}")
        if answer.redirect is None:
            break
        place = answer.redirect
        if place in passed:
            return PageProblem(url, "leads back to itself")
        if len(passed) > MOST_REDIRECTS:
            return PageProblem(url, f"leads on more than {MOST_REDIRECTS} times")
        if place in seen:
            return None
        if addresses.host_of(place) in fetcher.hosts and not rules.allow(place):
            return PageProblem(url, f"leads to {place}, which robots.txt disallows")
        passed.append(place)
        seen.add(place)
    return _read(url, answer)


def _read(url: str, page: Page) -> text.PageText | PageProblem:
    if page.status != 200:
        return PageProblem(url, f"answers {page.status}")
    kind = page.headers.get("content-type", "text/html").partition(";")[0].strip().lower()
    if kind not in ("text/html", "application/xhtml+xml"):
        return PageProblem(url, f"is no page ({kind})")
    return text.document(page)
