"""Zygotes and what they say: the driver's side of `zygote.py`.

A pool belongs to one interpreter, so that runs under another set of package versions are
started by that environment's own Python.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from bench.run.job import Job


class Pool:
    """The zygotes of one interpreter, started when first needed."""

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
        self.zygotes: dict[bool, subprocess.Popen[bytes]] = {}
        self.buffers: dict[bool, bytes] = {}
        self.homes: dict[str, bool] = {}

    def submit(self, job: Job, environment: Mapping[str, str]) -> None:
        """Start a run in a process of its own."""
        bare = job.run.backend == "unsloth"
        self.homes[job.run.id] = bare
        message = {
            "id": job.run.id,
            "job": json.loads(job.model_dump_json()),
            "environment": dict(environment),
        }
        self._send(bare, message)

    def kill(self, id: str) -> None:
        """End a run; its exit event follows."""
        self._send(self.homes[id], {"kill": id})

    def events(self, timeout: float) -> Iterator[dict[str, Any]]:
        """What has been said within `timeout` seconds.

        A zygote that dies gives an exit event for each of its runs.
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
        for zygote in self.zygotes.values():
            with suppress(OSError):
                if zygote.stdin:
                    zygote.stdin.close()
            try:
                zygote.wait(timeout=5)
            except subprocess.TimeoutExpired:
                zygote.kill()
                zygote.wait()
        self.selector.close()

    def _send(self, bare: bool, message: dict[str, Any]) -> None:
        zygote = self.zygotes.get(bare) or self._start(bare)
        if zygote.stdin is None:
            raise RuntimeError("a zygote always has an input")
        with suppress(BrokenPipeError):  # it died: the exit events follow
            zygote.stdin.write(json.dumps(message).encode() + b"\n")
            zygote.stdin.flush()

    def _start(self, bare: bool) -> subprocess.Popen[bytes]:
        zygote = subprocess.Popen(
            [self.python, "-m", "bench.launch.zygote", *(["--bare"] if bare else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
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
        for id in [id for id, home in self.homes.items() if home == bare]:
            del self.homes[id]
            yield {"event": "exit", "id": id, "status": status}
