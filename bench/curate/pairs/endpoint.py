"""Pairs by a model behind an OpenAI-compatible endpoint: one request a passage, paid for once.

An answer is kept under the digest of all that it depends on, so an interrupted command goes on where it was
and a second one costs nothing. The key comes from the environment, goes to the endpoint alone (no redirect is
followed, and none is sent in the clear to another machine), and is written nowhere.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib import error as errors
from urllib import request
from urllib.parse import urlsplit

from bench.cache import cache_root
from bench.curate.pages.passages import Passage
from bench.curate.pairs.support import Pair
from bench.digest import digest
from bench.errors import RequestError, RunFailed, UnsafeRequest
from bench.files import put

PROMPT = """Write up to {count} question-answer pairs about the passage below, for people who do not have it.
- Every question names its subject and can be understood alone; it never mentions the passage or its author.
- Every answer is one to three whole sentences, and says nothing that the passage does not say.
- No two questions ask the same. Write fewer pairs where the passage does not hold more.
Answer with JSON alone: {{"pairs": [{{"question": "...", "answer": "..."}}]}}

Heading: {heading}
Passage:
{text}"""
#: Attempts at one passage, seconds before the second (then twice as long each time), and the longest pause.
ATTEMPTS, PAUSE, LONGEST_PAUSE = 5, 1.0, 60.0
#: Passages in a row without an answer, after which the endpoint is given up.
MOST_FAILURES = 5
#: Tokens of an answer, for each pair that is asked for.
TOKENS_A_PAIR = 120
_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_LARGEST = 2_000_000
NOTHING, BEYOND = "answered without pairs that can be read", "beyond --requests"


@dataclass(frozen=True)
class Endpoint:
    """Where pairs are asked for, and how."""

    url: str
    model: str
    count: int = 3
    timeout: float = 120.0
    key: str | None = None

    def kept(self, passage: Passage) -> Path:
        """The file that holds the answer for a passage."""
        described = [self.url, self.model, self.count, PROMPT, passage.heading, passage.text]
        return cache_root() / "made" / f"{digest(described)[:40]}.json"


class NoAnswer(Exception):
    """The endpoint gave no answer to one passage; its text is the reason."""


def endpoint_of(url: str, model: str, count: int, key_name: str, timeout: float) -> Endpoint:
    """The endpoint of a URL, with the key of the environment. Raises `RequestError`, `UnsafeRequest`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError(f"--endpoint {url}: expected a URL, as in https://HOST/v1")
    key = os.environ.get(key_name)
    if key and parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UnsafeRequest(
            f"--endpoint {url}: would send the key of {key_name} unencrypted; use https, or unset {key_name}"
        )
    return Endpoint(url.rstrip("/"), model, count, timeout, key)


def budget(endpoint: Endpoint, passages: Sequence[Passage], length: Callable[[str], int]) -> str:
    """What the passages that have no answer yet will cost, in words."""
    missing = [passage for passage in passages if not endpoint.kept(passage).is_file()]
    asked = sum(length(_prompt(endpoint, passage)) for passage in missing)
    return (
        f"{len(passages)} passages, {len(passages) - len(missing)} answered before: {len(missing)} requests "
        f"to {endpoint.model}, about {asked:,} tokens to read and at most "
        f"{len(missing) * endpoint.count * TOKENS_A_PAIR:,} to write, without repetitions of failed requests"
    )


def pairs(
    endpoint: Endpoint, passages: Sequence[Passage], most: int | None, note: Callable[[int, int], None]
) -> tuple[list[Pair], dict[str, int]]:
    """Pairs of all passages, and what became of the passages and requests.

    `most` bounds the requests. Raises `RequestError` where the endpoint refuses the request as such and
    `RunFailed` where it gives no answer any more; what was answered is kept.
    """
    found: list[Pair] = []
    counts = dict.fromkeys(("answered", "taken from the cache", NOTHING, "without an answer", BEYOND), 0)
    failures = 0
    for number, passage in enumerate(passages, start=1):
        note(number, len(passages))
        file = endpoint.kept(passage)
        if file.is_file():
            counts["taken from the cache"] += 1
        elif most is not None and counts["answered"] + counts["without an answer"] >= most:
            counts[BEYOND] += 1
            continue
        else:
            try:
                _keep(file, _ask(endpoint, passage))
            except NoAnswer as refusal:
                counts["without an answer"] += 1
                failures += 1
                if failures >= MOST_FAILURES:
                    raise RunFailed(
                        f"{endpoint.url}: {failures} passages in a row without an answer ({refusal}); the "
                        "same command goes on where this ended"
                    ) from None
                continue
            counts["answered"] += 1
        failures = 0
        made = json.loads(file.read_bytes())["pairs"]
        counts[NOTHING] += not made
        found += [Pair(passage, *pair) for pair in made]
    return found, counts


def _prompt(endpoint: Endpoint, passage: Passage) -> str:
    return PROMPT.format(count=endpoint.count, heading=passage.heading or "(none)", text=passage.text)


def _keep(file: Path, found: list[tuple[str, str]]) -> None:
    put(file, json.dumps({"pairs": found}, ensure_ascii=False))


def _ask(endpoint: Endpoint, passage: Passage) -> list[tuple[str, str]]:
    """The pairs of one passage. Raises `NoAnswer` after the last attempt."""
    return _pairs_of(completion(endpoint, _prompt(endpoint, passage), endpoint.count * TOKENS_A_PAIR))


def completion(endpoint: Endpoint, prompt: str, tokens: int) -> str:
    """The text that the model writes after a prompt, in JSON where the server can be asked for that.

    It is paid for, whatever it holds. Raises `NoAnswer` after the last attempt, and `RequestError` where the
    endpoint refuses the request as such.
    """
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": tokens,
        "response_format": {"type": "json_object"},
    }
    reason, wait = "", PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(wait, LONGEST_PAUSE))
        wait = PAUSE * 2**attempt * 2
        try:
            return _content(_post(endpoint, body))
        except errors.HTTPError as error:
            reason = f"answers {error.code}"
            if error.code == 400 and body.pop("response_format", None):
                continue  # a server that knows no structured answers
            if error.code not in _RETRIED:
                raise RequestError(f"{endpoint.url}: {reason}: {_said(error)}") from None
            after = error.headers.get("Retry-After", "")
            wait = float(after) if after.isdigit() else wait
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
    raise NoAnswer(reason)


def _post(endpoint: Endpoint, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    sent = request.Request(f"{endpoint.url}/chat/completions", json.dumps(body).encode(), headers)
    opener = request.build_opener(_NoRedirect)
    with opener.open(sent, timeout=endpoint.timeout) as response:
        return json.loads(response.read(_LARGEST))


def _content(answer: Any) -> str:
    """The text of a chat completion. ValueError for what is none."""
    try:
        return str(answer["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError):
        raise ValueError("its answer is no chat completion") from None


def _pairs_of(content: str) -> list[tuple[str, str]]:
    """The pairs of a completion; none where it holds none in JSON."""
    try:
        listed = object_in(content)["pairs"]
        return [(str(pair["question"]), str(pair["answer"])) for pair in listed]
    except (KeyError, TypeError, ValueError):
        return []


def object_in(content: str) -> Any:
    """The JSON object in a model's text, whatever stands around it. ValueError where there is none."""
    start, end = content.find("{"), content.rfind("}")
    return json.loads(content[start : end + 1])


def _said(error: errors.HTTPError) -> str:
    return " ".join(error.read(500).decode(errors="replace").split())[:200] or str(error.reason)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _NoRedirect(request.HTTPRedirectHandler):
    """A redirect is an error: the key is for the endpoint alone."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none."""
        return
