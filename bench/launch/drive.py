"""The driver: hands out runs, watches them, publishes what they leave.

Only the driver writes to the ledger. A run that dies by exception, signal, a loss that is not
finite or its time limit becomes a failure with its reason; the others go on. After an
interrupt nothing half-written counts, and the same command takes up what is missing.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bench import devices, provenance
from bench.launch.process import Pool
from bench.render.card import model_card
from bench.run.identity import Run
from bench.run.job import PENDING, Job
from bench.store.ledger import Ledger
from bench.store.record import CARD, Failure, Record, weights_folder

POLL = 0.25


class Watcher(Protocol):
    """What follows the runs: a display, or a test."""

    def began(self, run: Run) -> None:
        """A run was handed to a process."""

    def heard(self, run: Run, event: dict[str, Any]) -> None:
        """A run reports a stage, a step or its answers."""

    def ended(self, run: Run, record: Record | None, failure: Failure | None) -> None:
        """A run is over, one way or the other."""


@dataclass(frozen=True)
class Settings:
    """How runs are carried out; none of this is part of a run's identity."""

    jobs: int
    threads: int
    command: str
    tree: provenance.Tree
    time_limit: float | None = None
    checkpoint_every: int = 200
    trackers: tuple[str, ...] = ()
    #: A value of CUDA_VISIBLE_DEVICES for each GPU that jobs are spread over.
    gpus: tuple[str, ...] = ()


@dataclass
class _Active:
    run: Run
    workspace: Path
    slot: int
    deadline: float | None
    failure: dict[str, Any] = field(default_factory=dict)
    done: bool = False
    timed_out: bool = False


def drive(
    work: Sequence[tuple[Run, Path | None, Path]],
    ledger: Ledger,
    settings: Settings,
    watcher: Watcher,
    pool: Pool | None = None,
) -> list[Failure]:
    """Carry out runs, each with its checkpoint's folder and its selection file; the failures."""
    waiting = list(work)
    active: dict[str, _Active] = {}
    failures: list[Failure] = []
    own = pool is None
    pool = pool or Pool(settings.threads)
    try:
        while waiting or active:
            while waiting and len(active) < settings.jobs:
                run, folder, selection = waiting.pop(0)
                slot = min(set(range(settings.jobs)) - {a.slot for a in active.values()})
                active[run.id] = _begin(run, folder, selection, slot, ledger, settings, pool)
                watcher.began(run)
            for event in pool.events(POLL):
                attempt = active.get(event["id"])
                if attempt is None:
                    continue
                if event["event"] == "exit":
                    del active[event["id"]]
                    if reason := event.get("reason"):  # of the zygote, which died with its runs
                        attempt.failure.setdefault("reason", f"its parent process died: {reason}")
                    failure = _end(attempt, event["status"], ledger, settings, watcher)
                    failures += [failure] if failure else []
                elif event["event"] == "done":
                    attempt.done = True
                elif event["event"] == "failed":
                    attempt.failure = event
                else:
                    watcher.heard(attempt.run, event)
            for overdue in [a for a in active.values() if a.deadline and time.monotonic() > a.deadline]:
                overdue.timed_out, overdue.deadline = True, None
                pool.kill(overdue.run.id)
    finally:
        if own:
            pool.close()
    return failures


def _begin(
    run: Run, folder: Path | None, selection: Path, slot: int, ledger: Ledger, settings: Settings, pool: Pool
) -> _Active:
    workspace = ledger.workspace(run.id)
    job = Job(
        run=run,
        checkpoint_folder=str(folder) if folder else None,
        selection=str(selection.resolve()),
        workspace=str(workspace.resolve()),
        threads=settings.threads,
        command=settings.command,
        commit=settings.tree.commit,
        dirty=settings.tree.dirty,
        checkpoint_every=settings.checkpoint_every,
        trackers=settings.trackers,
    )
    pool.submit(job, devices.share(settings.gpus, slot))
    deadline = time.monotonic() + settings.time_limit if settings.time_limit else None
    return _Active(run, workspace, slot, deadline)


def _end(ended: _Active, status: int, ledger: Ledger, settings: Settings, watcher: Watcher) -> Failure | None:
    if status == 0 and ended.done:
        record = Record.model_validate_json((ended.workspace / PENDING).read_bytes())
        for leftover in (PENDING, ".lock"):
            (ended.workspace / leftover).unlink(missing_ok=True)
        shutil.rmtree(ended.workspace / "checkpoints", ignore_errors=True)
        weights = ended.workspace / weights_folder(adapter=ended.run.recipe.method != "full")
        (weights / CARD).write_text(model_card(record), encoding="utf-8")
        ledger.publish(record, ended.workspace)
        watcher.ended(ended.run, record, None)
        return None
    failure = Failure(
        id=ended.run.id,
        run=ended.run,
        stage=ended.failure.get("stage", "start"),
        reason=_reason(ended, status, settings),
        traceback=ended.failure.get("traceback", ""),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=ended.run.versions,
    )
    ledger.fail(failure)
    watcher.ended(ended.run, None, failure)
    return failure


def _reason(ended: _Active, status: int, settings: Settings) -> str:
    if ended.timed_out:
        return f"reached its time limit of {settings.time_limit:g} s"
    if "reason" in ended.failure:
        return str(ended.failure["reason"])
    if status == -signal.SIGKILL:
        return "killed (signal 9): out of memory, or by hand"
    name = f"exit status {status}"
    with suppress(ValueError):
        name = signal.Signals(-status).name
    return f"died ({name}); its log is in {ended.workspace / 'log.txt'}"
