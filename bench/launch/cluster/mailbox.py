"""Events of all runs of a cluster on their way to the driver, for its display alone."""

from __future__ import annotations

import json
from typing import Any


class _Box:
    """An actor of the cluster."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def put(self, line: str) -> None:
        self.lines.append(line)

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


class Mailbox:
    """The driver's side: what nodes have put into the actor, which lives on one of them."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        #: What nodes are given to put their events into.
        self.actor = self._new()
        #: The answer that is waited for.
        self.taking: Any = None

    def told(self) -> list[dict[str, Any]]:
        """The events that have arrived since the last time; never waits."""
        if self.taking is None:
            self.taking = self.actor.take.remote()
        if not self.ray.wait([self.taking], timeout=0)[0]:
            return []
        answer, self.taking = self.taking, None
        try:
            lines = self.ray.get(answer)
        except self.ray.exceptions.RayError:  # its node is lost
            self.actor = self._new()
            return []
        return [json.loads(line) for line in lines]

    def _new(self) -> Any:
        return self.ray.remote(_Box).options(num_cpus=0, max_restarts=-1).remote()
