"""The cluster's side of `bench run --on`: runs are placed on a Ray cluster's nodes by what they need.

`Cluster` has the methods of `bench.launch.process.Pool`, so one driver serves both: it alone writes records.
A run is a Ray task without retries of Ray's own. The task is `node.carry_out` in a Ray worker process, which
starts the run in a process of its own as on one machine; what comes back is the workspace as bytes, unpacked
here and published here.

Decisions that this module owns:

- A run goes to a node whose GPU holds it (`placing`); nodes of an unknown kind may have it too.
- A run that fails is not tried again: it died in its own process and its reason came back. A worker process
  or node that is lost says nothing about the run, so the run goes elsewhere, at most `tries` times in all.
  A node that refuses a run (other code, a full disk) is given no other.
- Drivers that share a folder lock a run's workspace there while it is out. What a node sends is put in place
  file by file, its pending record last, so a driver that dies meanwhile publishes nothing by half.
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
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bench.launch.cluster import node, parcel, placing, tasks
from bench.launch.cluster.join import Target
from bench.launch.cluster.mailbox import Mailbox
from bench.launch.cluster.nodes import Nodes
from bench.run.identity import Run
from bench.run.job import LOCK, PENDING, Job


@dataclass
class _Task:
    """A job that is somewhere on the cluster."""

    job: Job
    reference: Any
    #: Of the run's workspace here, so that no other driver of this folder hands it out too.
    lock: IO[str]
    tries: int = 1
    node: str = ""
    killed: bool = field(default=False)


class Cluster:
    """Runs on the nodes of a cluster: the driver's side."""

    queues = True

    def __init__(
        self, ray: Any, target: Target, threads: int, jobs: int | None = None, work: Any = tasks.carry_out
    ) -> None:
        self.ray, self.target, self.threads, self.jobs = ray, target, threads, jobs
        self.nodes = Nodes(ray, target, threads)
        self.work = ray.remote(work)
        self.mailbox = Mailbox(ray)
        self.tasks: dict[str, _Task] = {}
        #: Runs that another driver of this folder has in its hands, or has just fetched.
        self.settled: list[tuple[str, str]] = []
        #: File -> its content in the cluster's memory.
        self.sent: dict[str, Any] = {}
        #: Identity of a run -> the run, which keeps its identity, and the GPUs that are too small for it.
        self._small: dict[int, tuple[Run, tuple[str, ...]]] = {}

    def warm(self, run: Run) -> None:
        """Nothing: the nodes have their own processes."""

    def check(self, runs: Sequence[Run]) -> dict[str, str]:
        """Hold every node against what the runs need, as `Nodes.check`."""
        return self.nodes.check(runs)

    def capacity(self, jobs: int) -> int:
        """How many runs the cluster holds at once; at most --jobs where that was given."""
        count = self.nodes.places(under_way=bool(self.tasks))
        return min(count, self.jobs or count)

    def takes(self, run: Run) -> bool:
        """Whether fewer runs like this one are under way than the nodes that could hold them have places."""
        small = self._too_small(run)
        there = sum(self._too_small(task.job.run) == small for task in self.tasks.values())
        return self.nodes.places(small, bool(self.tasks)) > there

    def _too_small(self, run: Run) -> tuple[str, ...]:
        """As `placing.too_small`, which is asked often, told once for each run."""
        if id(run) not in self._small:
            self._small[id(run)] = (run, placing.too_small(run))
        return self._small[id(run)][1]

    def submit(self, job: Job, environment: Mapping[str, str]) -> None:
        """Hand a job to the cluster; a GPU is the node's to choose."""
        from bench.launch.worker import locked  # here: Windows has no `fcntl`

        workspace = Path(job.workspace)
        lock = locked(workspace / LOCK)
        if lock is None:
            self.settled.append((job.run.id, "busy"))
        elif (workspace / PENDING).is_file():
            lock.close()
            self.settled.append((job.run.id, "done"))
        else:
            with self.nodes.in_reach():
                self.tasks[job.run.id] = _Task(job, self._start(job), lock)

    def kill(self, id: str) -> None:
        """End a run; its exit event follows."""
        self.tasks[id].killed = True
        self.ray.cancel(self.tasks[id].reference, force=True)

    def events(self, timeout: float) -> Iterator[dict[str, Any]]:
        """What arrives within `timeout` seconds. Raises `RequestError` where the cluster is gone."""
        while self.settled:
            id, how = self.settled.pop()
            yield {"id": id, "event": how}
            yield {"id": id, "event": "exit", "status": 0}
        references = {task.reference: id for id, task in self.tasks.items()}
        if not references:
            time.sleep(timeout)
            return
        with self.nodes.in_reach():
            over, _ = self.ray.wait(list(references), num_returns=len(references), timeout=timeout)
            told = self.mailbox.told()
        for event in told:
            if event["event"] == "placed" and event["id"] in self.tasks:
                self.tasks[event["id"]].node = event["node"]
            yield event
        for reference in over:
            with self.nodes.in_reach():
                yield from self._ended(references[reference])

    def close(self) -> None:
        """End what still runs, and the cluster if it was started for the occasion."""
        for task in self.tasks.values():
            with suppress(Exception):
                self.ray.cancel(task.reference, force=True)
            task.lock.close()
        with suppress(ConnectionError):
            self.ray.shutdown()

    def _start(self, job: Job) -> Any:
        cores = max(self.threads, job.run.recipe.devices)
        needs: dict[str, Any] = {"num_cpus": cores, "num_gpus": self.nodes.gpus, "max_retries": 0}
        if where := placing.selector(self.target.accelerator, job.run, self.nodes.refusing):
            needs["label_selector"] = where
        selection = self._sent(Path(job.selection))
        folder = job.checkpoint_folder if self._ships(job) else None
        shipped = self._sent(Path(folder)) if folder else None
        return self.work.options(**needs).remote(
            job.model_dump_json(), selection, shipped, self.mailbox.actor
        )

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

    def _ended(self, id: str) -> Iterator[dict[str, Any]]:
        """The last events of a run; none where it goes elsewhere."""
        task = self.tasks[id]
        try:
            text, content = self.ray.get(task.reference)
            end = json.loads(text)
        except self.ray.exceptions.RayError as error:
            end, content = {"lost": _lost(error, task)}, b""
        why = end.get("lost") or end.get("refused")
        if "refused" in end and "node" in end:
            self.nodes.refuse(end["node"], end["refused"])
        if why and not task.killed and task.tries < self.target.tries and self.nodes.alive():
            self.tasks[id] = _Task(task.job, self._start(task.job), task.lock, task.tries + 1)
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
        task.lock.close()  # before the driver publishes, which locks the workspace itself
        yield {"id": id, "event": "exit", "status": end.get("status", -9)}

    def _received(self, task: _Task, end: dict[str, Any], content: bytes) -> dict[str, Any]:
        """Unpack a workspace; the last event of its run but for the exit."""
        try:
            parcel.deliver(content, Path(task.job.workspace), last=PENDING)
        except (OSError, tarfile.TarError) as error:
            return {"event": "failed", "stage": "fetch", "reason": f"cannot be unpacked: {error}"}
        if end["status"] != 0:
            return {"event": "failed", **end.get("failure", {})}
        if "node" in end:
            on = self.nodes.only_on(end["node"])
            self.ray.remote(node.forget).options(num_cpus=0, scheduling_strategy=on).remote(task.job.run.id)
        return {"event": "done"}


def _lost(error: Exception, task: _Task) -> str:
    """Why a task left no answer."""
    where = f"node {task.node}" if task.node else "its node"
    return f"{where} was lost under it ({type(error).__name__})"
