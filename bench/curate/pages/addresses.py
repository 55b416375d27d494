"""Which URLs are asked for: those of the hosts that were named, at public addresses, each in one spelling."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from bench.errors import RequestError, UnsafeRequest

_PORTS = {"http": 80, "https": 443}
_SAFE = "/:@!$&'()*+,;=-._~%"
LONGEST_URL = 2000


@dataclass(frozen=True, order=True)
class Host:
    """A host as a URL names it; `port` is none for the usual one of either scheme."""

    name: str
    port: int | None

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


def host_of(url: str) -> Host:
    """The host of a normalised URL."""
    parts = urlsplit(url)
    port = parts.port if parts.port not in (None, *_PORTS.values()) else None
    return Host(parts.hostname or "", port)


def start(url: str) -> str:
    """A URL that a user gives, normalised. Raises `RequestError` for one that cannot be crawled."""
    normal = normalised(url if "://" in url else f"https://{url}")
    if normal is None:
        raise RequestError(f"{url}: is no address of a page; give it as https://HOST/PATH")
    return normal


def normalised(url: str, base: str = "") -> str | None:
    """One spelling of a link, without its fragment; none for what is no page (mail, scripts, passwords)."""
    try:
        parts = urlsplit(urljoin(base, url.strip()))
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError):
        return None
    if parts.scheme not in _PORTS or not host or parts.username or parts.password:
        return None
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"
    path = quote(parts.path, safe=_SAFE) or "/"
    whole = urlunsplit((parts.scheme, netloc, path, quote(parts.query, safe=_SAFE + "?"), ""))
    return whole if len(whole) <= LONGEST_URL else None


def resolve(host: Host, scheme: str, allow_private: bool) -> tuple[str, int]:
    """Address and port to connect to.

    The address is checked and then used, so that no name can answer twice in two ways. Raises `OSError` where
    the name is unknown and `UnsafeRequest` for an address that is not public, unless those are allowed.
    """
    port = host.port or _PORTS[scheme]
    found = socket.getaddrinfo(host.name, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private:
        for address in addresses:
            if not _is_public(address):
                raise UnsafeRequest(f"{host}: {address} is a private address; pass --allow-private to ask it")
    return addresses[0], port


def _is_public(address: str) -> bool:
    value = ipaddress.ip_address(address.split("%")[0])
    mapped = getattr(value, "ipv4_mapped", None) or value
    return mapped.is_global and not mapped.is_multicast


def hosts_of(urls: Iterable[str]) -> frozenset[Host]:
    """The hosts that a crawl may ask."""
    return frozenset(map(host_of, urls))
