"""Whether a plan on a cluster is completed where a worker, a node, the head or the driver is killed.

    python -m benchmarks.cluster_kills --moments 10

Two twins are really trained at the smoke budget on a cluster of a head and two nodes on this machine. At each
of so many moments, spread over the time of an undisturbed plan, one process is killed by SIGKILL. A dead node
is replaced and a dead head started again with its nodes; the same command is given again until it ends well.
Its records must hold the scores, answers and curves of `--jobs 2` without any cluster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.store.ledger import Ledger

PLAN = "run --models gpt2,phi-1.5 --budget smoke --eval-limit 20 --max-new-tokens 8 --scale mini"
TARGETS = ("worker", "node", "head", "driver")
#: Seconds that one driver may take, and that a driver waits for a head that is gone (60 by Ray's default).
LONGEST, HEADLESS = 240, 10
#: Times that the same command is given.
MOST = 3


class Nodes:
    """A head without CPUs and two nodes of one CPU each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]

    def lose_a_node(self) -> None:
        """Kill a node's processes, and add another."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)
        self.nodes.append(self.cluster.add_node(num_cpus=1))

    def lose_the_head(self) -> None:
        """Kill the process that knows the cluster."""
        self.cluster.head_node.kill_gcs_server()

    def close(self) -> None:
        """End all of it."""
        self.cluster.shutdown()


def start(out: Path, more: str, address: str = "") -> subprocess.Popen[bytes]:
    """A driver whose output goes to a file beside its folder."""
    environment = {**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": str(HEADLESS)}
    if address:
        environment["RAY_ADDRESS"] = address
    words = [sys.executable, "-m", "bench.cli", *PLAN.split(), *more.split(), "--out", str(out)]
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)


def contents(out: Path) -> dict[str, Any]:
    """Run -> digests of its scores, answers and curve."""
    stored, messages = Ledger(out).load()
    return {item.record.id: item.record.files for item in stored} if not messages else {}


def workers() -> list[psutil.Process]:
    """The processes of the cluster in which a run is carried out or was."""
    below = psutil.Process().children(recursive=True)
    return [each for each in below if _is_worker(each)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any(word.startswith("ray::carry_out") for word in process.cmdline())
    except psutil.Error:
        return False


def strike(target: str, nodes: Nodes, driver: subprocess.Popen[bytes]) -> bool:
    """Kill what was asked for; whether it was there."""
    if driver.poll() is not None:
        return False
    if target == "worker":
        while not (there := workers()):
            if driver.poll() is not None:
                return False
            time.sleep(0.1)
        there[0].kill()
    elif target == "node":
        nodes.lose_a_node()
    elif target == "head":
        nodes.lose_the_head()
    else:
        driver.kill()
    return True


def main() -> int:
    """Strike at every moment; 1 where a plan was not completed or its records are others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--only", choices=TARGETS)
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="cluster-kills-"))
    os.environ["BENCH_CACHE"] = str(place / "cache")
    start(place / "here", "--jobs 2").wait()
    wanted = contents(place / "here")
    nodes = Nodes()
    tally: Counter[str] = Counter()
    try:
        seconds = undisturbed(place / "first", nodes, wanted)
        for target in [asked.only] if asked.only else TARGETS:
            for number, share in enumerate(np.linspace(0.1, 0.95, asked.moments)):
                out = place / f"{target}-{number}"
                held, struck, commands, nodes = trial(out, target, share * seconds, nodes, wanted)
                tally[f"{target}{'' if struck else ', came too late'}: {'held' if held else 'NOT HELD'}"] += 1
                print(
                    f"{target} after {share * seconds:.1f} s: {'struck' if struck else 'came too late'}, "
                    f"{commands} commands, {'held' if held else f'NOT HELD, see {out}.log'}",
                    flush=True,
                )
    finally:
        nodes.close()
    for name, count in sorted(tally.items()):
        print(f"{count:>4}  {name}")
    return int(any("NOT" in name for name in tally) or all("late" in name for name in tally))


def undisturbed(out: Path, nodes: Nodes, wanted: dict[str, Any]) -> float:
    """Seconds of a plan that nothing disturbs; RuntimeError where the cluster gives other records."""
    began = time.monotonic()
    start(out, "--on auto", nodes.cluster.address).wait()
    if len(wanted) != 2 or contents(out) != wanted:
        raise RuntimeError(f"an undisturbed cluster gives other records; see {out}.log")
    return time.monotonic() - began


def trial(
    out: Path, target: str, moment: float, nodes: Nodes, wanted: dict[str, Any]
) -> tuple[bool, bool, int, Nodes]:
    """Whether the plan was completed, whether something was struck, the number of commands, and the nodes."""
    driver = start(out, "--on auto", nodes.cluster.address)
    time.sleep(moment)
    struck = strike(target, nodes, driver)
    commands = 1
    ended = _ends(driver)
    if target == "head" and struck:
        nodes.close()
        nodes = Nodes()
    while ended != 0 and commands < MOST:
        commands += 1
        ended = _ends(start(out, "--on auto", nodes.cluster.address))
    held = ended == 0 and contents(out) == wanted
    # What nodes keep for a driver that died must not be another trial's.
    shutil.rmtree(Path(os.environ["BENCH_CACHE"]) / "cluster", ignore_errors=True)
    return held, struck, commands, nodes


def _ends(driver: subprocess.Popen[bytes]) -> int | None:
    try:
        return driver.wait(LONGEST)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()
        return None


if __name__ == "__main__":
    raise SystemExit(main())
