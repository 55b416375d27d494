"""The child that carries out one run: output into the run's log, events to the driver."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from bench.launch import ranks

#: The longest write to a pipe that other processes' writes cannot split, in bytes.
LONGEST_LINE = select.PIPE_BUF
#: The kernel's scale ends at 1000: such a process is the first to be killed when memory runs out.
FIRST_TO_DIE = 1000


def work(message: dict[str, Any], events: int) -> NoReturn:
    """Carry out `message["job"]` and leave. Exit status 0 means that the record is pending."""
    id, stage = message["id"], "start"

    def emit(event: dict[str, Any]) -> None:
        nonlocal stage
        stage = event.get("stage", stage)
        send(events, id, event)

    status = 1
    try:
        os.setpgid(0, 0)
        die_with_parent()
        die_before_others()
        workspace = Path(message["job"]["workspace"])
        os.environ.update(message.get("environment", {}))
        lock = locked(workspace / ".lock")
        if lock is None:
            emit({"event": "busy"})
            os._exit(status)
        if (workspace / "pending.json").is_file():  # another driver's worker has just finished it
            emit({"event": "done"})
            os._exit(0)
        _redirect(workspace / "log.txt")
        if message["job"]["run"]["backend"] == "unsloth":
            import unsloth  # noqa: F401  (before the libraries that it patches)
        devices = message["job"]["run"]["recipe"].get("devices", 1)
        if devices > 1:
            _shared(message["job"], devices, workspace, emit)
        else:
            _execute(message["job"], emit)
        emit({"event": "done"})
        status = 0
    except _Told:
        pass
    except BaseException as error:
        emit(failed(error, stage))  # first: the log may lie on the disk that is full
        with suppress(OSError):
            traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


class _Told(Exception):
    """The driver knows already why the run failed."""


def _execute(job: dict[str, Any], emit: Callable[[dict[str, Any]], None]) -> None:
    from bench.run.attempt import execute
    from bench.run.job import Job

    execute(Job.model_validate_json(json.dumps(job)), emit)


def _shared(
    job: dict[str, Any], devices: int, workspace: Path, emit: Callable[[dict[str, Any]], None]
) -> None:
    """Carry the job out in several processes, of which the first reports. Raises `_Told`, `RuntimeError`."""

    def attempt(rank: int) -> None:
        stage = "start"

        def follow(event: dict[str, Any]) -> None:
            nonlocal stage
            stage = event.get("stage", stage)
            if rank == 0:
                emit(event)

        die_with_parent()
        try:
            _execute(job, follow)
        except BaseException as error:
            if ranks.is_first_to_fail(workspace):
                emit(failed(error, stage))
            raise

    if ends := ranks.spread(devices, workspace, attempt):
        killed = [signal.Signals(-end).name for end in ends if end < 0]
        if not killed and (workspace / ranks.FAILED).exists():
            raise _Told
        by = f" by {killed[0]}" if killed else ""
        raise RuntimeError(f"one of its {devices} processes was killed{by}")


def failed(error: BaseException, stage: str) -> dict[str, Any]:
    """The event of a run that died by an exception."""
    text = "".join(traceback.format_exception(error))
    return {"event": "failed", "stage": stage, "reason": _reason(error), "traceback": text}


def locked(file: Path) -> IO[str] | None:
    """A file that this process alone holds; none while another holds it, or when its folder is gone.

    The caller keeps the file: closing it frees the lock.
    """
    try:
        lock = file.open("w")
    except FileNotFoundError:  # published by another driver meanwhile
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def send(events: int, id: str, event: dict[str, Any]) -> None:
    """Write one event as a line, in one piece."""
    try:
        os.write(events, line_of({"id": id, **event}))
    except BrokenPipeError:  # the driver is gone
        os._exit(1)


def line_of(event: dict[str, Any], longest: int = LONGEST_LINE) -> bytes:
    """An event as a line of at most `longest` bytes; the longest texts lose their beginnings.

    A line that a pipe may split would be mixed with the lines of other runs.
    """
    event = dict(event)
    while len(line := json.dumps(event).encode() + b"\n") > longest:
        texts = [key for key, value in event.items() if isinstance(value, str) and key not in ("id", "event")]
        key = max(texts, key=lambda name: len(json.dumps(event[name])))
        event[key] = event[key][len(event[key]) // 8 + 1 :]
    return line


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies (Linux only)."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1  # noqa: N806  (the kernel's name)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def die_before_others() -> None:
    """Ask the kernel to take this process first where memory runs out (Linux only).

    The zygote and the driver hold little, but their death would take other runs along.
    """
    with suppress(OSError):  # no such file elsewhere; containers may forbid it
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_DIE), encoding="ascii")


def _redirect(log: Path) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    head = text[0][:300] if text else ""
    if type(error).__module__.startswith("bench."):
        return head
    return f"{type(error).__name__}: {head}" if head else type(error).__name__
