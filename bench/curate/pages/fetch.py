"""One page is asked for, without ever waiting, reading or going further than allowed.

What goes wrong with a page is a `PageProblem` with its reason, never an exception that ends the crawl.
Proxies of the environment are not used: a request goes to the host that was named, or nowhere.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench import __version__
from bench.curate.pages import addresses
from bench.errors import UnsafeRequest

#: How the crawler names itself; robots.txt is read for the first word.
AGENT = "bench-sft"
USER_AGENT = f"{AGENT}/{__version__} (fine-tuning benchmark; reads pages for a data set)"
LARGEST_PAGE = 5_000_000
_CHUNK = 65_536
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Page:
    """An answer: its status, and the body of a page that was sent whole."""

    url: str
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def redirect(self) -> str | None:
        """Where the page is instead; none where it is here."""
        location = self.headers.get("location") if self.status in _REDIRECTS else None
        return addresses.normalised(location, self.url) if location else None


@dataclass(frozen=True)
class PageProblem:
    """A URL that gave no page, and why."""

    url: str
    reason: str


@dataclass
class Fetcher:
    """Asks for pages of the hosts that were named, at most one every `delay` seconds from each."""

    hosts: frozenset[addresses.Host]
    delay: float = 1.0
    timeout: float = 10.0
    allow_private: bool = False
    largest: int = LARGEST_PAGE
    #: Host -> seconds, where its robots.txt asks for more than `delay`.
    delays: dict[addresses.Host, float] = field(default_factory=dict)
    _asked: dict[addresses.Host, float] = field(default_factory=dict)

    def fetch(self, url: str, headers: Mapping[str, str] = {}) -> Page | PageProblem:
        """The answer to one request; redirects are not followed."""
        host = addresses.host_of(url)
        if host not in self.hosts:
            return PageProblem(url, f"lies on {host}, which was not named")
        self._wait(host)
        try:
            return self._ask(url, host, headers)
        except UnsafeRequest as error:
            return PageProblem(url, str(error))
        except TimeoutError:
            return PageProblem(url, f"did not answer within {self.timeout:g} s")
        except ssl.SSLError as error:
            return PageProblem(url, f"has no certificate that can be trusted ({error.reason or error})")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return PageProblem(url, f"cannot be read ({error or type(error).__name__})")
        finally:
            self._asked[host] = time.monotonic()

    def _wait(self, host: addresses.Host) -> None:
        due = self._asked.get(host, 0.0) + max(self.delay, self.delays.get(host, 0.0))
        if host in self._asked and (left := due - time.monotonic()) > 0:
            time.sleep(left)

    def _ask(self, url: str, host: addresses.Host, headers: Mapping[str, str]) -> Page | PageProblem:
        parts = urlsplit(url)
        address, port = addresses.resolve(host, parts.scheme, self.allow_private)
        connection = _Connection(address, port, self.timeout, host.name if parts.scheme == "https" else None)
        watch = threading.Timer(self.timeout * 3, connection.cut)  # a server may send a byte now and then
        watch.daemon = True
        watch.start()
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            sent = {"Host": parts.netloc, "User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
            connection.request("GET", target, headers=sent)
            with connection.getresponse() as response:
                return self._read(url, response, connection)
        except OSError:
            if connection.was_cut:
                raise TimeoutError from None
            raise
        finally:
            watch.cancel()
            connection.close()

    def _read(
        self, url: str, response: http.client.HTTPResponse, connection: _Connection
    ) -> Page | PageProblem:
        received = {name.lower(): value for name, value in response.getheaders()}
        length = received.get("content-length", "")
        if length.isdigit() and int(length) > self.largest:
            return PageProblem(url, f"is {int(length) / 1e6:,.0f} MB, over {self.largest / 1e6:g} MB")
        if response.status != 200:
            return Page(url, response.status, headers=received)
        if (coding := received.get("content-encoding", "identity")) != "identity":
            return PageProblem(url, f"is sent compressed ({coding}), which was not asked for")
        pieces: list[bytes] = []
        size = 0
        while chunk := response.read(_CHUNK):
            size += len(chunk)
            if size > self.largest:
                return PageProblem(url, f"is over {self.largest / 1e6:g} MB")
            pieces.append(chunk)
        if connection.was_cut:
            raise TimeoutError
        return Page(url, 200, b"".join(pieces), received)


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked; the certificate is that of the name."""

    def __init__(self, address: str, port: int, timeout: float, name: str | None) -> None:
        super().__init__(address, port, timeout=timeout)
        self._name = name
        self.was_cut = False

    def connect(self) -> None:
        """Connect, by TLS where a name was given."""
        super().connect()
        if self._name is not None:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self._name)

    def cut(self) -> None:
        """End a connection that takes too long, from another thread."""
        self.was_cut = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
