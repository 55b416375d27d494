"""Between routes and queue: names become runs, requests become asks, tickets become answers or problems."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from fastapi import Request

from bench.serve.decode import Ask, Reply
from bench.serve.engine import Engine, Side
from bench.serve.http.bodies import SEEDS, ChatRequest, CompletionRequest, Sampling
from bench.serve.http.metrics import Metrics
from bench.serve.http.problems import Refused
from bench.serve.queue import Closed, Full, Model, Queue, Ticket, TooLate
from bench.serve.stops import stops_of

#: What is put after a run's name to ask it untuned.
BASE = ":base"
#: Seconds between two looks whether the client is still there.
LOOK = 0.2
#: Tokens that a prompt keeps, however many new ones are asked for.
SMALLEST_PROMPT = 16


@dataclass(frozen=True)
class Asked:
    """A request on its way: its model's name and its tickets, one for each prompt."""

    name: str
    tickets: list[Ticket]
    prompt_tokens: int


class Desk:
    """Takes requests for the runs that are served."""

    def __init__(
        self, engines: Sequence[Engine], queue: Queue, metrics: Metrics, seconds: float = 120.0
    ) -> None:
        self.engines = list(engines)
        self.queue = queue
        self.metrics = metrics
        #: How long an answer may take.
        self.seconds = seconds
        self.names: Mapping[str, Model] = _names(engines)

    def find(self, name: str) -> tuple[Engine, Side]:
        """The run and side that a name stands for. Raises `Refused` (404)."""
        if name not in self.names:
            near = get_close_matches(name, self.names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "GET /v1/models lists them"
            raise Refused(404, f"no model '{name[:100]}' is served; {hint}")
        id, side = self.names[name]
        return next(engine for engine in self.engines if engine.id == id), side

    def question(self, question: str, context: str) -> Asked:
        """A plain question to the first run."""
        engine = self.engines[0]
        limit = engine.run.contract.decoding.max_new_tokens
        ask = Ask(_prompt(engine, question, context, None), limit, stops_of(engine.run.template))
        return self._submit(engine.id, (engine.id, "tuned"), [ask])

    def chat(self, request: ChatRequest, streamed: bool = False) -> tuple[Asked, AsyncIterator[str]]:
        """A chat's last question; its pieces come out of the iterator if it is streamed."""
        engine, side = self.find(request.model)
        texts = {message.role: message.text for message in request.messages}
        question = texts.get("user", "")
        if not question:
            raise Refused(422, "messages: the last message of the user is the question, and there is none")
        context = texts.get("system") or texts.get("developer") or ""
        tokens = request.max_completion_tokens or request.max_tokens
        ask = self._ask(engine, request, _prompt(engine, question, context, tokens), tokens)
        return self._heard(request, (engine.id, side), [ask], streamed)

    def completion(
        self, request: CompletionRequest, streamed: bool = False
    ) -> tuple[Asked, AsyncIterator[str]]:
        """Raw prompts; a stream carries one."""
        engine, side = self.find(request.model)
        prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        if streamed and len(prompts) > 1:
            raise Refused(422, "prompt: a stream answers one prompt; send them apart")
        asks = []
        for prompt in prompts:
            ids = engine.raw_prompt(prompt)
            if not ids or len(ids) > engine.run.contract.max_length - 1:
                room = engine.run.contract.max_length - 1
                raise Refused(422, f"prompt: has {len(ids)} tokens; 1 to {room} are possible")
            asks.append(self._ask(engine, request, ids, request.max_tokens))
        return self._heard(request, (engine.id, side), asks, streamed)

    async def answers(self, asked: Asked, http: Request) -> list[Reply]:
        """The answers, all of them; given up where the client hangs up. Raises `Refused`."""
        futures = [asyncio.wrap_future(ticket.answer) for ticket in asked.tickets]
        try:
            pending: set[asyncio.Future[Reply]] = set(futures)
            while pending:
                _, pending = await asyncio.wait(pending, timeout=LOOK)
                if pending and await http.is_disconnected():
                    raise Refused(408, "the client went away")
            answers = [future.result() for future in futures]
        except TooLate:
            raise Refused(504, f"no answer within {self.seconds:g} seconds") from None
        finally:
            for ticket in asked.tickets:
                ticket.gone.set()
        self.count(asked, answers)
        return answers

    def count(self, asked: Asked, answers: Sequence[Reply]) -> None:
        """Count tokens."""
        self.metrics.answered(asked.name, asked.prompt_tokens, sum(answer.tokens for answer in answers))

    def _ask(self, engine: Engine, request: Sampling, prompt: list[int], tokens: int | None) -> Ask:
        contract = engine.run.contract
        room = contract.max_length - (len(prompt) if engine.run.model.objective == "causal" else 0)
        stops = request.stop if request.stop is not None else stops_of(engine.run.template)
        temperature = request.temperature or 0.0
        seed = request.seed if request.seed is not None else secrets.randbelow(SEEDS)
        return Ask(
            prompt,
            max(1, min(tokens or contract.decoding.max_new_tokens, room)),
            (stops,) if isinstance(stops, str) else tuple(stops),
            temperature,
            request.top_p or 1.0,
            seed,
        )

    def _heard(
        self, request: Sampling, model: Model, asks: list[Ask], streamed: bool
    ) -> tuple[Asked, AsyncIterator[str]]:
        """Submit; where it is streamed, the pieces are carried over to the event loop."""
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        if streamed:
            loop = asyncio.get_running_loop()
            asks = [replace(ask, hear=_carried(loop, pieces)) for ask in asks]
        asked = self._submit(request.model, model, asks)
        if streamed:
            ended = _carried(loop, pieces)
            asked.tickets[0].answer.add_done_callback(lambda _: ended(None))
        return asked, _taken(pieces, asked)

    def _submit(self, name: str, model: Model, asks: list[Ask]) -> Asked:
        try:
            tickets = self.queue.submit_all(model, asks, self.seconds)
        except Full:
            raise Refused(
                429, f"{self.queue.waiting} questions wait already; try again", {"Retry-After": "1"}
            ) from None
        except Closed:
            raise Refused(503, "the server is ending", {"Retry-After": "5"}) from None
        return Asked(name, tickets, sum(len(ask.prompt) for ask in asks))


def _prompt(engine: Engine, question: str, context: str, tokens: int | None) -> list[int]:
    limit = engine.run.contract.max_length - SMALLEST_PROMPT
    return engine.prompt(question, context, min(tokens, limit) if tokens else None)


def _names(engines: Sequence[Engine]) -> dict[str, Model]:
    """Ids; and models' names, which stand for the first run of each."""
    names: dict[str, Model] = {}
    for engine in engines:
        for name in (engine.id, engine.run.name):
            names.setdefault(name, (engine.id, "tuned"))
            names.setdefault(f"{name}{BASE}", (engine.id, "base"))
    return names


def _carried(
    loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[str | None]
) -> Callable[[str | None], None]:
    """A function that puts a piece into a queue of the event loop, from any thread."""

    def put(piece: str | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

    return put


async def _taken(pieces: asyncio.Queue[str | None], asked: Asked) -> AsyncIterator[str]:
    """The pieces; the ask is given up where nobody takes them any more."""
    try:
        while (piece := await pieces.get()) is not None:
            yield piece
    finally:
        for ticket in asked.tickets:
            ticket.gone.set()
