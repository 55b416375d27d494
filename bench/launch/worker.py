"""The child that carries out one run: output into the run's log, events to the driver."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

#: Longer texts are cut, so that a line is written in one piece whoever else writes.
LONGEST = 3000


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
        workspace = Path(message["job"]["workspace"])
        os.environ.update(message.get("environment", {}))
        _redirect(workspace / "log.txt")
        lock = (workspace / ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RuntimeError("another process is working on this run; wait for it or stop it") from None
        if message["job"]["run"]["backend"] == "unsloth":
            import unsloth  # noqa: F401  (before the libraries that it patches)
        from bench.run.attempt import execute
        from bench.run.job import Job

        execute(Job.model_validate_json(json.dumps(message["job"])), emit)
        emit({"event": "done"})
        status = 0
    except BaseException as error:
        traceback.print_exc()
        emit(
            {
                "event": "failed",
                "stage": stage,
                "reason": _reason(error),
                "traceback": traceback.format_exc()[-LONGEST:],
            }
        )
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def send(events: int, id: str, event: dict[str, Any]) -> None:
    """Write one event as a line."""
    line = json.dumps({"id": id, **event}).encode() + b"\n"
    try:
        os.write(events, line)
    except BrokenPipeError:  # the driver is gone
        os._exit(1)


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies (Linux only)."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1  # noqa: N806  (the kernel's name)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _redirect(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
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
