"""How a user follows the runs: a live table on a terminal, plain lines elsewhere.

Both go to standard error, so that standard output holds only the result.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from bench.render.clean import printable
from bench.run.identity import Run
from bench.store.record import Failure, Record

REFRESH = 0.25


@dataclass
class _State:
    name: str
    stage: str = "waiting"
    done: int = 0
    total: int = 0
    loss: float | None = None
    began: float = 0.0
    stage_began: float = 0.0
    ended: bool = False
    #: Where it runs, on a cluster.
    node: str = ""

    @property
    def rate(self) -> float:
        spent = time.monotonic() - self.stage_began
        return self.done / spent if spent > 0 else 0.0

    @property
    def left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.done and self.total else None


def label(run: Run, ladder: bool = False) -> str:
    """A run's name among those of one command; on a ladder with its budget."""
    return f"{run.name} s{run.seed}" + (f" {run.contract.budget}" if ladder else "")


@dataclass
class Plain:
    """One line where a run begins, changes its stage, and ends."""

    total: int
    ladder: bool = False
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    states: dict[str, _State] = field(default_factory=dict)
    over: int = 0

    def began(self, run: Run) -> None:
        """A run was handed to a process."""
        now = time.monotonic()
        self.states[run.id] = _State(label(run, self.ladder), stage="start", began=now, stage_began=now)
        self._print(run, "started")

    def heard(self, run: Run, event: dict[str, Any]) -> None:
        """A run reports a stage, a step or its answers."""
        state = self.states[run.id]
        follow(state, event)
        if event["event"] == "placed":
            self._print(run, f"on {event['node']}")
        if event["event"] == "elsewhere":
            self._print(run, f"{event['reason']}; try {event['try']}")
        if event["event"] == "stage" and event["stage"] in ("train", "generate tuned"):
            self._print(run, event["stage"])
        if event["event"] == "step" and event["steps"] >= 10 and event["step"] % (event["steps"] // 2) == 0:
            self._print(run, f"step {event['step']}/{event['steps']}  loss {event['loss']:.3f}")

    def ended(self, run: Run, record: Record | None, failure: Failure | None) -> None:
        """A run is over."""
        self.over += 1
        self.states[run.id].ended = True
        self._print(run, outcome(record, failure, time.monotonic() - self.states[run.id].began))

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def _print(self, run: Run, text: str) -> None:
        line = f"[{self.over}/{self.total}] {label(run, self.ladder):<22} {text}"
        print(printable(line), file=self.stream, flush=True)


class Live(Plain):
    """One line a run that moves: stage, step, loss, rate, time left."""

    def __enter__(self) -> Live:
        from rich.console import Console
        from rich.live import Live as Screen

        self._screen = Screen(
            console=Console(file=self.stream), refresh_per_second=1 / REFRESH, get_renderable=self._table
        )
        self._screen.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._screen.__exit__(None, None, None)

    def _table(self) -> Any:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for state in self.states.values():
            if state.ended:
                continue
            left = f"{state.left:.0f} s left" if state.left is not None else ""
            count = f"{state.done}/{state.total}" if state.total else ""
            loss = f"loss {state.loss:.3f}" if state.loss is not None and state.stage == "train" else ""
            rate = f"{state.rate:.1f}/s" if state.done else ""
            where = f"[dim]{printable(state.node)}[/]"
            table.add_row(f"[bold]{state.name}[/]", where, state.stage, count, loss, rate, f"[dim]{left}[/]")
        table.add_row(f"[dim]{self.over} of {self.total} runs finished[/]")
        return table

    def _print(self, run: Run, text: str) -> None:
        if self.states[run.id].ended:  # the rest is in the moving table
            self._screen.console.print(f"{label(run, self.ladder):<22} {text}", highlight=False, markup=False)


def follow(state: _State, event: dict[str, Any]) -> None:
    """Take one event into a run's state."""
    if event["event"] == "stage":
        state.stage, state.done, state.total = event["stage"], 0, 0
        state.stage_began = time.monotonic()
    elif event["event"] == "placed":
        state.node = event["node"]
    elif event["event"] == "step":
        state.done, state.total, state.loss = event["step"], event["steps"], event["loss"]
    elif event["event"] == "answered":
        state.done, state.total = event["done"], event["total"]


def outcome(record: Record | None, failure: Failure | None, seconds: float) -> str:
    """A finished run in half a line."""
    if record is None:
        return f"failed at {failure.stage}: {failure.reason}" if failure else "failed"
    tuned, gain = record.scores["tuned"]["rougeL"], record.gain["rougeL"]
    over = f"{gain.mean:+.3f} over base" if record.run.trained else "not trained"
    return f"ROUGE-L {tuned.mean:.3f} ({over}) in {seconds:.0f} s"


def watcher(total: int, ladder: bool = False) -> Plain:
    """The live table where a person is watching, else plain lines."""
    return Live(total, ladder) if sys.stderr.isatty() else Plain(total, ladder)
