"""`bench data pages`: of a site exactly what stands on it, asked for as its owner would have it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.cli import run_verb
from bench.curate.pages import addresses, text
from bench.curate.pages.fetch import Fetcher, Page, PageProblem
from bench.curate.pages.kept import Kept
from bench.curate.pages.robots import Rules
from bench.errors import UnsafeRequest
from bench.verbs import data_pages
from tests import site as sites
from tests.site import Site

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def site() -> Iterator[Site]:
    with sites.served() as served:
        yield served


def words(site: Site, *options: str) -> list[str]:
    quick = ["--delay", "0.001", "--timeout", "0.4", "--pages", "500", "--depth", "9"]
    return ["data", "pages", site.url, "--to", "archive", "--allow-private", *quick, *options]


def passages(here: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (here / "passages" / "archive.jsonl").open(encoding="utf-8")]


@dataclass(frozen=True)
class Crawled:
    """A site that was read once, and what was said of it."""

    site: Site
    folder: Path
    said: dict[str, Any]


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    folder = tmp_path_factory.mktemp("crawl")
    with pytest.MonkeyPatch.context() as patch, sites.served() as site:
        patch.chdir(folder)
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert run_verb([*words(site), "--json"]) == 0
        yield Crawled(site, folder, json.loads(out.getvalue()))


def test_what_is_kept_of_a_site_is_what_was_put_in(crawled: Crawled) -> None:
    """No navigation, no footer, no copy; every passage under its heading, with a page that holds it."""
    kept = [(passage["heading"], passage["text"]) for passage in passages(crawled.folder)]
    assert len(kept) == len(set(kept))
    assert set(kept) == sites.expected()
    for passage in passages(crawled.folder):
        shown, _, _ = crawled.site.page(passage["url"].removeprefix(crawled.site.url[:-1]))
        assert passage["heading"] in shown
    copies = len(sites.COPIES) * 2
    assert crawled.said["dropped"]["passage that is nearly there already"] == 2
    assert crawled.said["dropped"]["passage that is there already"] >= copies


def test_nothing_is_fetched_that_may_not_be(crawled: Crawled) -> None:
    """Disallowed paths, other hosts, and any page twice."""
    assert not [path for path in crawled.site.asked if path.startswith("/private")]
    assert max(crawled.site.counts().values()) == 1
    assert crawled.said["left"]["disallowed by robots.txt"] == 1
    assert crawled.said["left"]["on elsewhere.invalid, which was not named"] == 1
    assert all(agent.startswith("bench-sft/") for agent in crawled.site.agents)


def test_traps_end(crawled: Crawled) -> None:
    """A calendar without end, and a path that grows by itself."""
    assert sum(path.startswith("/calendar") for path in crawled.site.asked) <= 20
    assert sum(path.startswith("/deeper") for path in crawled.site.asked) <= 2


def test_every_page_that_goes_wrong_is_listed_with_its_reason(crawled: Crawled) -> None:
    reasons = {
        problem["url"].removeprefix(crawled.site.url): problem["reason"]
        for problem in crawled.said["problems"]
    }
    for name, reason in {
        "slow": "did not answer within 0.4 s",
        "drip": "did not answer within 0.4 s",
        "broken": "answers 500",
        "missing": "answers 404",
        "loop/1": "leads back to itself",
        "away": "leads to http://elsewhere.invalid/, which lies on elsewhere.invalid, which was not named",
        "huge": "is 200 MB, over 5 MB",
        "endless": "is over 5 MB",
        "file.pdf": "is no page (application/pdf)",
    }.items():
        assert reasons.pop(name) == reason
    assert reasons.pop("garbage").startswith("cannot be read")
    assert not reasons


def test_a_second_crawl_asks_only_what_changed_and_writes_the_same_bytes(
    crawled: Crawled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = crawled.folder / "passages"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    asked = crawled.site.counts()
    monkeypatch.chdir(crawled.folder)
    monkeypatch.setenv("BENCH_CACHE", str(crawled.folder / "cache"))
    assert run_verb([*words(crawled.site), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == len(crawled.said["pages"])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    crawled.site.asked[:] = list(asked.elements())  # the other tests are of the first crawl


def test_an_interrupted_crawl_goes_on_without_asking_twice(
    here: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process, at its first page and among the others."""
    for stop in (1, 25):

        def interrupted(number: int, url: str, stop: int = stop) -> None:
            if number > stop:
                raise KeyboardInterrupt

        monkeypatch.setattr(data_pages, "_note", interrupted)
        assert run_verb(words(site)) == 130
    monkeypatch.setattr(data_pages, "_note", lambda number, url: None)
    assert run_verb(words(site)) == 0
    assert max(site.counts().values()) == 1
    assert {(passage["heading"], passage["text"]) for passage in passages(here)} == sites.expected()


@pytest.mark.slow
def test_a_killed_crawl_goes_on_without_asking_twice(here: Path, site: Site) -> None:
    """SIGKILL at five moments, between two requests."""
    command = [sys.executable, "-m", "bench.cli", *words(site, "--delay", "0.5")]
    for after in (2, 4, 6, 8, 10):
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        with site.answered:
            assert site.answered.wait_for(lambda after=after: len(site.asked) >= after, timeout=60)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run_verb(words(site)) == 0
    assert max(site.counts().values()) == 1
    assert {(passage["heading"], passage["text"]) for passage in passages(here)} == sites.expected()


def test_the_number_of_pages_is_bounded_and_the_rest_is_counted(
    here: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(words(site, "--pages", "5")) == 0
    assert "beyond 5 pages" in capsys.readouterr().out
    assert len({passage["url"] for passage in passages(here)}) <= 5


def test_requests_keep_their_distance(site: Site) -> None:
    fetcher = Fetcher(addresses.hosts_of([site.url]), delay=0.15, allow_private=True)
    began = time.monotonic()
    for _ in range(3):
        assert isinstance(fetcher.fetch(site.url), Page)
    assert time.monotonic() - began >= 0.3


def test_a_private_address_is_asked_only_if_that_is_allowed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["data", "pages", site.url, "--to", "archive"]) == 2
    assert "127.0.0.1 is a private address; pass --allow-private to ask it" in capsys.readouterr().err
    assert not site.asked


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "0.0.0.0"]
)
def test_no_private_address_is_connected_to(address: str) -> None:
    host = addresses.host_of(f"http://{address}/")
    with pytest.raises(UnsafeRequest, match="private address"):
        addresses.resolve(host, "http", allow_private=False)


def test_another_host_is_not_asked_even_if_a_page_leads_there(site: Site) -> None:
    fetcher = Fetcher(addresses.hosts_of([site.url]), allow_private=True)
    answer = fetcher.fetch(site.url.replace("127.0.0.1", "localhost"))
    assert isinstance(answer, PageProblem)
    assert "was not named" in answer.reason
    assert not site.asked


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("/a b?q=ä#top", "https://host.org/a%20b?q=%C3%A4"),
        ("https://HOST.org:443/a%20b", "https://host.org/a%20b"),
        ("//other.org", "https://other.org/"),
        ("mailto:a@b.org", None),
        ("javascript:void(0)", None),
        ("https://user:secret@host.org/", None),
        ("https://host.org:port/", None),
        ("https://[", None),
    ],
)
def test_a_link_has_one_spelling_or_is_none(link: str, expected: str | None) -> None:
    assert addresses.normalised(link, "https://host.org/x/") == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [("ftp://host/x", "is no address of a page"), ("https://", "is no address of a page")],
)
def test_a_url_that_is_none_is_refused(url: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["data", "pages", url, "--to", "x"]) == 2
    assert expected in capsys.readouterr().err


def test_the_charset_of_the_header_counts_before_that_of_the_page() -> None:
    page = Page(
        "u", 200, '<meta charset="utf-8">é'.encode("cp1252"), {"content-type": "text/html; charset=latin-1"}
    )
    assert text.decoded(page).endswith("é")


@pytest.mark.parametrize(
    ("robots", "status", "allowed"),
    [
        ("User-agent: *\nDisallow: /\n", 200, False),
        ("User-agent: other\nDisallow: /\n", 200, True),
        ("User-agent: bench-sft\nDisallow: /page\n\nUser-agent: *\nDisallow:\n", 200, False),
        ("no such page", 404, True),
        ("oops", 500, False),
    ],
)
def test_a_site_decides_what_is_read_of_it(
    here: Path, site: Site, robots: str, status: int, allowed: bool
) -> None:
    """A robots.txt that is missing allows all; one that cannot be had allows nothing (RFC 9309)."""
    site.robots = (robots, status)
    fetcher = Fetcher(addresses.hosts_of([site.url]), delay=0.001, allow_private=True)
    assert Rules(fetcher, Kept(here)).allow(f"{site.url}page/1") is allowed


def test_a_site_may_ask_for_longer_pauses(here: Path, site: Site) -> None:
    site.robots = ("User-agent: *\nCrawl-delay: 7\n", 200)
    fetcher = Fetcher(addresses.hosts_of([site.url]), delay=0.001, allow_private=True)
    Rules(fetcher, Kept(here)).allow(site.url)
    assert fetcher.delays == {addresses.host_of(site.url): 7.0}
