"""The routes: a plain question, OpenAI's API, health and metrics."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from bench import __version__
from bench.serve.decode import Reply
from bench.serve.http import bodies, problems
from bench.serve.http.desk import BASE, Asked, Desk
from bench.serve.http.gate import Gate
from bench.serve.http.metrics import MEDIA_TYPE
from bench.store.sides import moment

#: Statuses that any question may be answered with, for the published schema.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "model": bodies.Problem,
        "description": what,
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, what in {
        400: "the body is no JSON text, or the server is called by another name",
        401: "no token, or another one",
        408: "the body was too slow",
        413: "the body is too large",
        422: "the request is not as it should be",
        429: "too many questions wait",
        503: "the server is ending",
        504: "the answer took too long",
    }.items()
}
UNKNOWN: dict[int | str, dict[str, Any]] = {
    **PROBLEMS,
    404: {**PROBLEMS[422], "description": "no such model"},
}
STREAMED: dict[int | str, dict[str, Any]] = {
    **UNKNOWN,
    200: {
        "description": "the answer; with 'stream' as server-sent events",
        "content": {"text/event-stream": {}},
    },
}
LARGEST_BODY = 1_000_000


def create(
    desk: Desk,
    token: str | None = None,
    hosts: list[str] | None = None,
    patience: float = 15.0,
    largest: int = LARGEST_BODY,
) -> FastAPI:
    """The application over a desk; `hosts` are the names it may be called by, all if none are given."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.queue.close()

    app = FastAPI(title="bench serve", version=__version__, lifespan=life, summary="Answers of tuned models.")
    problems.install(app)
    _plain(app, desk)
    _chat(app, desk)
    _completions(app, desk)
    _models(app, desk)
    _watching(app, desk)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(Gate, token=token, largest=largest, patience=patience, count=desk.metrics.request)
    return app


def _plain(app: FastAPI, desk: Desk) -> None:
    @app.get("/", responses=PROBLEMS)
    async def ask(
        http: Request,
        question: Annotated[bodies.Asked, Query()],
        context: Annotated[bodies.Text, Query(max_length=bodies.LONGEST)] = "",
    ) -> bodies.PlainAnswer:
        """Reply a question with the first run, as it was scored."""
        (answer,) = await desk.answers(desk.question(question, context), http)
        return bodies.PlainAnswer(answer=answer.text)

    @app.post("/", responses=PROBLEMS)
    async def ask_by_body(http: Request, body: bodies.Question) -> bodies.PlainAnswer:
        """Reply a question with the first run, as it was scored."""
        (answer,) = await desk.answers(desk.question(body.question, body.context), http)
        return bodies.PlainAnswer(answer=answer.text)


def _chat(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/chat/completions", response_model=bodies.ChatCompletion, responses=STREAMED)
    async def chat(http: Request, body: bodies.ChatRequest) -> Any:
        """Reply the last question of a chat."""
        asked, pieces = desk.chat(body, bool(body.stream))
        facts = _facts("chatcmpl", body.model)
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return _stream(desk, asked, pieces, {**facts, "object": "chat.completion.chunk"}, usage, _delta)
        (answer,) = await desk.answers(asked, http)
        message = bodies.ChatMessage(content=answer.text)
        choice = bodies.ChatChoice(message=message, finish_reason=_reason(answer))
        return bodies.ChatCompletion(choices=[choice], usage=_usage(asked, [answer]), **facts)


def _completions(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/completions", response_model=bodies.Completions, responses=STREAMED)
    async def complete(http: Request, body: bodies.CompletionRequest) -> Any:
        """Go on with raw prompts."""
        asked, pieces = desk.completion(body, bool(body.stream))
        facts = _facts("cmpl", body.model)
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return _stream(desk, asked, pieces, {**facts, "object": "text_completion"}, usage, _text)
        answers = await desk.answers(asked, http)
        choices = [
            bodies.Choice(index=place, text=answer.text, finish_reason=_reason(answer))
            for place, answer in enumerate(answers)
        ]
        return bodies.Completions(choices=choices, usage=_usage(asked, answers), **facts)


def _models(app: FastAPI, desk: Desk) -> None:
    def entry(name: str) -> bodies.ModelEntry:
        engine, _ = desk.find(name)
        return bodies.ModelEntry(id=name, created=max(0, int(moment(engine.stored).timestamp())))

    @app.get("/v1/models", responses={401: PROBLEMS[401]})
    async def models() -> bodies.ModelList:
        """The runs that are served, tuned and untuned."""
        ids = [name for engine in desk.engines for name in (engine.id, f"{engine.id}{BASE}")]
        return bodies.ModelList(data=[entry(id) for id in ids])

    @app.get("/v1/models/{model}", responses={**PROBLEMS, 404: UNKNOWN[404]})
    async def model(model: str) -> bodies.ModelEntry:
        """One of them."""
        return entry(model)


def _watching(app: FastAPI, desk: Desk) -> None:
    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "alive"}

    @app.get("/readyz", responses={503: PROBLEMS[503]})
    async def ready() -> dict[str, str]:
        """Whether questions are taken."""
        if desk.queue.closed:
            raise problems.Refused(503, "the server is ending")
        return {"status": "ready"}

    @app.get(
        "/metrics",
        response_class=Response,
        responses={401: PROBLEMS[401], 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Measured values for Prometheus."""
        return Response(desk.metrics.text(), headers={"Content-Type": MEDIA_TYPE})


def _facts(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"{kind}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}


def _reason(answer: Reply) -> Any:
    return "length" if answer.finish == "length" else "stop"


def _usage(asked: Asked, answers: list[Reply]) -> bodies.Usage:
    written = sum(answer.tokens for answer in answers)
    return bodies.Usage(
        prompt_tokens=asked.prompt_tokens,
        completion_tokens=written,
        total_tokens=asked.prompt_tokens + written,
    )


def _delta(piece: str) -> dict[str, Any]:
    return {"delta": {"content": piece}}


def _text(piece: str) -> dict[str, Any]:
    return {"text": piece}


def _stream(
    desk: Desk, asked: Asked, pieces: AsyncIterator[str], facts: dict[str, Any], usage: bool, form: Any
) -> StreamingResponse:
    """Server-sent events: a chunk for each piece, the reason of the end, the usage if wanted, `[DONE]`."""

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**facts, 'choices': choices, **more}, ensure_ascii=False)}\n\n"

    def choice(content: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, **content, "finish_reason": reason, "logprobs": None}]

    async def events() -> AsyncIterator[str]:
        if form is _delta:
            yield event(choice({"delta": {"role": "assistant", "content": ""}}))
        async for piece in pieces:
            yield event(choice(form(piece)))
        error = asked.tickets[0].answer.exception()
        if error is not None:
            detail = f"no whole answer within {desk.seconds:g} seconds"
            yield f"data: {json.dumps(problems.body(504, detail))}\n\n"
            return
        answer = asked.tickets[0].answer.result()
        desk.count(asked, [answer])
        yield event(choice({"delta": {}} if form is _delta else {"text": ""}, _reason(answer)))
        if usage:
            yield event([], usage=_usage(asked, [answer]).model_dump())
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
