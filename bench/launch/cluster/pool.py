"""The cluster's side of `bench run --on`: runs are placed on a Ray cluster's nodes by what they need.

`Cluster` has the methods of `bench.launch.process.Pool`, so one driver serves both: it alone writes records.
A run is a Ray task without retries of Ray's own. The task is `node.carry_out` in a Ray worker process, which
starts the run in a process of its own as on one machine; what comes back is the workspace as bytes, unpacked
here and published here.

Decisions that this module owns:

- A run goes to a node whose GPU holds it (`placing`); nodes of an unknown kind may have it too.
- A run that fails is not tried again: it died in its own process and its reason came back. A worker process
  or node that is lost says nothing about the run, so the run goes elsewhere, at most `tries` times in all.
- Every node that is there at the start is checked before any work: versions, code, disk. A node that joins
  later is checked by each job that it is given.
- Jobs hold no secret. A node's own environment (`HF_TOKEN`) is what its hub client uses.

Limits on paper: a run costs the driver one submission, one workspace and some dozen events through one
mailbox actor; Ray's own scheduler does the placing. With 10,000 nodes and runs of ten minutes 17 runs end in
each second. Their workspaces pass through the driver one at a time, so with adapters of 50 MB its network and
disk, at 850 MB a second, are what ends it first; the events (`node.EVERY` thins them) come next.
"""

from __future__ import annotations

import json
import os
import socket
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import devices
from bench.errors import NotEnough, RequestError
from bench.launch.cluster import node, parcel, placing
from bench.launch.cluster.join import Target
from bench.run.identity import Run
from bench.run.job import Job

#: Seconds that the check of all nodes may take.
CHECK = 120.0
#: Seconds between two looks at how many runs fit on the cluster.
LOOK = 2.0


@dataclass
class _Task:
    """A job that is somewhere on the cluster."""

    job: Job
    reference: Any
    tries: int = 1
    node: str = ""
    killed: bool = field(default=False)


class _Mailbox:
    """Events of all runs on their way to the driver; an actor of the cluster."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def put(self, line: str) -> None:
        self.lines.append(line)

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


def _carry_out(job: str, selection: bytes, shipped: bytes | None, mailbox: Any) -> tuple[str, bytes]:
    """The task: what crosses the wire is text and bytes."""

    def tell(event: Mapping[str, Any]) -> None:
        mailbox.put.remote(json.dumps(dict(event)))

    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")  # Ray sets it to the task's own
    environment = {"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}
    end, content = node.carry_out(Job.model_validate_json(job), selection, shipped, environment, tell)
    import ray

    return json.dumps({**end, "node": ray.get_runtime_context().get_node_id()}), content


def _lacks(runs: Sequence[str]) -> tuple[str, list[str], str]:
    """What a node lacks for any of these runs, and what kind of machine it is."""
    planned = [Run.model_validate_json(run) for run in runs]
    lines = dict.fromkeys(line for run in planned for line in node.lacks(run, run.harness))
    return socket.gethostname(), list(lines), devices.machine(planned[0].device)


class Cluster:
    """Runs on the nodes of a cluster: the driver's side."""

    def __init__(
        self, ray: Any, target: Target, threads: int, jobs: int | None = None, work: Any = _carry_out
    ) -> None:
        self.ray, self.target, self.threads, self.jobs = ray, target, threads, jobs
        self.work = ray.remote(work)
        self.mailbox = self._new_mailbox()
        #: The answer of the mailbox that is waited for.
        self.taking: Any = None
        self.tasks: dict[str, _Task] = {}
        #: File -> its content in the cluster's memory.
        self.sent: dict[str, Any] = {}
        self.gpus = 0
        self._fits = (0.0, 0)

    def warm(self, run: Run) -> None:
        """Nothing: the nodes have their own processes."""

    def check(self, runs: Sequence[Run]) -> dict[str, str]:
        """Hold every node against what the runs need; the kind of machine that each node is.

        Raises `NotEnough`, `RequestError`.
        """
        self._fits = (0.0, 0)  # what fits depends on the runs
        self.gpus = int(any(run.device == "cuda" for run in runs))
        if not self.capacity(1):
            held = "; ".join(_described(each) for each in self._nodes()) or "no node"
            wanted = "a GPU" if self.gpus else f"{self.threads} CPU cores"
            raise NotEnough(f"--on {self.target.address}: no node has {wanted}; there: {held}")
        if large := placing.without_a_place(runs, self._nodes()):
            held = "; ".join(_described(each) for each in self._nodes())
            raise NotEnough(f"--on {self.target.address}: no GPU holds {', '.join(large)}; there: {held}")
        kinds = {digest_of(run): run for run in runs}.values()
        texts = [run.model_dump_json() for run in kinds]
        asked = [
            self.ray.remote(_lacks)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=self._only_on(each["NodeID"]))
            .remote(texts)
            for each in self._nodes()
        ]
        try:
            answers = self.ray.get(asked, timeout=CHECK)
        except self.ray.exceptions.RayError as error:
            text = str(error).strip().splitlines()[-1]
            raise RequestError(
                f"--on {self.target.address}: a node cannot run this program ({text[:200]})"
            ) from None
        faults = [f"node {name}: {'; '.join(lines)}" for name, lines, _ in answers if lines]
        if faults:
            raise RequestError(f"--on {self.target.address}: {' | '.join(faults)}")
        return {name: machine for name, _, machine in answers}

    def capacity(self, jobs: int) -> int:
        """How many runs the cluster holds at once; at most --jobs where that was given."""
        when, count = self._fits
        if time.monotonic() - when > LOOK:
            count = sum(self._fit_on(each["Resources"]) for each in self._nodes())
            self._fits = (time.monotonic(), count)
        return min(count, self.jobs or count)

    def submit(self, job: Job, environment: Mapping[str, str]) -> None:
        """Hand a job to the cluster; a GPU is the node's to choose."""
        self.tasks[job.run.id] = _Task(job, self._start(job))

    def kill(self, id: str) -> None:
        """End a run; its exit event follows."""
        self.tasks[id].killed = True
        self.ray.cancel(self.tasks[id].reference, force=True)

    def events(self, timeout: float) -> Iterator[dict[str, Any]]:
        """The events that arrive within `timeout` seconds."""
        references = {task.reference: id for id, task in self.tasks.items()}
        if not references:
            time.sleep(timeout)
            return
        over, _ = self.ray.wait(list(references), num_returns=len(references), timeout=timeout)
        for event in self._told():
            if event["event"] == "placed" and event["id"] in self.tasks:
                self.tasks[event["id"]].node = event["node"]
            yield event
        for reference in over:
            yield from self._ended(references[reference])

    def close(self) -> None:
        """End what still runs, and the cluster if it was started for the occasion."""
        for task in self.tasks.values():
            with suppress(Exception):
                self.ray.cancel(task.reference, force=True)
        self.ray.shutdown()

    def _start(self, job: Job) -> Any:
        needs: dict[str, Any] = {"num_cpus": self.threads, "num_gpus": self.gpus, "max_retries": 0}
        if where := placing.selector(self.target.accelerator, job.run):
            needs["label_selector"] = where
        selection = self._sent(Path(job.selection))
        folder = job.checkpoint_folder if self._ships(job) else None
        shipped = self._sent(Path(folder)) if folder else None
        return self.work.options(**needs).remote(job.model_dump_json(), selection, shipped, self.mailbox)

    def _ships(self, job: Job) -> bool:
        kinds = ("folder", "gguf")
        return self.target.ship and job.run.checkpoint.kind in kinds

    def _sent(self, place: Path) -> Any:
        """A file's or folder's content in the cluster's memory, sent once."""
        if str(place) not in self.sent:
            if place.suffix == ".json":
                content = place.read_bytes()
            elif place.is_file():
                content = parcel.pack(place.parent, [place.name])
            else:
                content = parcel.pack(place)
            self.sent[str(place)] = self.ray.put(content)
        return self.sent[str(place)]

    def _told(self) -> list[dict[str, Any]]:
        if self.taking is None:
            self.taking = self.mailbox.take.remote()
        if not self.ray.wait([self.taking], timeout=0)[0]:
            return []
        answer, self.taking = self.taking, None
        try:
            lines = self.ray.get(answer)
        except self.ray.exceptions.RayError:  # its node is lost; events are for the display alone
            self.mailbox = self._new_mailbox()
            return []
        return [json.loads(line) for line in lines]

    def _new_mailbox(self) -> Any:
        return self.ray.remote(_Mailbox).options(num_cpus=0, max_restarts=-1).remote()

    def _ended(self, id: str) -> Iterator[dict[str, Any]]:
        """The last events of a run; none where it goes elsewhere."""
        task = self.tasks[id]
        try:
            text, content = self.ray.get(task.reference)
            end = json.loads(text)
        except self.ray.exceptions.RayError as error:
            end, content = {"lost": _lost(error, task)}, b""
        why = end.get("lost") or end.get("refused")
        if why and not task.killed and task.tries < self.target.tries:
            self.tasks[id] = _Task(task.job, self._start(task.job), task.tries + 1)
            yield {"id": id, "event": "elsewhere", "reason": why, "try": task.tries + 1}
            return
        del self.tasks[id]
        if why:
            reason = f"{why}; tried {task.tries} times" if task.tries > 1 else why
            yield {"id": id, "event": "failed", "stage": "start", "reason": reason}
        elif end.get("busy"):
            yield {"id": id, "event": "busy"}
        else:
            yield {"id": id, **self._received(task, end, content)}
        yield {"id": id, "event": "exit", "status": end.get("status", -9)}

    def _received(self, task: _Task, end: dict[str, Any], content: bytes) -> dict[str, Any]:
        """Unpack a workspace; the last event of its run but for the exit."""
        try:
            parcel.unpack(content, Path(task.job.workspace))
        except (OSError, tarfile.TarError) as error:
            return {"event": "failed", "stage": "fetch", "reason": f"cannot be unpacked: {error}"}
        if end["status"] != 0:
            return {"event": "failed", **end.get("failure", {})}
        if "node" in end:
            on = self._only_on(end["node"])
            self.ray.remote(node.forget).options(num_cpus=0, scheduling_strategy=on).remote(task.job.run.id)
        return {"event": "done"}

    def _only_on(self, node_id: str) -> Any:
        kind = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        return kind(node_id, soft=False)

    def _nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive and have the accelerator that was asked for."""
        wanted = self.target.accelerator
        return [
            each
            for each in self.ray.nodes()
            if each["Alive"] and (not wanted or placing.kind_of(each) == wanted)
        ]

    def _fit_on(self, resources: Mapping[str, float]) -> int:
        """How many runs a node holds at once."""
        fits = int(resources.get("CPU", 0) // self.threads)
        return min(fits, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else fits


def digest_of(run: Run) -> str:
    """Equal for runs that need the same of a node."""
    return json.dumps([sorted(run.versions.items()), run.harness])


def _lost(error: Exception, task: _Task) -> str:
    """Why a task left no answer."""
    where = f"node {task.node}" if task.node else "its node"
    return f"{where} was lost under it ({type(error).__name__})"


def _described(each: Mapping[str, Any]) -> str:
    held = each["Resources"]
    gpus = f", {held['GPU']:.0f} GPU {placing.kind_of(each)}".rstrip() if held.get("GPU") else ", no GPU"
    return f"{each.get('NodeManagerHostname', 'a node')} with {held.get('CPU', 0):.0f} CPU{gpus}"
