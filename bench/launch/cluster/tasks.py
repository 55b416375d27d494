"""What a cluster's own processes run on a node: a job, and the check of the machine.

They take and give text and bytes. Ray sends these functions by reference, so a node needs this program.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from bench import devices
from bench.launch.cluster import node
from bench.run.identity import Run
from bench.run.job import Job


def carry_out(job: str, selection: bytes, shipped: bytes | None, mailbox: Any) -> tuple[str, bytes]:
    """A job's end as JSON, the node's id in it, and its workspace."""

    def tell(event: Mapping[str, Any]) -> None:
        mailbox.put.remote(json.dumps(dict(event)))

    import ray

    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")  # Ray sets it to the task's own
    environment = {"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}
    try:
        end, content = node.carry_out(Job.model_validate_json(job), selection, shipped, environment, tell)
    except (OSError, ValueError) as error:  # a full disk; a job of another version of this program
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        end, content = {"refused": f"node {socket.gethostname()}: {reason}"}, b""
    return json.dumps({**end, "node": ray.get_runtime_context().get_node_id()}), content


def lacks(runs: Sequence[str]) -> tuple[str, list[str], str]:
    """What a node lacks for any of these runs, and what kind of machine it is."""
    planned = [Run.model_validate_json(run) for run in runs]
    lines = dict.fromkeys(line for run in planned for line in node.lacks(run, run.harness))
    return socket.gethostname(), list(lines), devices.machine(planned[0].device)


def needs_of(run: Run) -> str:
    """Equal for runs that need the same of a node."""
    return json.dumps([sorted(run.versions.items()), run.harness])
