"""The driver: hands out runs, watches them, publishes what they leave.

Only the driver writes to the ledger. A run that dies by exception, signal, a loss that is not finite,
its time limit or a full disk becomes a failure with its reason; the others go on. After an interrupt
nothing half-written counts, and the same command takes up what is missing; a run that was finished and not
yet published is published.

Several drivers may share a folder and a plan. A run's worker locks its workspace, so each driver takes what
nobody works on, waits for the rest and ends with the whole board. The lock is `flock`, which the kernel
frees when its holder dies; on file systems without it, such as some NFS mounts, run one driver at a time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bench import devices, provenance
from bench.errors import Unreadable
from bench.files import check_tree, content, is_file
from bench.launch.process import Pool, Workers
from bench.launch.reasons import died, refused
from bench.render.card import model_card
from bench.run.identity import Run
from bench.run.job import LOCK, PENDING, Job
from bench.store.ledger import Ledger, read
from bench.store.record import CARD, Failure, Record, weights_folder

POLL = 0.25
#: Seconds until a run that another driver works on is looked at again.
LOOK_AGAIN = 2.0


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
    #: What `--with` asked for, where that moved a package; kept in the records.
    trial: tuple[str, ...] = ()
    #: The kind of machine that alone may carry runs out, as `devices.machine` names it; none for any.
    machine: str | None = None
    #: Whether untuned models answer anew where their answers are kept.
    fresh_base: bool = False
    #: Folder of the embedding model by which arms retrieve, where one was named.
    embedding: Path | None = None


@dataclass(frozen=True)
class _Waiting:
    """A run that is to be carried out, with its checkpoint's folder and its selection file."""

    run: Run
    folder: Path | None
    selection: Path
    #: How often it was found in another driver's hands, and when it is looked at again.
    tries: int = 0
    not_before: float = 0.0


@dataclass
class _Active:
    """A run that a process works on."""

    task: _Waiting
    workspace: Path
    slot: int
    deadline: float | None
    failure: dict[str, Any] = field(default_factory=dict)
    done: bool = False
    busy: bool = False
    timed_out: bool = False


def drive(
    work: Sequence[tuple[Run, Path | None, Path]],
    ledger: Ledger,
    settings: Settings,
    watcher: Watcher,
    pool: Workers | None = None,
) -> list[Failure]:
    """Carry out runs, each with its checkpoint's folder and its selection file; the failures."""
    own = pool is None
    pool = pool or Pool(settings.threads)
    try:
        return _Driver(work, ledger, settings, watcher, pool).drive()
    finally:
        if own:
            pool.close()


class _Driver:
    """The state of one `drive`: what waits, what runs, and what failed."""

    def __init__(
        self,
        work: Sequence[tuple[Run, Path | None, Path]],
        ledger: Ledger,
        settings: Settings,
        watcher: Watcher,
        pool: Workers,
    ) -> None:
        self.waiting = [_Waiting(*parts) for parts in work]
        self.ledger, self.settings, self.watcher, self.pool = ledger, settings, watcher, pool
        self.active: dict[str, _Active] = {}
        self.failures: list[Failure] = []

    def drive(self) -> list[Failure]:
        """Until nothing waits and nothing runs."""
        while self.waiting or self.active:
            now = time.monotonic()
            while len(self.active) < self.pool.capacity(self.settings.jobs) and (task := self._next(now)):
                self._begin(task)
            for event in self.pool.events(POLL):
                self._follow(event)
            if not self.active and self.waiting:  # other drivers have them all
                time.sleep(POLL)
            for overdue in [a for a in self.active.values() if a.deadline and time.monotonic() > a.deadline]:
                overdue.timed_out, overdue.deadline = True, None
                self.pool.kill(overdue.task.run.id)
        return self.failures

    def _next(self, now: float) -> _Waiting | None:
        """The first run that waits and may be tried."""
        for place, task in enumerate(self.waiting):
            if task.not_before <= now and self.pool.takes(task.run):
                return self.waiting.pop(place)
        return None

    def _begin(self, task: _Waiting) -> None:
        run, settings = task.run, self.settings
        try:
            if self._is_done(task):
                return
            workspace = self.ledger.workspace(run.id)
            check_tree(workspace)
            slot = min(set(range(len(self.active) + 1)) - {a.slot for a in self.active.values()})
            job = Job(
                run=run,
                checkpoint_folder=str(task.folder) if task.folder else None,
                selection=str(task.selection.resolve()),
                workspace=str(workspace.resolve()),
                threads=settings.threads,
                command=settings.command,
                commit=settings.tree.commit,
                dirty=settings.tree.dirty,
                checkpoint_every=settings.checkpoint_every,
                trackers=settings.trackers,
                trial=settings.trial,
                machine=settings.machine,
                untuned=str(self.ledger.untuned.resolve()),
                fresh_base=settings.fresh_base,
                embedding=str(settings.embedding.resolve()) if settings.embedding else None,
            )
            self.pool.submit(job, devices.share(settings.gpus, slot))
        except (OSError, Unreadable) as error:
            self.watcher.began(run)
            self._fail(run, "start", refused(error))
            return
        self.active[run.id] = _Active(task, workspace, slot, None if self.pool.queues else self._deadline())
        if not task.tries:
            self.watcher.began(run)

    def _deadline(self) -> float | None:
        limit = self.settings.time_limit
        return time.monotonic() + limit if limit else None

    def _is_done(self, task: _Waiting) -> bool:
        """Whether another driver finished the run, or it waits to be published since a driver died."""
        if self.ledger.finished(task.run.id):
            if not task.tries:
                self.watcher.began(task.run)
            self.watcher.ended(task.run, read(self.ledger.folder(task.run.id)), None)
            return True
        workspace = self.ledger.workspace(task.run.id)
        if not is_file(workspace / PENDING):
            return False
        if not task.tries:
            self.watcher.began(task.run)
        self._publish(task, workspace)
        return True

    def _follow(self, event: dict[str, Any]) -> None:
        attempt = self.active.get(event["id"])
        if attempt is None:
            return
        if event["event"] == "exit":
            del self.active[event["id"]]
            if reason := event.get("reason"):  # of the zygote, which died with its runs
                attempt.failure.setdefault("reason", f"its parent process died: {reason}")
            self._end(attempt, event["status"])
        elif event["event"] == "busy":
            attempt.busy = True
        elif event["event"] == "done":
            attempt.done = True
        elif event["event"] == "failed":
            attempt.failure = event
        else:
            if event["event"] in ("placed", "elsewhere"):  # time that a run waits for a node is not its own
                attempt.deadline = self._deadline() if event["event"] == "placed" else None
            self.watcher.heard(attempt.task.run, event)

    def _end(self, ended: _Active, status: int) -> None:
        task = ended.task
        if ended.busy:
            self._look_again(task)
        elif status == 0 and ended.done:
            self._publish(task, ended.workspace)
        else:
            limit = self.settings.time_limit if ended.timed_out else None
            reason = died(status, ended.failure.get("reason"), limit, ended.workspace / "log.txt")
            stage = ended.failure.get("stage", "start")
            self._fail(task.run, stage, reason, ended.failure.get("traceback", ""))

    def _look_again(self, task: _Waiting) -> None:
        """Another driver works on it: whatever it does, it will be done or free."""
        self.waiting.append(replace(task, tries=task.tries + 1, not_before=time.monotonic() + LOOK_AGAIN))

    def _publish(self, task: _Waiting, workspace: Path) -> None:
        """Make a finished run's folder its record; what cannot be written is this run's failure alone.

        The run's lock is held meanwhile: two drivers that publish one run would remove each other's record.
        """
        from bench.launch.worker import locked  # here: Windows has no `fcntl`, and never comes here

        try:
            lock = locked(workspace / LOCK)
        except OSError as error:
            self._fail(task.run, "publish", refused(error))
            return
        if lock is None:
            self._look_again(task)
            return
        with lock:
            self._publish_alone(task.run, workspace)

    def _publish_alone(self, run: Run, workspace: Path) -> None:
        if self.ledger.finished(run.id):  # another driver was quicker
            shutil.rmtree(workspace, ignore_errors=True)
            self.watcher.ended(run, read(self.ledger.folder(run.id)), None)
            return
        try:
            record = Record.model_validate_json(content(workspace / PENDING))
            shutil.rmtree(workspace / "checkpoints", ignore_errors=True)
            weights = workspace / weights_folder(run.recipe.adapter)
            if run.trained:
                (weights / CARD).write_text(model_card(record), encoding="utf-8")
            published = self.ledger.publish(record, workspace)
        except (OSError, Unreadable) as error:
            self._fail(run, "publish", refused(error))
            return
        except ValueError:
            with suppress(OSError):
                (workspace / PENDING).unlink()
            self._fail(run, "publish", "its pending record is damaged; the same command runs it again")
            return
        for leftover in (PENDING, LOCK):  # last: until then a driver's death loses nothing
            with suppress(OSError):
                (published / leftover).unlink()
        self.watcher.ended(run, record, None)

    def _fail(self, run: Run, stage: str, reason: str, traceback: str = "") -> None:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"id": run.id, "run": run, "versions": run.versions, "trial": self.settings.trial}
        failure = Failure(**about, stage=stage, reason=reason, traceback=traceback, when=when)
        with suppress(OSError):  # a full disk takes no failure either; it is told and counted all the same
            self.ledger.fail(failure)
        self.failures.append(failure)
        self.watcher.ended(run, None, failure)
