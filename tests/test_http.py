"""The HTTP API over a real socket: answers are the record's, and nothing that is sent breaks it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from served import LORA, finished, folder

from bench.cli import run_verb
from bench.prompt import render
from bench.serve import stops
from bench.serve.engine import Engine
from bench.serve.http import app, listen
from bench.serve.http.desk import Desk
from bench.serve.http.metrics import Metrics
from bench.serve.queue import Queue, Ticket
from bench.spec import Example

TOKEN = "a token of the tests"


@dataclass
class Served:
    """A server in a thread of this process."""

    url: str
    desk: Desk
    #: Holds every batch back while it is clear.
    free: threading.Event

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", timeout=60, **more)

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let requests wait in line."""
        self.free.clear()
        try:
            yield
        finally:
            self.free.set()


@pytest.fixture(scope="module")
def engines() -> list[Engine]:
    """Two runs of one base."""
    first = Engine.load(finished(LORA), threads=1)
    return [first, first.beside(finished(LORA, seed=1))]


@contextmanager
def serving(
    engines: list[Engine], waiting: int = 256, seconds: float = 60.0, **more: Any
) -> Iterator[Served]:
    free = threading.Event()
    free.set()
    metrics = Metrics()

    def on_batch(size: int) -> None:
        free.wait()
        metrics.batches.observe(size)

    queue = Queue({engine.id: engine for engine in engines}, waiting=waiting, on_batch=on_batch)
    metrics.wait_is(lambda: len(queue))
    desk = Desk(engines, queue, metrics, seconds)
    bound = listen.bind(listen.Address("127.0.0.1", 0))
    bound.listen(256)
    config = uvicorn.Config(app.create(desk, hosts=listen.LOOPBACK, **more), log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{bound.getsockname()[1]}", desk, free)
    finally:
        free.set()
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def served(engines: list[Engine]) -> Iterator[Served]:
    with serving(engines, patience=1.0) as server:
        yield server


def rows(count: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    return finished(LORA, seed=seed).completions[:count]


def test_a_plain_question_gets_the_records_answer(served: Served) -> None:
    for row in rows(3):
        assert served.post("/", json={"question": row["question"]}).json() == {"answer": row["tuned"]}
        assert served.get("/", params={"question": row["question"]}).json() == {"answer": row["tuned"]}


def test_the_openai_client_gets_the_records_answer(served: Served) -> None:
    (row,) = rows(1)
    messages: Any = [{"role": "user", "content": row["question"]}]
    for name, side in ((finished(LORA).record.id, "tuned"), (f"{LORA}:base", "base")):
        reply = served.client.chat.completions.create(model=name, messages=messages)
        assert reply.choices[0].message.content == row[side]
        assert reply.usage is not None
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert reply.choices[0].finish_reason == ("length" if reply.usage.completion_tokens == 16 else "stop")


def test_the_openai_client_streams_the_records_answer(served: Served) -> None:
    (row,) = rows(1)
    stream = served.client.chat.completions.create(
        model=LORA,
        messages=[{"role": "user", "content": row["question"]}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == row["tuned"]
    assert sum(bool(piece) for piece in pieces) > 1
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_every_run_that_is_served_answers_under_its_own_name(served: Served) -> None:
    names = [model.id for model in served.client.models.list()]
    ids = [finished(LORA, seed=seed).record.id for seed in (0, 1)]
    assert names == [ids[0], f"{ids[0]}:base", ids[1], f"{ids[1]}:base"]
    for seed, id in enumerate(ids):
        (row,) = rows(1, seed)
        messages: Any = [{"role": "user", "content": row["question"]}]
        reply = served.client.chat.completions.create(model=id, messages=messages)
        assert reply.choices[0].message.content == row["tuned"]


def test_raw_prompts_are_gone_on_with(served: Served) -> None:
    """A prompt that is written as the template writes it gives the record's answer."""
    prompts = [render(Example("", row["question"], ()), "qa") for row in rows(3)]
    reply = served.client.completions.create(model=LORA, prompt=prompts, max_tokens=16)
    assert [choice.text for choice in reply.choices] == [row["tuned"] for row in rows(3)]
    stream = served.client.completions.create(model=LORA, prompt=prompts[0], max_tokens=16, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == rows(1)[0]["tuned"]


def test_limits_stops_and_seeds_are_obeyed(served: Served) -> None:
    (row,) = rows(1)

    def ask(**more: Any) -> Any:
        messages: Any = [{"role": "user", "content": row["question"]}]
        return served.client.chat.completions.create(model=LORA, messages=messages, **more)

    short = ask(max_tokens=2)
    assert (short.usage.completion_tokens, short.choices[0].finish_reason) == (2, "length")
    word = row["tuned"].split()[2]
    stopped = ask(stop=word).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (row["tuned"].split(word)[0].rstrip(), "stop")
    first, second, other = (ask(temperature=1.5, seed=seed).choices[0].message.content for seed in (5, 5, 6))
    assert first == second != other


def test_the_templates_stop_rule_is_the_default_and_can_be_left_out(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows(1)
    word = row["tuned"].split()[2]
    monkeypatch.setitem(stops.STOPS, "qa", (word,))
    answer = served.post("/", json={"question": row["question"]}).json()["answer"]
    assert answer == row["tuned"].split(word)[0].rstrip()
    messages: Any = [{"role": "user", "content": row["question"]}]
    reply = served.client.chat.completions.create(model=LORA, messages=messages, stop=[])
    assert reply.choices[0].message.content == row["tuned"]


@pytest.mark.slow
def test_two_hundred_at_once_are_all_answered_and_none_is_mixed_up(served: Served) -> None:
    asked = [row for row in rows(40) for _ in range(5)]
    with httpx.Client(base_url=served.url, timeout=120) as client, ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda row: client.post("/", json={"question": row["question"]}), asked))
    assert [reply.json() for reply in replies] == [{"answer": row["tuned"]} for row in asked]
    values = served.get("/metrics").text
    batches = float(values.split("bench_batch_size_count ")[1].split()[0])
    assert float(values.split("bench_batch_size_sum ")[1].split()[0]) > 2 * batches


def test_a_full_line_is_told_with_when_to_come_again(engines: list[Engine]) -> None:
    question = {"question": "What is a mean?"}
    with serving(engines, waiting=2) as server, ThreadPoolExecutor(4) as pool, server.held():
        began: list[int] = []
        hold, server.desk.queue.on_batch = (
            server.desk.queue.on_batch,
            lambda size: (began.append(size), hold(size)),
        )
        waiting = [pool.submit(server.post, "/", json=question)]
        until(lambda: bool(began))
        waiting += [pool.submit(server.post, "/", json=question) for _ in range(2)]
        until(lambda: len(server.desk.queue) == 2)
        refused = server.post("/", json=question)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        server.free.set()
        assert [reply.result().status_code for reply in waiting] == [200, 200, 200]


def until(true: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_who_hangs_up_is_not_answered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain question in line, and a stream whose client leaves after the first piece."""
    tickets = watched(served, monkeypatch)
    with served.held():
        body = b'{"question": "What is a mean?"}'
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with raw(served) as line:
            line.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            until(lambda: len(tickets) == 1)
        until(tickets[0].gone.is_set)
    ask = {
        "model": LORA,
        "stream": True,
        "messages": [{"role": "user", "content": "Why?"}],
        "max_tokens": 400,
    }
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=ask, timeout=60) as stream:
        next(stream.iter_lines())
    until(tickets[1].gone.is_set)
    assert rows(1)[0]["tuned"] == served.post("/", json={"question": rows(1)[0]["question"]}).json()["answer"]


def watched(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[Ticket]:
    tickets: list[Ticket] = []
    submit = served.desk.queue.submit_all

    def noted(*words: Any) -> list[Ticket]:
        tickets.extend(made := submit(*words))
        return made

    monkeypatch.setattr(served.desk.queue, "submit_all", noted)
    return tickets


@contextmanager
def raw(served: Served) -> Iterator[socket.socket]:
    host, _, port = served.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        yield line


def test_an_answer_that_takes_too_long_is_given_up(engines: list[Engine]) -> None:
    with serving(engines, seconds=0.05) as server, server.held(), ThreadPoolExecutor(1) as pool:
        reply = pool.submit(server.post, "/", json={"question": "What is a mean?"})
        time.sleep(0.3)
        server.free.set()
        assert reply.result().status_code == 504


BAD: list[tuple[str, dict[str, Any], int]] = [
    ("/", {"content": b"x" * 10_000_000, "headers": {"Content-Type": "application/json"}}, 413),
    ("/", {"content": b'{"question": "\xff\xfe"}', "headers": {"Content-Type": "application/json"}}, 400),
    ("/", {"content": b'{"question": "\\ud800"}', "headers": {"Content-Type": "application/json"}}, 422),
    ("/", {"json": {"question": ""}}, 422),
    ("/", {"json": {}}, 422),
    ("/", {"json": {"question": "a?", "context": 3}}, 422),
    ("/nowhere", {"json": {}}, 404),
    (
        "/v1/chat/completions",
        {"json": {"model": "gtp2", "messages": [{"role": "user", "content": "a"}]}},
        404,
    ),
    (
        "/v1/chat/completions",
        {"json": {"model": LORA, "messages": [{"role": "system", "content": "a"}]}},
        422,
    ),
    ("/v1/chat/completions", {"json": {"model": LORA, "messages": []}}, 422),
    ("/v1/completions", {"json": {"model": LORA, "prompt": "word " * 5000}}, 422),
    ("/v1/completions", {"json": {"model": LORA, "prompt": ["a", "b"], "stream": True}}, 422),
    ("/v1/completions", {"json": {"model": LORA, "prompt": "a", "n": 2}}, 422),
    ("/v1/completions", {"json": {"model": LORA, "prompt": "a", "temperature": "warm"}}, 422),
    ("/v1/completions", {"json": {"model": LORA, "prompt": "a", "max_tokens": "1"}}, 422),
]


@pytest.mark.parametrize(("path", "sent", "status"), BAD, ids=lambda value: str(value)[:40])
def test_what_cannot_be_answered_is_a_problem_without_a_traceback(
    served: Served, path: str, sent: dict[str, Any], status: int
) -> None:
    reply = served.post(path, **sent)
    assert reply.status_code == status
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json()
    assert problem["status"] == status
    assert problem["error"]["message"] == problem["detail"]
    assert "Traceback" not in reply.text


def test_a_whole_number_may_be_written_with_a_point(served: Served) -> None:
    """JSON has one kind of number."""
    body = {"model": LORA, "prompt": "What is a mean?", "max_tokens": 2.0, "seed": 0.0, "n": 1.0}
    assert served.post("/v1/completions", json=body).json()["usage"]["completion_tokens"] == 2


def test_a_name_that_was_misspelt_is_suggested(served: Served) -> None:
    with pytest.raises(openai.NotFoundError, match="did you mean 'gpt2'"):
        served.client.chat.completions.create(model="gtp2", messages=[{"role": "user", "content": "a"}])


def test_a_body_that_drips_is_not_waited_for(served: Served) -> None:
    with raw(served) as line:
        line.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        for _ in range(3):
            line.sendall(b" ")
            time.sleep(0.1)
        assert line.recv(4096).startswith(b"HTTP/1.1 408")


def test_no_page_of_another_site_may_use_it(served: Served) -> None:
    """No CORS header, and names that are not this machine's are refused (DNS rebinding)."""
    reply = served.get("/healthz", headers={"Origin": "https://example.com"})
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    assert served.get("/healthz", headers={"Host": "example.com"}).status_code == 400


def test_a_token_is_demanded_of_all_but_health_checks(engines: list[Engine]) -> None:
    with serving(engines, token=TOKEN) as server:
        assert server.get("/v1/models").status_code == 401
        assert server.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
        assert server.get("/openapi.json").status_code == 401
        assert server.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert server.get("/healthz").status_code == 200


def test_a_server_that_ends_says_that_it_is_not_ready(engines: list[Engine]) -> None:
    with serving(engines) as server:
        assert server.get("/readyz").status_code == 200
        server.desk.queue.close()
        assert server.get("/readyz").status_code == 503
        assert server.post("/", json={"question": "a?"}).status_code == 503


def test_requests_are_counted_by_route_and_never_by_what_was_sent(served: Served) -> None:
    served.get("/v1/models/secret-name")
    values = served.get("/metrics").text
    assert 'bench_requests_total{path="/v1/models/{model}",status="404"}' in values
    assert "secret-name" not in values


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines; give --token"),
        (["--host", "0.0.0.0", "--token", "short"], "at least 16 ASCII characters"),
        (["--token", TOKEN, "--no-auth"], "exclude each other"),
        (["--port", "PORT"], "Address already in use; choose another --port"),
        (["--base", "nowhere"], "holds no checkpoint"),
    ],
)
def test_wrong_requests_are_one_line_before_anything_is_served(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        words = [str(other.getsockname()[1]) if word == "PORT" else word for word in words]
        assert run_verb(["serve", finished(LORA).record.id, "--out", str(folder()), *words]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.slow
def test_sigterm_loses_no_accepted_request(tmp_path: Path) -> None:
    """Streams that began before the signal are written to their end; the process ends with 0."""
    run = finished(LORA).record.id
    words = [sys.executable, "-m", "bench.cli", "serve", run, "--out", str(folder()), "--port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, stderr=log, stdout=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    until(lambda: "serving" in (tmp_path / "log").read_text() or process.poll() is not None, 120)
    url = "http://" + (tmp_path / "log").read_text().split("http://")[1].split()[0]
    until(lambda: reachable(url), 60)
    ask = {"model": LORA, "stream": True, "max_tokens": 150, "stop": [], "temperature": 1.0, "seed": 1}
    with httpx.Client(timeout=120) as client, ExitStack() as open_ones:
        streams = [
            open_ones.enter_context(
                client.stream("POST", f"{url}/v1/completions", json={**ask, "prompt": row["question"]})
            )
            for row in rows(3)
        ]
        lines = [stream.iter_lines() for stream in streams]
        begun = [next(line) for line in lines]
        process.send_signal(signal.SIGTERM)
        rest = [list(line) for line in lines]
    assert process.wait(60) == 0
    assert all(line.startswith("data: {") for line in begun)
    assert [[line for line in lines if line][-1] for lines in rest] == ["data: [DONE]"] * 3


def reachable(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize(
    "most", [pytest.param(15, marks=pytest.mark.slow), pytest.param(400, marks=pytest.mark.proof)]
)
def test_nothing_that_the_schema_allows_or_forbids_breaks_it(served: Served, most: int) -> None:
    """Schemathesis over the published schema: no 500, no answer that the schema does not have.

    `most` requests a route and kind; thousands in all with `pytest -m proof tests/test_http.py`.
    """
    import schemathesis
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_dict(narrowed(served.get("/openapi.json").json()))
    schema.config.update(base_url=served.url)
    operations = [result.ok() for result in schema.get_all_operations()]
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        count = sum(tried(operation, mode, most) for operation in operations)
        print(f"{mode.value}: {count} requests")
        assert count > 2 * most


def narrowed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with what it cannot say: which models there are, one prompt a stream; and short answers."""
    parts = schema["components"]["schemas"]
    for name in ("ChatRequest", "CompletionRequest"):
        parts[name]["properties"]["model"] = {"type": "string", "enum": [LORA, f"{LORA}:base"]}
        parts[name]["properties"]["max_tokens"] = {"type": "integer", "minimum": 1, "maximum": 4}
        parts[name]["required"].append("max_tokens")
    parts["ChatRequest"]["properties"].pop("max_completion_tokens")
    parts["CompletionRequest"]["properties"]["prompt"] = {"type": "string", "minLength": 1, "maxLength": 100}
    parts["Message"]["properties"]["role"] = {"type": "string", "enum": ["user"]}
    parts["Message"]["properties"]["content"] = {"type": "string", "minLength": 1}
    return schema


def tried(operation: Any, mode: Any, most: int) -> int:
    """How many generated requests to one route were answered as its schema says, or at least not by a 500."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.generation import GenerationMode

    cases = 0

    def check(case: Any) -> None:
        nonlocal cases
        if len(str(case.query)) > 5_000:  # an address longer than any server reads: the connection is closed
            return
        cases += 1
        if mode == GenerationMode.POSITIVE:
            case.call_and_validate(timeout=60)
        else:
            assert case.call(timeout=60).status_code < 500

    bounded = settings(
        max_examples=most,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with suppress(Unsatisfiable):  # a route without parameters cannot be called wrongly
        given(case=operation.as_strategy(generation_mode=mode))(bounded(check))()
    return cases


def test_the_schema_names_every_route(served: Served) -> None:
    paths = json.loads(served.get("/openapi.json").text)["paths"]
    assert set(paths) == {
        "/",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/models/{model}",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert "swagger" in served.get("/docs").text.lower()
