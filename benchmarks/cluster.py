"""What a cluster costs beside one machine, and what placing a run costs.

`python -m benchmarks.cluster` carries the same runs out twice, `--jobs 2` on this machine and `--on ray` with
a local cluster of two one-thread slots, checks that both gave the same scores, and prints the ratio of the
times last. `--runs 1000` places so many runs that sleep on four simulated nodes instead, two with small GPUs
and two with large ones, loses one of each and gains a large one on the way. Every fourth run needs a large
GPU. It prints the driver's seconds for each run, and how many runs were placed on a GPU too small for them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import provenance, registry
from bench.launch.cluster import parcel, placing
from bench.launch.cluster.join import Target
from bench.launch.cluster.pool import Cluster
from bench.launch.drive import Settings, drive
from bench.run.identity import Run
from bench.run.job import PENDING
from bench.store.ledger import Ledger, Stored
from bench.store.record import PARTS, Failure, Record, weights_folder

#: Seconds that a simulated run sleeps.
ASLEEP = 1.0
SLOTS = 2
SMALL, LARGE = "T4", "H100"
#: Every so many runs one is of full scale with texts so long, which a small GPU does not hold.
LARGE_EVERY, LONG = 4, 4096


def main() -> None:
    """Compare, or simulate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--budget", default="smoke")
    parser.add_argument("--runs", type=int, help="simulate so many instead")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="cluster-"))
    if asked.runs:
        simulate(asked.runs, place)
    else:
        compare(asked.models, asked.seeds, asked.budget, place)


def compare(models: str, seeds: str, budget: str, place: Path) -> None:
    """The same plan on this machine and on a local cluster."""
    words = [
        "run",
        "--models",
        models,
        "--seeds",
        seeds,
        "--budget",
        budget,
        "--scale",
        "mini",
        "--jobs",
        "2",
    ]
    seconds = {}
    for name, more in (("here", []), ("cluster", ["--on", "ray"])):
        began = time.perf_counter()
        command = [sys.executable, "-m", "bench.cli", *words, *more, "--out", str(place / name)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds[name] = time.perf_counter() - began
    here, there = (
        {stored.record.id: stored.record.files for stored in Ledger(place / name).load()[0]}
        for name in seconds
    )
    print(f"{len(here)} runs; equal scores, answers and curves: {here == there}")
    print(f"here {seconds['here']:.1f} s, on a local cluster {seconds['cluster']:.1f} s")
    print(f"cluster ratio {seconds['here'] / seconds['cluster']:.3f}")


def sleeping(job: str, selection: bytes, shipped: bytes | None, mailbox: Any) -> tuple[str, bytes]:
    """A run that sleeps; its parcel came along as the file of its examples."""
    import ray

    where = {"event": "placed", "node": ray.get_runtime_context().get_node_id()}
    mailbox.put.remote(json.dumps({"id": json.loads(job)["workspace"].rsplit("/", 1)[1], **where}))
    time.sleep(ASLEEP)
    return '{"status": 0}', selection


class Chaos:
    """Loses two nodes and adds one while runs go on; keeps who was placed where."""

    def __init__(self, simulated: Any, nodes: list[Any], total: int) -> None:
        self.simulated, self.nodes, self.total, self.over = simulated, nodes, total, 0
        self.moved = 0
        self.small = {node.node_id for node in nodes[:2]}
        #: Runs that need a large GPU and were placed on a small one.
        self.misplaced: list[str] = []

    def began(self, run: Run) -> None:
        """Nothing to do."""

    def heard(self, run: Run, event: dict[str, Any]) -> None:
        """Count the runs that go elsewhere, and those that are where they do not fit."""
        self.moved += event["event"] == "elsewhere"
        if event["event"] == "placed" and event["node"] in self.small and placing.too_small(run):
            self.misplaced.append(run.id)

    def ended(self, run: Run, record: Record | None, failure: Failure | None) -> None:
        """After a quarter and a half of the runs one node of a kind dies; after a third a large one comes."""
        self.over += 1
        if self.over in (self.total // 4, self.total // 2):
            lost = self.nodes.pop(0 if self.over == self.total // 2 else -1)
            self.simulated.remove_node(lost, allow_graceful=False)
        if self.over == self.total // 3:
            self.nodes.append(_node(self.simulated, LARGE))


def _node(simulated: Any, kind: str) -> Any:
    return simulated.add_node(num_cpus=SLOTS, num_gpus=SLOTS, labels={placing.LABEL: kind})


def simulate(count: int, place: Path) -> None:
    """So many runs on four nodes of which two die."""
    import ray
    from ray.cluster_utils import Cluster as Simulated

    folder = next((registry.ROOT / "reports" / "twins" / "runs").glob("gpt2-mini-s0-*"))
    (stored,), _ = Ledger(folder.parent.parent).load([folder.name])
    work = [_work(stored, seed, place) for seed in range(count)]
    simulated = Simulated(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [_node(simulated, kind) for kind in (SMALL, SMALL, LARGE, LARGE)]
    ray.init(simulated.address, log_to_driver=False, configure_logging=False)
    cluster = Cluster(ray, Target("ray", tries=5), threads=1, work=sleeping)
    cluster.nodes.gpus = 1
    settings = Settings(jobs=1, threads=1, command="benchmark", tree=provenance.Tree(None, False))
    watcher = Chaos(simulated, nodes, count)
    began, used = time.perf_counter(), time.process_time()
    failures = drive(work, Ledger(place / "out"), settings, watcher, cluster)
    took, used = time.perf_counter() - began, time.process_time() - used
    ray.shutdown()
    simulated.shutdown()
    records, messages = Ledger(place / "out").load()
    print(f"{count} runs: {len(records)} records, {len(failures)} failures, {len(messages)} damaged")
    print(f"{len(watcher.misplaced)} runs were placed on a GPU that is too small for them")
    print(f"{watcher.moved} runs went elsewhere; {took:.1f} s in all, {count * ASLEEP:.0f} s of sleep")
    print(f"cluster driver {1000 * used / count:.1f} ms a run")


def _work(stored: Stored, seed: int, place: Path) -> tuple[Run, Path | None, Path]:
    """A run of another seed, with the workspace that it will have left as its parcel."""
    run = stored.record.run.model_copy(update={"seed": seed, "device": "cuda"})
    if seed % LARGE_EVERY == 0:
        long = run.contract.model_copy(update={"max_length": LONG})
        run = run.model_copy(update={"scale": "full", "contract": long})
    record = stored.record.model_copy(update={"id": run.id, "run": run, "artifacts": {}})
    workspace = place / "made" / str(seed)
    (workspace / weights_folder(run.recipe.adapter)).mkdir(parents=True)
    (workspace / weights_folder(run.recipe.adapter) / "weights").write_text("numbers")
    for name in PARTS:
        (workspace / name).write_bytes(stored.part(name))
    (workspace / PENDING).write_text(record.model_dump_json(), encoding="utf-8")
    file = place / "made" / f"{seed}.json"
    file.write_bytes(parcel.pack(workspace))
    return run, None, file


if __name__ == "__main__":
    main()
