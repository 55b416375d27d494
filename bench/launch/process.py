"""Zygotes and the events of their runs: the driver's side of `zygote.py`.

A pool belongs to one interpreter, so that runs under another set of package versions are
started by that environment's own Python.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any, Protocol

from bench.errors import RequestError
from bench.run.identity import Run
from bench.run.job import Job

#: Bytes of a dead zygote's standard error that are read for its reason.
TAIL = 4096


def may_preload(run: Run) -> bool:
    """Whether a run may be forked from a process that holds the libraries already.

    Not where Unsloth takes part: it must be imported before the libraries that it patches. Not on
    a GPU: peft imports bitsandbytes, which asks torch for the device's capability as it is
    imported, and CUDA that was initialised before a fork is unusable after it. Apple's Metal has
    the same limit.
    """
    return run.backend != "unsloth" and run.device == "cpu"


def check_platform(platform: str = sys.platform) -> None:
    """Refuse to carry out runs where processes cannot be forked. Raises `RequestError`."""
    if platform == "win32":
        raise RequestError(
            "runs need Linux or macOS; on Windows use WSL2 (records are read here as anywhere)"
        )


class Workers(Protocol):
    """What carries runs out: `Pool` on this machine, `cluster.pool.Cluster` on many."""

    #: Whether a run may wait after it was submitted, until an event says that it was placed.
    queues: bool

    def takes(self, run: Run) -> bool:
        """Whether there is a place for this run among those that `capacity` counts."""

    def capacity(self, jobs: int) -> int:
        """How many runs may be under way."""

    def warm(self, run: Run) -> None:
        """Start what a run will need while other things are done."""

    def submit(self, job: Job, environment: Mapping[str, str]) -> None:
        """Start a run."""

    def kill(self, id: str) -> None:
        """End a run."""

    def events(self, timeout: float) -> Iterator[dict[str, Any]]:
        """What the runs report, with an `exit` event at the end of each."""

    def close(self) -> None:
        """End everything."""


class Pool:
    """The zygotes of one interpreter, started when first needed."""

    queues = False

    def takes(self, run: Run) -> bool:
        """Any run."""
        return True

    def __init__(self, threads: int, python: str = sys.executable, extra: Mapping[str, str] | None = None):
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONUNBUFFERED": "1",
            **(extra or {}),
        }
        self.python = python
        self.selector = selectors.DefaultSelector()
        #: The keys of these say whether a zygote is bare.
        self.zygotes: dict[bool, subprocess.Popen[bytes]] = {}
        self.buffers: dict[bool, bytes] = {}
        self.errors: dict[bool, IO[bytes]] = {}
        #: Run id -> whether its zygote is bare.
        self.homes: dict[str, bool] = {}

    def warm(self, run: Run) -> None:
        """Start the zygote that a run will need: it imports its libraries while other things are done."""
        bare = not may_preload(run)
        if bare not in self.zygotes:
            self._start(bare)

    def submit(self, job: Job, environment: Mapping[str, str]) -> None:
        """Start a run in a process of its own."""
        bare = not may_preload(job.run)
        self.homes[job.run.id] = bare
        message = {
            "id": job.run.id,
            "job": json.loads(job.model_dump_json()),
            "environment": dict(environment),
        }
        self._send(bare, message)

    def capacity(self, jobs: int) -> int:
        """How many runs may be under way; on one machine as many as the user or its cores say."""
        return jobs

    def kill(self, id: str) -> None:
        """End a run; its exit event follows."""
        self._send(self.homes[id], {"kill": id})

    def events(self, timeout: float) -> Iterator[dict[str, Any]]:
        """The events that arrive within `timeout` seconds.

        A zygote that dies gives an exit event for each of its runs, with the zygote's `reason`.
        """
        for key, _ in self.selector.select(timeout):
            bare = key.data
            chunk = os.read(key.fd, 1 << 16)
            if not chunk:
                yield from self._lost(bare)
                continue
            *lines, self.buffers[bare] = (self.buffers[bare] + chunk).split(b"\n")
            for line in lines:
                event: dict[str, Any] = json.loads(line)
                if event["event"] == "exit":
                    self.homes.pop(event["id"], None)
                yield event

    def close(self) -> None:
        """End all zygotes and with them their runs."""
        for bare, zygote in self.zygotes.items():
            if bare not in self.homes.values():  # nothing runs, so there is nothing to end first
                zygote.kill()
            with suppress(OSError):
                if zygote.stdin:
                    zygote.stdin.close()
            try:
                zygote.wait(timeout=5)
            except subprocess.TimeoutExpired:
                zygote.kill()
                zygote.wait()
        for errors in self.errors.values():
            errors.close()
        self.selector.close()

    def _send(self, bare: bool, message: dict[str, Any]) -> None:
        zygote = self.zygotes.get(bare) or self._start(bare)
        if zygote.stdin is None:
            raise RuntimeError("a zygote always has an input")
        with suppress(BrokenPipeError):  # it died: the exit events follow
            zygote.stdin.write(json.dumps(message).encode() + b"\n")
            zygote.stdin.flush()

    def _start(self, bare: bool) -> subprocess.Popen[bytes]:
        self.errors[bare] = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as its zygote)
        zygote = subprocess.Popen(
            [self.python, "-m", "bench.launch.zygote", *(["--bare"] if bare else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors[bare],
            env=self.environment,
            start_new_session=True,  # an interrupt reaches the driver alone, which ends the rest
        )
        self.zygotes[bare] = zygote
        self.buffers[bare] = b""
        self.selector.register(zygote.stdout, selectors.EVENT_READ, data=bare)  # type: ignore[arg-type]
        return zygote

    def _lost(self, bare: bool) -> Iterator[dict[str, Any]]:
        zygote = self.zygotes.pop(bare)
        self.selector.unregister(zygote.stdout)  # type: ignore[arg-type]
        status = zygote.wait()
        last = _last_line(self.errors.pop(bare))
        reason = last if status > 0 else ""  # a killed process wrote nothing about its end
        for id in [id for id, home in self.homes.items() if home == bare]:
            del self.homes[id]
            yield {"event": "exit", "id": id, "status": status, **({"reason": reason} if reason else {})}


def _last_line(errors: IO[bytes]) -> str:
    """The last line of a closed process's standard error, where an exception's text stands."""
    with errors:
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, size - TAIL))
        lines = errors.read().decode(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
