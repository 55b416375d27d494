"""A process that imports the libraries once and forks a child for every run.

Importing torch, transformers, TRL and PEFT costs seconds of CPU; a forked child has them for
free and still dies alone. A `--bare` zygote imports none of them and its children import what
they need: see `bench.launch.process.may_preload` for the runs that need one.

Protocol: JSON lines. In: `{"job": ...}` to start a run, `{"kill": id}` to end one. Out: what
the children emit, each line with its run's `id`, and `{"event": "exit", "id", "status"}`.
A closed input means that the driver is gone: the children are killed, nothing is orphaned.
Standard error belongs to the driver, which quotes its end where a zygote dies.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

from bench.launch import worker

PRELOADED = ("bench.run.attempt", "nltk.stem.porter", "trl.trainer.sft_trainer", "peft", "bench.data.prepare")
POLL = 0.1


def main(bare: bool) -> None:
    """Serve until the input closes."""
    events = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    worker.die_with_parent()
    if not bare:
        for name in PRELOADED:
            try:
                importlib.import_module(name)
            except Exception:  # a run that needs the module fails by itself, with its stage and reason
                traceback.print_exc()
    children: dict[int, str] = {}
    buffer = b""
    while True:
        readable, _, _ = select.select([0], [], [], POLL)
        _reap(children, events)
        if not readable:
            continue
        chunk = os.read(0, 1 << 16)
        if not chunk:
            break
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            _obey(json.loads(line), children, events)
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _obey(message: dict[str, Any], children: dict[int, str], events: int) -> None:
    if "kill" in message:
        for pid, id in children.items():
            if id == message["kill"]:
                os.killpg(pid, signal.SIGKILL)
        return
    pid = os.fork()
    if pid == 0:
        worker.work(message, events)  # never returns
    with suppress(OSError):  # the child does the same; whoever comes first
        os.setpgid(pid, pid)
    children[pid] = message["id"]
    worker.send(events, message["id"], {"event": "started", "pid": pid})


def _reap(children: dict[int, str], events: int) -> None:
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            worker.send(
                events, children.pop(pid), {"event": "exit", "status": os.waitstatus_to_exitcode(status)}
            )


if __name__ == "__main__":
    main(bare="--bare" in sys.argv)
