"""The nodes of a cluster as its driver sees them: which are there, what they hold, what they lack."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bench.errors import NotEnough, RequestError
from bench.launch.cluster import placing, tasks
from bench.launch.cluster.join import Target
from bench.run.identity import Run

#: Seconds that the check of all nodes may take.
CHECK = 120.0
#: Seconds between two looks at what is there.
LOOK = 2.0
#: Seconds that runs wait for a node that could hold them, where none is left.
PATIENCE = 60.0


class Nodes:
    """Those that are alive, have the accelerator that was asked for, and have refused nothing."""

    def __init__(self, ray: Any, target: Target, threads: int) -> None:
        self.ray, self.target, self.threads = ray, target, threads
        #: GPUs of a run.
        self.gpus = 0
        #: Node -> why it carries nothing out; it is given nothing more.
        self.refusing: dict[str, str] = {}
        self._seen: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._homeless = 0.0

    def check(self, runs: Sequence[Run]) -> dict[str, str]:
        """Hold every node against what the runs need; the kind of machine that each node is.

        Raises `NotEnough`, `RequestError`.
        """
        self.gpus = int(any(run.device == "cuda" for run in runs))
        there = self.alive()
        nodes = [each for each in there if self.fit_on(each)]
        held = "; ".join(map(placing.described, there)) or "no node"
        if not nodes:
            wanted = "a GPU" if self.gpus else f"{self.threads} CPU cores"
            raise NotEnough(f"--on {self.target.address}: no node has {wanted}; there: {held}")
        if large := placing.without_a_place(runs, nodes):
            raise NotEnough(f"--on {self.target.address}: no GPU holds {', '.join(large)}; there: {held}")
        kinds = {tasks.needs_of(run): run for run in runs}.values()
        texts = [run.model_dump_json() for run in kinds]
        asked = [
            self.ray.remote(tasks.lacks)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=self.only_on(each["NodeID"]))
            .remote(texts)
            for each in nodes
        ]
        answers = {
            each["NodeID"][:6]: answer
            for each, reference in zip(nodes, asked, strict=True)
            if (answer := self._answer(reference))
        }
        if not answers:
            raise RequestError(f"--on {self.target.address}: every node was lost while it was checked")
        faults = [f"node {name}: {'; '.join(lines)}" for name, lines, _ in answers.values() if lines]
        if faults:
            raise RequestError(f"--on {self.target.address}: {' | '.join(faults)}")
        return {f"{name} {id}": machine for id, (name, _, machine) in answers.items()}

    def _answer(self, reference: Any) -> tuple[str, list[str], str] | None:
        """What a node said of itself; none where it was lost. Raises `RequestError`."""
        errors = self.ray.exceptions
        try:
            answer: tuple[str, list[str], str] = self.ray.get(reference, timeout=CHECK)
        except (errors.RayTaskError, errors.GetTimeoutError) as error:  # it lacks this program, or hangs
            text = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise RequestError(
                f"--on {self.target.address}: a node cannot run this program ({text[:200]})"
            ) from None
        except errors.RayError:
            return None
        return answer

    def places(self, small: Sequence[str] = (), under_way: bool = True) -> int:
        """How many runs the nodes hold at once whose accelerators are not too `small`.

        Where no run is `under_way`, raises `RequestError` if every node has refused, or none that holds the
        runs has been left for `PATIENCE` seconds.
        """
        if time.monotonic() - self._seen[0] > LOOK:
            self._seen = (time.monotonic(), self.alive())
        nodes = self._seen[1]
        if self.refusing and not nodes and not under_way:
            reasons = "; ".join(dict.fromkeys(self.refusing.values()))
            raise RequestError(f"--on {self.target.address}: no node is left; {reasons}")
        count = sum(self.fit_on(each) for each in nodes if placing.kind_of(each) not in small)
        if count or under_way:
            self._homeless = 0.0
        elif not self._homeless:
            self._homeless = time.monotonic()
        elif time.monotonic() - self._homeless > PATIENCE:
            raise RequestError(f"--on {self.target.address}: no node is left that holds the runs that wait")
        return count

    def alive(self) -> list[dict[str, Any]]:
        """The nodes now. Raises `RequestError` where the cluster is gone."""
        wanted = self.target.accelerator
        with self.in_reach():
            nodes = self.ray.nodes()
        return [
            each
            for each in nodes
            if each["Alive"]
            and each["NodeID"] not in self.refusing
            and (not wanted or placing.kind_of(each) == wanted)
        ]

    def refuse(self, id: str, reason: str) -> None:
        """Give a node nothing more."""
        self.refusing[id] = reason
        self._seen = (0.0, [])

    def fit_on(self, each: Mapping[str, Any]) -> int:
        """How many runs a node holds at once."""
        resources = each["Resources"]
        fits = int(resources.get("CPU", 0) // self.threads)
        return min(fits, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else fits

    def only_on(self, id: str) -> Any:
        """A task's place: this node and no other."""
        return self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(id, soft=False)

    @contextmanager
    def in_reach(self) -> Iterator[None]:
        """Raises `RequestError` for what Ray raises where the cluster is gone."""
        try:
            yield
        except Exception as error:  # what a client raises depends on where it noticed
            if not isinstance(error, ConnectionError) and not type(error).__module__.startswith("grpc"):
                raise
            raise RequestError(
                f"--on {self.target.address}: the cluster is gone; the same command takes up what is missing"
            ) from None
