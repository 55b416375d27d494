"""A node's side of a cluster: check the machine, carry a job out in its own process, hand back its files.

A finished workspace stays until the driver has it, so one that died finds it again on the same node. Nothing
here knows the cluster's library. A node has its own copy of the program, its own twins and its own
hub cache; a job names what it needs by digest, and a node that has something else says so instead of running.
The zygotes of `bench.launch.process` stay between jobs, so that a node imports the libraries once.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import devices, provenance
from bench.cache import cache_root
from bench.errors import BenchError
from bench.harness import harness
from bench.launch import preflight
from bench.launch.cluster import parcel
from bench.launch.process import Pool
from bench.run.identity import Run
from bench.run.job import PENDING, Job
from bench.store.record import LOG

#: Free bytes below which a node takes no job.
SPARE = 500_000_000
POLL = 0.25
#: Events that a display needs at most so often, in steps of a run.
EVERY = 10

_pools: dict[int, Pool] = {}


def lacks(run: Run, code: str | None, machine: str | None = None) -> list[str]:
    """What this machine lacks or has otherwise for a run that was planned elsewhere; one line each."""
    here = provenance.versions()
    missing = [
        f"{name} {here.get(name, 'is absent')}, the run needs {version}"
        for name, version in run.versions.items()
        if here.get(name) != version
    ]
    if code and harness(retrieval=run.contract.retrieval is not None) != code:
        missing.append("another state of this program's code; install the driver's")
    if machine and (own := devices.machine(run.device)) != machine:
        missing.append(f"is {own}, the run needs {machine} (--same-hardware)")
    place = next(path for path in (root(), *root().parents) if path.exists())
    if (free := shutil.disk_usage(place).free) < SPARE:
        missing.append(f"{free / 1e9:.1f} GB free in {place}, {SPARE / 1e9:.1f} GB are needed")
    return missing


def root() -> Path:
    """Where a node keeps workspaces, and checkpoints that were sent to it."""
    return cache_root() / "cluster"


def carry_out(
    job: Job,
    selection: bytes,
    shipped: bytes | None,
    environment: Mapping[str, str],
    tell: Callable[[dict[str, Any]], None],
) -> tuple[dict[str, Any], bytes]:
    """How a job ended, and its workspace (of a failed one, its log).

    The end is `{"status": 0}`, `{"status": n, "failure": event}`, `{"busy": True}` where another driver's
    worker has the run here, or `{"refused": reason}` where this machine cannot carry it out.
    """
    refusal = "; ".join(lacks(job.run, job.run.harness, job.machine))
    try:
        folder = None if refusal else checkpoint_of(job, shipped)
    except BenchError as error:
        refusal = str(error)
    if refusal:
        return {"refused": f"node {socket.gethostname()}: {refusal}"}, b""
    workspace = root() / job.run.id
    if (workspace / PENDING).is_file():  # finished for a driver that has not fetched it
        return {"status": 0}, parcel.pack(workspace)
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "selection.json").write_bytes(selection)
    changes = {
        "workspace": str(workspace),
        "selection": str(workspace / "selection.json"),
        "checkpoint_folder": str(folder) if folder else None,
        "untuned": str(root() / "untuned"),
    }
    end = _run(job.model_copy(update=changes), environment, tell)
    if end.get("busy"):
        return end, b""
    return end, parcel.pack(workspace, None if end["status"] == 0 else (LOG,))


def forget(id: str) -> None:
    """Remove a run's workspace, which the driver has."""
    shutil.rmtree(root() / id, ignore_errors=True)


def _run(job: Job, environment: Mapping[str, str], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Until the job's process is over."""
    if job.threads not in _pools:
        _pools[job.threads] = Pool(job.threads)
    pool = _pools[job.threads]
    tell({"id": job.run.id, "event": "placed", "node": socket.gethostname(), "pid": os.getpid()})
    pool.submit(job, environment)
    end: dict[str, Any] = {}
    while True:
        for event in pool.events(POLL):
            if event["id"] != job.run.id:
                continue
            if event["event"] == "exit":
                if reason := event.get("reason"):
                    end.setdefault("failure", {"reason": f"its parent process died: {reason}"})
                return {"status": event["status"], **end}
            if event["event"] == "failed":
                end["failure"] = event
            elif event["event"] == "busy":
                end["busy"] = True
            elif event["event"] == "done":  # the driver says so once it has the workspace
                continue
            elif event["event"] != "step" or event["step"] % EVERY == 0 or event["step"] == event["steps"]:
                tell(event)


def checkpoint_of(job: Job, shipped: bytes | None) -> Path | None:
    """The run's checkpoint on this machine; none for the hub's. Raises `RequestError` and its kinds."""
    checkpoint = job.run.checkpoint
    if checkpoint.kind == "twin":
        own, folder = preflight.checkpoint(job.run.model, "mini", job.run.device)
        if own.revision != checkpoint.revision:
            raise BenchError(f"its twin '{checkpoint.source}' is another than the driver's")
        return folder
    if checkpoint.kind == "hub" or job.checkpoint_folder is None:
        return None
    if shipped is not None:
        return _unpacked(job, shipped)
    place = Path(job.checkpoint_folder)
    if not place.exists():
        raise BenchError(f"has no {place}; copy it there, or add --ship")
    if preflight.local_digest(place) != checkpoint.revision:
        raise BenchError(f"{place} is another checkpoint than the driver's; copy it there, or add --ship")
    return place


def _unpacked(job: Job, shipped: bytes) -> Path:
    """A checkpoint that was sent along, kept under its digest."""
    checkpoint, name = job.run.checkpoint, Path(str(job.checkpoint_folder)).name
    kept = root() / "checkpoints" / checkpoint.revision[:32]
    place = kept / name if checkpoint.kind == "gguf" else kept
    if not place.exists() or preflight.local_digest(place) != checkpoint.revision:
        shutil.rmtree(kept, ignore_errors=True)
        fresh = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
        parcel.unpack(shipped, fresh)
        try:
            fresh.replace(kept)
        except OSError:  # another job of this node was quicker
            shutil.rmtree(fresh, ignore_errors=True)
    if preflight.local_digest(place) != checkpoint.revision:
        raise BenchError(f"the checkpoint that was sent along does not match its digest ({json.dumps(name)})")
    return place
