"""Waiting asks are answered in one batch; the line has an end, and nobody stays in it longer than asked.

One thread decodes. It takes the ask that has waited longest together with all others for the same model, up
to a batch, so a burst of requests costs little more than one of them. Batches are dynamic: who comes while
a batch is decoded waits for the next. An answer is handed out when it is finished, not when its batch is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from bench.serve.decode import Ask, Reply
from bench.serve.engine import Engine, Side


class Full(Exception):
    """As many asks wait as may."""


class Closed(Exception):
    """The server is ending and takes no more asks."""


class TooLate(Exception):
    """An ask was not answered in its time."""


@dataclass
class Ticket:
    """One ask on its way to an answer."""

    ask: Ask
    #: When nobody waits any longer, by `time.monotonic`.
    deadline: float
    answer: Future[Reply] = field(default_factory=Future)
    gone: threading.Event = field(default_factory=threading.Event)
    entered: float = field(default_factory=time.monotonic)

    def given_up(self) -> bool:
        """Whether the client went away or its time is over."""
        return self.gone.is_set() or time.monotonic() > self.deadline


#: A run's id and one of its sides.
Model = tuple[str, Side]


class Queue:
    """The asks that wait, and the thread that answers them."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        batch: int = 32,
        waiting: int = 256,
        linger: float = 0.005,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.engines = engines
        self.batch = batch
        self.waiting = waiting
        #: Seconds that a first ask waits for company.
        self.linger = linger
        self.on_batch = on_batch
        self._line: deque[tuple[Model, Ticket]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="decoding", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._line)

    @property
    def closed(self) -> bool:
        """Whether no more asks are taken."""
        return self._closed

    def submit(self, model: Model, ask: Ask, seconds: float) -> Ticket:
        """Stand in line; the answer must be there after so many seconds. Raises `Full`, `Closed`."""
        return self.submit_all(model, [ask], seconds)[0]

    def submit_all(self, model: Model, asks: list[Ask], seconds: float) -> list[Ticket]:
        """All of these asks stand in line, or none. Raises `Full`, `Closed`."""
        tickets = [Ticket(ask, time.monotonic() + seconds) for ask in asks]
        with self._changed:
            if self._closed:
                raise Closed
            if len(self._line) + len(asks) > self.waiting:
                raise Full
            self._line.extend((model, ticket) for ticket in tickets)
            self._changed.notify()
        return tickets

    def close(self, seconds: float = 60.0) -> None:
        """Take no more asks, answer those that wait, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._line or self._closed)
                if not self._line:
                    return
            if len(self._line) < self.batch and not self._closed:
                time.sleep(self.linger)
            self._answer(*self._take())

    def _take(self) -> tuple[Model, list[Ticket]]:
        """The longest waiting ask and its company; those that were given up leave the line."""
        taken: list[Ticket] = []
        with self._changed:
            first = self._line[0][0]
            rest: deque[tuple[Model, Ticket]] = deque()
            for model, ticket in self._line:
                if ticket.given_up():
                    _fail(ticket, TooLate())
                elif model == first and len(taken) < self.batch:
                    taken.append(ticket)
                else:
                    rest.append((model, ticket))
            self._line = rest
        return first, taken

    def _answer(self, model: Model, tickets: list[Ticket]) -> None:
        if not tickets:
            return
        self.on_batch(len(tickets))
        name, side = model
        asks = [replace(ticket.ask, cancelled=ticket.given_up, done=_hand_out(ticket)) for ticket in tickets]
        try:
            self.engines[name].decode(asks, side)
        except Exception as error:
            for ticket in tickets:
                _fail(ticket, error)


def _hand_out(ticket: Ticket) -> Callable[[Reply], None]:
    def done(answer: Reply) -> None:
        if answer.finish == "cancelled":
            _fail(ticket, TooLate())
        elif not ticket.answer.done():
            ticket.answer.set_result(answer)

    return done


def _fail(ticket: Ticket, error: Exception) -> None:
    if not ticket.answer.done():
        ticket.answer.set_exception(error)
