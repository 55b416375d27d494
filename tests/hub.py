"""A stand-in for the Hugging Face hub, over HTTP on the loopback.

A child process reaches it by the variables of `Hub.environment`; huggingface_hub, transformers and
datasets then list, download, authenticate and push as they do against the real hub. Faults are
switched on by the test: a download that is cut, slow answers, errors, refused connections. Every
request is kept, so that a test can count what was fetched.

It leaves out the redirect of large files to a CDN, Xet storage, paged listings, discussions and pull
requests.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Literal
from urllib.parse import unquote, urlsplit

from hub_repositories import Content, Kind, Repository
from hub_routes import Answer, Exchange, Refused

#: Variables that would lead a child process past the stand-in or into the developer's own cache.
CLIENT_SETTINGS = ("HF_", "HUGGING", "TRANSFORMERS_", "DATASETS_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Request:
    """What a client asked for, and what it got."""

    method: str
    #: Decoded, without the query.
    path: str
    user: str | None
    range: str | None
    status: int
    #: Bytes of the body; fewer than announced where the download was cut.
    sent: int


class Hub:
    """Repositories, users and faults of one stand-in; a context manager that serves while it is open."""

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        #: Token -> user.
        self.tokens = dict(tokens or {})
        self.repositories: dict[tuple[Kind, str], Repository] = {}
        self.requests: list[Request] = []
        self._lock = Lock()
        self._cuts: list[tuple[str, int]] = []
        self._delays: dict[str, float] = {}
        self._failure: int | None = None
        self._server: _Server | None = None
        self._port = 0

    def __enter__(self) -> Hub:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def environment(self, home: Path, token: str | None = None, **settings: str) -> dict[str, str]:
        """The variables of a child process: this hub, a cache of its own, and no way to the real hub."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(CLIENT_SETTINGS)}
        nowhere = dict.fromkeys(PROXIES, "http://127.0.0.1:9")
        ours = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        login = {"HF_TOKEN": token} if token else {}
        return kept | nowhere | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | ours | login | settings

    def create(
        self,
        repo_id: str,
        files: Mapping[str, bytes | str | Path | Content] | None = None,
        *,
        kind: Kind = "models",
        gated: Literal["auto", "manual", False] = False,
        private: bool = False,
        readers: tuple[str, ...] = (),
        sha: str | None = None,
    ) -> Repository:
        """A new repository, with a first commit."""
        repository = Repository(repo_id, kind, gated, private, set(readers))
        repository.commit(files or {".gitattributes": b""}, title="initial commit", sha=sha)
        self.repositories[kind, repo_id] = repository
        return repository

    # What was requested

    def downloads(self, repo_id: str, revision: str | None = None) -> Counter[str]:
        """File -> how often its content was sent, at any revision or at this one."""
        files = (self._file(sent) for sent in self.requests if sent.method == "GET" and sent.status < 300)
        return Counter(path for name, at, path in files if name == repo_id and revision in (None, at))

    def count(self, method: str, part: str = "") -> int:
        """How many requests of this method have a path that contains this part."""
        return sum(request.method == method and part in request.path for request in self.requests)

    def forget(self) -> None:
        """Start counting afresh."""
        self.requests.clear()

    @staticmethod
    def _file(request: Request) -> tuple[str, str, str]:
        name, _, rest = request.path.strip("/").removeprefix("datasets/").partition("/resolve/")
        revision, _, path = rest.partition("/")
        return name, revision, path

    # Faults

    def cut(self, part: str, after: int, times: int = 1) -> None:
        """End the next downloads whose path contains this part after so many bytes."""
        self._cuts += [(part, after)] * times

    @contextmanager
    def slow(self, seconds: float, part: str = "") -> Iterator[None]:
        """Wait before every answer to a path that contains this part."""
        self._delays[part] = seconds
        try:
            yield
        finally:
            del self._delays[part]

    @contextmanager
    def failing(self, status: int = 503) -> Iterator[None]:
        """Answer everything with this status."""
        self._failure = status
        try:
            yield
        finally:
            self._failure = None

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections."""
        self._close()
        try:
            yield
        finally:
            self._open()

    # For the handler

    def answer(self, method: str, target: str, headers: Message, body: bytes) -> Answer:
        """Route one request, with the faults that are switched on."""
        path = unquote(urlsplit(target).path)
        time.sleep(max((delay for part, delay in self._delays.items() if part in path), default=0))
        user = None
        try:
            if self._failure:
                raise Refused(self._failure, "The hub has a fault")
            user = self._user(headers.get("Authorization"))
            exchange = Exchange(self.repositories, self.url, user, method, target, headers, body)
            answer = exchange.answer()
        except Refused as refused:
            answer = refused.answer
        with self._lock:
            cut = next((cut for cut in self._cuts if method == "GET" and cut[0] in path), None)
            if cut:
                self._cuts.remove(cut)
                answer.announced, answer.body = answer.length, answer.body[: cut[1]]
            sent = 0 if method == "HEAD" else len(answer.body)
            self.requests.append(Request(method, path, user, headers.get("Range"), answer.status, sent))
        return answer

    def _user(self, authorization: str | None) -> str | None:
        if authorization is None:
            return None
        user = self.tokens.get(authorization.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return user

    def _open(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.hub = self
        self._port = self._server.server_port
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _close(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    hub: Hub
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    """A connection for each request, so that a hub that is down has none left open."""

    server: _Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.hub.answer(self.command, self.path, self.headers, body)
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(answer.length)}.items():
            self.send_header(name, value)
        with suppress(BrokenPipeError, ConnectionResetError):  # a client may go away at any time
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks up

    def log_message(self, *_: object) -> None:
        """Requests are kept in `Hub.requests`, not printed."""
