"""A stand-in for an OpenAI-compatible endpoint: slow, wrong, limiting rates, breaking off, and billing."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a request is answered with: a status, a completion, or "break" for a connection that ends.
Answer = int | str


@dataclass
class ChatEndpoint:
    """The server's script, and what was asked and paid for."""

    #: (text of the passage, attempt at it) -> its answer.
    script: Callable[[str, int], Answer]
    url: str = ""
    attempts: Counter[str] = field(default_factory=Counter)
    #: Passages that were answered whole, as often as they were.
    paid: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)


def pairs(*made: tuple[str, str]) -> str:
    """A completion that holds pairs, as chatty models write it."""
    listed = [{"question": question, "answer": answer} for question, answer in made]
    return f"Here you are:\n```json\n{json.dumps({'pairs': listed})}\n```"


@contextmanager
def served(script: Callable[[str, int], Answer]) -> Iterator[ChatEndpoint]:
    """The endpoint, until the block ends."""
    endpoint = ChatEndpoint(script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            passage = body["messages"][0]["content"].rpartition("Passage:\n")[2]
            endpoint.bodies.append(body)
            endpoint.keys.add(self.headers["Authorization"])
            endpoint.attempts[passage] += 1
            answer = endpoint.script(passage, endpoint.attempts[passage])
            with suppress(OSError):
                self.answer(answer, passage)

        def answer(self, answer: Answer, passage: str) -> None:
            if isinstance(answer, int):
                self.send_response(answer)
                if answer == 429:
                    self.send_header("Retry-After", "0")
                self.send_header("Content-Length", "9")
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(b"try later")
                return
            whole = json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            if answer == "break":
                self.wfile.write(whole[:20])
                self.close_connection = True
                return
            self.wfile.write(whole)
            endpoint.paid[passage] += 1

        def log_message(self, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
