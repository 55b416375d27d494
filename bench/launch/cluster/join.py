"""Joining a cluster: the only module that imports Ray.

A cluster that is started for the occasion listens on the loopback alone and has no dashboard. One that is
joined is as its owner set it up. Ray carries Python objects between driver and nodes, so whoever can reach a
cluster's ports and has its token can run code there: that is Ray's own rule, and the reason for the loopback.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.errors import RequestError

#: Seconds until an address counts as unanswered.
ANSWER = 5.0
#: Bytes of a local cluster's shared memory, through which workspaces pass.
OBJECTS = 512 * 1024**2
CLIENT_PORT = 10001
#: Calls without arguments that a head and its client port answer, each one of the two.
QUESTIONS = ("/ray.rpc.NodeInfoGcsService/CheckAlive", "/ray.rpc.RayletDriver/ClusterInfo")
#: Where Ray writes the address of the cluster that was started on this machine.
CURRENT = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
#: Ray puts the machine's outer address in the place of 127.0.0.1, and takes this as it is; only Linux has it.
LOOPBACK = "127.0.0.2" if sys.platform == "linux" else None


@dataclass(frozen=True)
class Target:
    """Which cluster, and what of it."""

    #: `ray` for a local one that is started for the occasion, `auto`, or `ray://HOST:PORT`.
    address: str
    #: Whether local checkpoints travel to the nodes.
    ship: bool = False
    #: How often a run is tried where nodes are lost under it.
    tries: int = 3
    #: A value of the label `ray.io/accelerator-type` that nodes must have.
    accelerator: str | None = None


def connect(target: Target, cpus: int, gpus: int = 0) -> Any:
    """The `ray` module, connected; `cpus` and `gpus` are those of a local cluster.

    Raises `RequestError` without Ray, for an address that nobody answers within 10 seconds, and where another
    version of Ray or Python runs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if find_spec("ray") is None:
        raise RequestError("--on: Ray is not installed; pip install 'bench-sft[cluster]'")
    if target.address != "ray":
        _answers(target.address)
        if _has_token():  # the mode is read when Ray is imported; left open, a token that is there is used
            asked = asks_for_token(target.address)
            os.environ.setdefault("RAY_AUTH_MODE", "token" if asked else "disabled")
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "configure_logging": False, "namespace": "bench"}
    try:
        if target.address == "ray":
            ray.init(
                "local",
                num_cpus=cpus,
                num_gpus=gpus,
                include_dashboard=False,
                object_store_memory=OBJECTS,
                _node_ip_address=LOOPBACK,
                _system_config={"worker_niceness": 0},  # as a process that is started here
                **quiet,
            )
        else:
            ray.init(target.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        text = " ".join(str(error).split())
        hint = "; if it asks for a token, set RAY_AUTH_TOKEN" if not _has_token() else ""
        raise RequestError(f"--on {target.address}: {text[:200]}{hint}") from None
    return ray


def _has_token() -> bool:
    """Whether this user has a token for clusters; Ray's client does not look for one by itself."""
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").is_file()


def asks_for_token(address: str) -> bool:
    """Whether the cluster refuses calls without a token; true where it cannot be asked.

    A driver that has a token and uses it also expects one of the nodes. Those of a cluster without tokens
    send none, and could then not fetch what the driver sends with a run.
    """
    place = _place(address)
    if not place:
        return True
    import grpc

    with grpc.insecure_channel(place) as channel:
        for method in QUESTIONS:
            try:
                channel.unary_unary(method)(b"", timeout=ANSWER)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    return True
    return False


def _place(address: str) -> str:
    """HOST:PORT of an address; empty where only Ray knows it."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        with suppress(OSError):
            address = address or CURRENT.read_text(encoding="ascii").strip()
    return address.removeprefix("ray://")


def _answers(address: str) -> None:
    """Raises `RequestError` where nobody speaks gRPC at a `ray://HOST:PORT`."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        if not address:  # Ray itself knows at once whether there is one on this machine
            return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise RequestError(f"--on {address}: expected ray, auto, or ray://HOST:{CLIENT_PORT}")
    import grpc

    channel = grpc.insecure_channel(f"{host}:{port}")
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER)
    except grpc.FutureTimeoutError:
        raise RequestError(
            f"--on {address}: no answer in {ANSWER:.0f} s; is the cluster up, and its client port open?"
        ) from None
    finally:
        channel.close()
