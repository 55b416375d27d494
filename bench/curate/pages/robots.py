"""What a site asks of crawlers (RFC 9309): the only module that imports protego.

A site without robots.txt allows everything; one whose robots.txt cannot be had allows nothing.
"""

from __future__ import annotations

from typing import Any

from bench.curate.pages import addresses
from bench.curate.pages.fetch import AGENT, Fetcher, Page, PageProblem
from bench.curate.pages.kept import Kept

MOST_REDIRECTS = 5
#: Bytes of a robots.txt that are read, as the RFC allows, and seconds that a site may ask to wait at most.
LARGEST, LONGEST_DELAY = 500_000, 60.0


class Rules:
    """robots.txt of each host, read once in a crawl."""

    def __init__(self, fetcher: Fetcher, kept: Kept) -> None:
        self._fetcher = fetcher
        self._kept = kept
        self._rules: dict[tuple[str, addresses.Host], Any] = {}
        #: Hosts whose rules could not be read, so that nothing of them is.
        self.problems: list[PageProblem] = []

    def allow(self, url: str) -> bool:
        """Whether the site lets this crawler ask for a URL."""
        host = addresses.host_of(url)
        scheme = url.partition(":")[0]
        if (scheme, host) not in self._rules:
            self._rules[scheme, host] = self._read(f"{scheme}://{url.split('/')[2]}/robots.txt", host)
        rules = self._rules[scheme, host]
        return rules is not None and bool(rules.can_fetch(url, AGENT))

    def _read(self, url: str, host: addresses.Host) -> Any:
        from protego import Protego

        answer = self._answer(url)
        if isinstance(answer, PageProblem):
            self.problems.append(PageProblem(url, f"{answer.reason}, so nothing of {host} is read"))
            return None
        if answer.status >= 500:
            self.problems.append(PageProblem(url, f"answers {answer.status}, so nothing of {host} is read"))
            return None
        rules = Protego.parse(answer.body[:LARGEST].decode("utf-8", errors="replace"))
        if delay := rules.crawl_delay(AGENT):
            self._fetcher.delays[host] = min(float(delay), LONGEST_DELAY)
        return rules

    def _answer(self, url: str) -> Page | PageProblem:
        """What stands where the redirects of a robots.txt end."""
        answer = self._kept.fetch(url, self._fetcher)
        for _ in range(MOST_REDIRECTS):
            if isinstance(answer, PageProblem) or answer.redirect is None:
                break
            answer = self._kept.fetch(answer.redirect, self._fetcher)
        return answer
