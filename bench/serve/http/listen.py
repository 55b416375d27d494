"""The server's life: a port, then the models, then requests until a signal; accepted ones are answered."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from bench.errors import RequestError

#: Names by which this machine calls itself; others are refused where only loopback is served.
LOOPBACK = ["localhost", "127.0.0.1", "::1", "[::1]"]
#: Connections that wait to be accepted.
BACKLOG = 2048


@dataclass(frozen=True)
class Address:
    """Where requests come in."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def bind(address: Address) -> socket.socket:
    """A socket of the address, before anything is loaded. Raises `RequestError` where it is taken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address.host, address.port))
    except OSError as error:
        bound.close()
        raise RequestError(
            f"--host {address.host} --port {address.port}: {error.strerror}; choose another --port"
        ) from None
    return bound


def listen(app: FastAPI, bound: socket.socket, names: Sequence[str], grace: float) -> None:
    """Serve until SIGTERM or an interrupt; whoever was accepted has `grace` seconds to be answered."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(grace),
        timeout_keep_alive=5,
        lifespan="on",
    )
    host, port = bound.getsockname()[:2]
    place = f"[{host}]" if ":" in host else host
    bound.listen(BACKLOG)  # who comes between this line and the server's start waits
    print(
        f"bench: serving {', '.join(names)} at http://{place}:{port} (docs: /docs)",
        file=sys.stderr,
        flush=True,
    )
    before = {number: signal.signal(number, _nothing) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(*_: object) -> None:
    """uvicorn raises the signal that ended it once more; that one does nothing."""
