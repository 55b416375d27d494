"""What stands before every route: the token, the size and the patience for a body.

Plain ASGI, so that a stream passes through it piece by piece and a client that hangs up is noticed.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.serve.http.problems import problem

#: Paths that a load balancer asks without a token.
OPEN = ("/healthz", "/readyz")


class Gate:
    """Refuses what is too large, too slow or has no token; counts what was answered."""

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        largest: int,
        patience: float,
        count: Callable[[str, int, float], None],
    ) -> None:
        self.app = app
        self.token = token.encode() if token else None
        self.largest = largest
        self.patience = patience
        self.count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass(scope, receive, watched)
        finally:
            route = scope.get("route")
            self.count(getattr(route, "path", "other"), status, time.perf_counter() - begin)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self.token and scope["path"] not in OPEN and not self._knows(headers.get(b"authorization", b"")):
            answer = problem(
                401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )
            await answer(scope, receive, send)
            return
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.largest:
            await self._too_large()(scope, receive, send)
            return
        try:
            whole = await asyncio.wait_for(self._body(receive), self.patience)
        except TimeoutError:
            await problem(
                408, f"the body did not come within {self.patience:g} seconds", {"Connection": "close"}
            )(scope, receive, send)
            return
        if whole is None:
            await self._too_large()(scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": whole, "more_body": False}
            return await receive()

        await self.app(scope, replay, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; none where it is too large."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(parts)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.largest:
                return None
            if not message.get("more_body"):
                return b"".join(parts)

    def _knows(self, authorization: bytes) -> bool:
        scheme, _, token = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self.token or b"")

    def _too_large(self) -> ASGIApp:
        return problem(413, f"the body has more than {self.largest:,} bytes", {"Connection": "close"})
