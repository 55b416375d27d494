"""A site on the loopback, as sites are: navigation, footers, copies, traps, and pages that go wrong."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = 48
#: Pages in another charset than UTF-8: named by the header, and declared in the page.
BY_HEADER, BY_META = (3, 9, 27), (4, 14)
COPIES = (1, 2, 6)
STAMP = "Wed, 01 Jan 2025 00:00:00 GMT"
_NOUNS = (
    "bridge",
    "river",
    "engine",
    "harbour",
    "garden",
    "market",
    "library",
    "valley",
    "station",
    "museum",
)
_VERBS = ("carries", "follows", "opens", "reaches", "closes", "measures", "repairs", "supports", "crosses")
_KINDS = ("wooden", "narrow", "ancient", "modern", "quiet", "heavy", "round", "yellow", "frozen", "hidden")

Passage = tuple[str, str]


def passages_of(number: int) -> list[Passage]:
    """(heading, text) of a content page."""
    chance = random.Random(number)

    def sentence() -> str:
        a, b = (
            f"{chance.choice(_KINDS)} {chance.choice(_NOUNS)} number {chance.randrange(10_000)}" for _ in "ab"
        )
        accent = " of Königsgraben café" if number in BY_HEADER + BY_META else ""
        return (
            f"The {a}{accent} {chance.choice(_VERBS)} the {b} before the year {chance.randrange(1000, 2000)}."
        )

    def paragraph() -> str:
        return " ".join(sentence() for _ in range(4))

    headings = [f"Report {number} on the {chance.choice(_NOUNS)}", f"Details of report {number}"]
    return [(heading, f"{paragraph()}\n{paragraph()}") for heading in headings]


def _html(passages: list[Passage], links: list[str], charset: str = "") -> str:
    meta = f'<meta charset="{charset}">' if charset else ""
    menu = "".join(f'<li><a href="{link}">{link.strip("/") or "Home"}</a></li>' for link in links)
    body = ""
    for level, (heading, text) in enumerate(passages, start=1):
        body += f"<h{level}>{heading}</h{level}>" + "".join(f"<p>{line}</p>" for line in text.split("\n"))
    return (
        f"<!doctype html><html lang=en><head>{meta}<title>Reports</title></head><body>"
        f"<nav><ul>{menu}</ul></nav><main><article>{body}"
        "<p>All reports of this archive may be quoted freely as long as the archive is named as a source.</p>"
        "</article></main><footer><p>Copyright of the archive. Imprint and privacy. Subscribe to our "
        "newsletter to hear of new reports every month.</p></footer></body></html>"
    )


class Site:
    """What is served, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.port = 0
        #: What robots.txt says, and its status.
        self.robots = ("User-agent: *\nDisallow: /private/\n", 200)
        self.answered = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def counts(self) -> Counter[str]:
        return Counter(self.asked)

    def page(self, path: str) -> tuple[str, dict[str, str], str]:
        """Text, headers and charset of a page; KeyError for one that does not exist."""
        path, _, query = path.partition("?")
        parts = path.strip("/").split("/")
        kind = {"Content-Type": "text/html; charset=utf-8"}
        if path == "/":
            return _html([("The archive", _WELCOME)], _LINKS), kind, "utf-8"
        if parts[0] == "page" and int(parts[1]) < CONTENT:
            number = int(parts[1])
            links = ["/", "/about", f"/page/{(number + 1) % CONTENT}"]
            if number in BY_HEADER:
                return (
                    _html(passages_of(number), links),
                    {"Content-Type": "text/html; charset=windows-1252"},
                    "cp1252",
                )
            if number in BY_META:
                text = _html(passages_of(number), links, "iso-8859-1")
                return text, {"Content-Type": "text/html"}, "cp1252"
            return _html(passages_of(number), links), kind, "utf-8"
        if parts[0] == "copy":
            return _html(passages_of(int(parts[1])), ["/"]), kind, "utf-8"
        if parts[0] == "near":
            changed = [
                (h, t.replace("before the year", "before about", 1)) for h, t in passages_of(int(parts[1]))
            ]
            return _html(changed, ["/"]), kind, "utf-8"
        if parts[0] == "calendar":
            day = int(query.removeprefix("day=") or 0)
            return _html([("Calendar", _NOTHING)], ["/", f"/calendar?day={day + 1}"]), kind, "utf-8"
        if parts[0] == "deeper":
            return _html([("Calendar", _NOTHING)], ["/", f"{path}/deeper"]), kind, "utf-8"
        if parts[0] in ("private", "about"):
            text = ABOUT[1].replace("about", parts[0])
            return _html([(f"The {parts[0]} page", text)], ["/"]), kind, "utf-8"
        raise KeyError(path)


_WELCOME = (
    "The archive holds reports on many things that were measured long ago, each on a page of its own here."
)
_NOTHING = (
    "There is nothing at all in the calendar of the archive on this day, so please look at another day."
)
ABOUT = (
    "The about page",
    "This is the about page of the archive, which says who runs it and where it is kept today.",
)
WRONG = ("slow", "broken", "missing", "loop/1", "away", "huge", "endless", "file.pdf", "garbage", "drip")
_LINKS = [
    "/about",
    *(f"/page/{number}" for number in range(0, CONTENT, 2)),
    *(f"/copy/{number}" for number in COPIES),
    "/near/8",
    "/calendar?day=0",
    "/deeper",
    "/private/1",
    "/moved",
    *(f"/{name}" for name in WRONG),
    "http://elsewhere.invalid/page",
    "mailto:nobody@example.com",
]


def expected() -> set[Passage]:
    """Every passage that should be kept, each once."""
    content = {passage for number in range(CONTENT) for passage in passages_of(number)}
    return {*content, ("The archive", _WELCOME), ("Calendar", _NOTHING), ABOUT}


@contextmanager
def served() -> Iterator[Site]:
    """The site, until the block ends."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.agents.add(self.headers["User-Agent"])
            with suppress(OSError):
                self.answer()
            with site.answered:
                site.answered.notify_all()

        def answer(self) -> None:
            name = self.path.strip("/")
            if name == "robots.txt":
                text, status = site.robots
                self.send(text.encode(), {"Content-Type": "text/plain"}, status)
            elif name == "slow":
                time.sleep(1.5)
                self.send(b"late", {"Content-Type": "text/html"})
            elif name == "drip":
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                for number in range(100):
                    time.sleep(0.1)
                    self.wfile.write(b"X-%d: y\r\n" % number)
            elif name == "broken":
                self.send(b"oops", {}, 500)
            elif name.startswith("loop"):
                self.send(b"", {"Location": "/loop/2" if name == "loop/1" else "/loop/1"}, 302)
            elif name == "away":
                self.send(b"", {"Location": "http://elsewhere.invalid/"}, 301)
            elif name == "moved":
                self.send(b"", {"Location": "/page/1"}, 301)
            elif name == "huge":
                self.send_response(200)
                self.send_header("Content-Length", "200000000")
                self.end_headers()
                self.wfile.write(b"x" * 1000)
            elif name == "endless":
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                for _ in range(2000):
                    self.wfile.write(b"<p>more and more</p>" * 5000)
            elif name == "file.pdf":
                self.send(b"%PDF-1.4", {"Content-Type": "application/pdf"})
            elif name == "garbage":
                self.wfile.write(b"hello, this is no HTTP\r\n\r\n")
            else:
                self.page()

        def page(self) -> None:
            try:
                text, headers, charset = site.page(self.path)
            except (KeyError, ValueError, IndexError):
                self.send(b"no such page", {}, 404)
                return
            if self.headers["If-Modified-Since"] == STAMP:
                self.send(b"", {}, 304)
            else:
                self.send(text.encode(charset), {**headers, "Last-Modified": STAMP})

        def send(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
