"""Runs on many machines: what travels, what a node refuses, and clusters whose nodes come and go."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import make_contract, make_record, make_run
from runs import course, mini_run

from bench import devices, provenance
from bench.cli import parser_of, run_verb
from bench.errors import NotEnough, RequestError
from bench.harness import harness
from bench.launch import preflight
from bench.launch.cluster import join, node, parcel, placing
from bench.launch.cluster.join import Target
from bench.launch.cluster.pool import Cluster
from bench.launch.drive import Settings, drive
from bench.run.identity import Run
from bench.run.job import LOCK, PENDING, Job, write_selection
from bench.spec import Contract, Retrieval
from bench.store.ledger import Ledger
from bench.store.record import COMPLETIONS, CURVE, SCORES, Failure, Record
from bench.verbs import request

#: Texts of 4,096 tokens.
LONG = make_contract(max_length=4096)
ONE = Settings(jobs=1, threads=1, command="bench run", tree=provenance.Tree(None, False))


def job(run: Run, folder: Path | None, workspace: Path) -> Job:
    """A job on a few questions of course-qa."""
    few = replace(course(), train=course().train[:40], eval=course().eval[:4], followed=())
    write_selection(workspace / "selection.json", few)
    return Job(
        run=run,
        checkpoint_folder=str(folder) if folder else None,
        selection=str(workspace / "selection.json"),
        workspace=str(workspace),
        threads=1,
        command="bench run",
        commit=None,
        dirty=False,
    )


def refusal(run: Run, folder: Path | None, tmp_path: Path, shipped: bytes | None = None) -> str:
    """What a node says to a job that it cannot carry out."""
    end, content = node.carry_out(job(run, folder, tmp_path), b"{}", shipped, {}, lambda event: None)
    assert content == b""
    return str(end["refused"])


def test_a_workspace_travels_whole_but_for_what_is_its_own_machines(tmp_path: Path) -> None:
    (tmp_path / "a" / "adapter").mkdir(parents=True)
    (tmp_path / "a" / "checkpoints").mkdir()
    for name in ("pending.json", "adapter/weights", "checkpoints/large", ".lock"):
        (tmp_path / "a" / name).write_text(name)
    parcel.unpack(parcel.pack(tmp_path / "a"), tmp_path / "b")
    arrived = {
        str(file.relative_to(tmp_path / "b")) for file in (tmp_path / "b").rglob("*") if file.is_file()
    }
    assert arrived == {"pending.json", "adapter/weights"}
    assert (tmp_path / "b" / "adapter" / "weights").read_text() == "adapter/weights"


def test_a_link_does_not_travel(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "secret").write_text("key")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "secret")
    parcel.unpack(parcel.pack(tmp_path / "a"), tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []


def test_what_says_that_all_is_there_is_put_in_place_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what an earlier try left gives way."""
    for name in ("adapter/weights", "pending.json", "scores.json"):
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_text("new")
    (tmp_path / "b" / "adapter").mkdir(parents=True)
    (tmp_path / "b" / "adapter" / "old").touch()
    placed: list[str] = []
    replace_ = Path.replace

    def watched(path: Path, target: Path) -> Path:
        placed.append(target.name)
        return replace_(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    parcel.deliver(parcel.pack(tmp_path / "a"), tmp_path / "b", last=PENDING)
    assert sorted(placed[:-1]) == ["adapter", "scores.json"]
    assert placed[-1] == "pending.json"
    assert [file.name for file in (tmp_path / "b" / "adapter").iterdir()] == ["weights"]
    assert not (tmp_path / "b" / parcel.FRESH).exists()


def test_a_parcel_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    with pytest.raises(tarfile.TarError):
        parcel.unpack(buffer.getvalue(), tmp_path / "b")
    assert not (tmp_path / "outside").exists()


def test_a_node_with_another_version_names_it(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2")
    other = run.model_copy(update={"versions": {**run.versions, "trl": "9.9"}})
    assert f"trl {run.versions['trl']}, the run needs 9.9" in refusal(other, folder, tmp_path)


def test_a_node_with_other_code_says_so(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2")
    assert node.lacks(run.model_copy(update={"harness": harness()}), harness()) == []
    other = run.model_copy(update={"harness": 64 * "0"})
    assert "another state of this program's code" in refusal(other, folder, tmp_path)


def test_a_node_with_another_twin_refuses(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2")
    checkpoint = run.checkpoint.model_copy(update={"revision": 64 * "0"})
    text = refusal(run.model_copy(update={"checkpoint": checkpoint}), folder, tmp_path)
    assert "its twin 'gpt2' is another than the driver's" in text


def test_a_run_with_arms_is_held_against_the_code_that_retrieves() -> None:
    """As it is planned; its digest is another than that of a run without arms."""
    run, _ = mini_run("gpt2")
    contract = run.contract.model_copy(
        update={"retrieval": Retrieval(arms=("retrieved",), retriever="bm25/1", rows=3)}
    )
    arms = run.model_copy(update={"contract": contract, "harness": harness(retrieval=True)})
    assert node.lacks(arms, arms.harness) == []
    assert node.lacks(arms, harness()) != []


def local(tmp_path: Path) -> tuple[Run, Path]:
    """A run from a checkpoint in a folder that is no twin."""
    run, twin = mini_run("gpt2")
    folder = tmp_path / "mine"
    shutil.copytree(twin, folder)
    checkpoint = run.checkpoint.model_copy(
        update={"kind": "folder", "source": "mine", "revision": preflight.local_digest(folder)}
    )
    return run.model_copy(update={"checkpoint": checkpoint}), folder


def test_a_node_without_the_checkpoint_names_the_remedy(tmp_path: Path) -> None:
    run, folder = local(tmp_path)
    absent = folder.with_name("absent")
    assert f"has no {absent}; copy it there, or add --ship" in refusal(run, absent, tmp_path)
    (folder / "config.json").write_text("{}")
    assert "is another checkpoint than the driver's" in refusal(run, folder, tmp_path)


def test_a_checkpoint_that_was_sent_along_is_checked(tmp_path: Path) -> None:
    run, folder = local(tmp_path)
    whole = parcel.pack(folder)
    (folder / "config.json").write_text("{}")
    assert "does not match its digest" in refusal(run, folder, tmp_path, parcel.pack(folder))
    kept = node.checkpoint_of(job(run, folder, tmp_path), whole)
    assert kept is not None
    assert preflight.local_digest(kept) == run.checkpoint.revision


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = mini_run("gpt2")
    monkeypatch.setattr(node, "SPARE", 10**18)
    assert "GB free in" in refusal(run, folder, tmp_path)


def test_a_node_hands_out_what_a_dead_driver_has_not_fetched(tmp_path: Path) -> None:
    """Nothing is trained anew; and once the driver has it, it goes."""
    run, folder = mini_run("gpt2")
    run = run.model_copy(update={"harness": harness()})
    (node.root() / run.id).mkdir(parents=True)
    (node.root() / run.id / PENDING).write_text("the record")
    end, content = node.carry_out(job(run, folder, tmp_path), b"{}", None, {}, lambda event: None)
    assert end == {"status": 0}
    parcel.unpack(content, tmp_path / "fetched")
    assert (tmp_path / "fetched" / PENDING).read_text() == "the record"
    node.forget(run.id)
    assert not (node.root() / run.id).exists()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_address_that_nobody_answers_is_refused_in_time(
    silent: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    words = ["run", "--models", "gpt2", "--on", f"ray://127.0.0.1:{silent}", "--out", str(tmp_path / "out")]
    assert run_verb(words) == 2
    assert "no answer in 5 s" in capsys.readouterr().err
    assert time.monotonic() - began < 10 + 10  # ten for the address; imports on a busy machine besides
    assert not (tmp_path / "out" / "runs").exists()


def serving(code: str) -> Iterator[str]:
    """The address of a server that answers every call with this status."""
    import grpc

    class Answer(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            def answer(request: bytes, context: Any) -> bytes:
                if code != "OK":
                    context.abort(grpc.StatusCode[code], "no")
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Answer()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize(
    ("code", "asks"), [("OK", False), ("UNIMPLEMENTED", False), ("UNAUTHENTICATED", True)]
)
def test_a_cluster_is_asked_whether_it_wants_a_token(
    code: str, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in serving(code):
        assert join.asks_for_token(f"ray://{address}") is asks
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert join.asks_for_token("auto") is asks


@pytest.mark.slow
def test_a_driver_with_a_token_gives_work_to_a_cluster_without_one(tmp_path: Path) -> None:
    """Its nodes fetch the run's examples from the driver, which must not expect a token of them."""
    from ray.cluster_utils import Cluster as Simulated

    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(64 * "a")
    simulated = Simulated(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        simulated.add_node(num_cpus=1)
        plan = "run --models gpt2 --budget 1x8 --eval-limit 20 --max-new-tokens 2 --on auto --out"
        words = [sys.executable, "-m", "bench.cli", *plan.split(), str(tmp_path / "out")]
        environment = {**os.environ, "HOME": str(tmp_path), "RAY_ADDRESS": simulated.address}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    finally:
        simulated.shutdown()
    assert done.returncode == 0, done.stderr
    assert len(Ledger(tmp_path / "out").load()[0]) == 1


@pytest.mark.parametrize("address", ["ray:/x", "localhost", "ray://host"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(RequestError, match="expected ray, auto, or ray://HOST:10001"):
        join.connect(Target(address), cpus=1)


def asleep() -> Any:
    """A run that sleeps where it was placed; what travels is the function itself, so it is a local one."""

    def sleeping(job: str, selection: bytes, shipped: bytes | None, mailbox: Any) -> tuple[str, bytes]:
        import time

        import ray

        where = {"event": "placed", "node": ray.get_runtime_context().get_node_id()}
        mailbox.put.remote(json.dumps({"id": json.loads(job)["workspace"].rsplit("/", 1)[1], **where}))
        time.sleep(0.5)
        return '{"status": 0}', selection

    return sleeping


class Seen:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.nodes: dict[str, list[str]] = {}
        self.moved: list[str] = []
        self.records: list[str] = []
        self.failures: list[Failure] = []

    def began(self, run: Run) -> None:
        pass

    def heard(self, run: Run, event: dict[str, Any]) -> None:
        if event["event"] == "placed":
            self.nodes.setdefault(run.id, []).append(event["node"])
        if event["event"] == "elsewhere":
            self.moved.append(run.id)

    def ended(self, run: Run, record: Record | None, failure: Failure | None) -> None:
        if record:
            self.records.append(record.id)
        if failure:
            self.failures.append(failure)


def long_run() -> Run:
    """A run that is clearly too large for a T4."""
    return make_run("llama-3.1-8b", scale="full", contract=LONG)


def parcels(
    tmp_path: Path, count: int, model: str = "gpt2", contract: Contract | None = None
) -> list[tuple[Run, Path | None, Path]]:
    """Runs that need a GPU, each with a parcel of the workspace that it will have left."""
    work: list[tuple[Run, Path | None, Path]] = []
    for seed in range(count):
        stored = make_record(tmp_path / "made", model, seed, "full", n=20, contract=contract)
        (stored.folder / "record.json").unlink()
        (stored.folder / PENDING).write_text(stored.record.model_dump_json())
        (stored.folder / "adapter").mkdir()
        (stored.folder / "adapter" / "weights").write_text("numbers")
        file = tmp_path / f"{model}-{seed}.json"
        file.write_bytes(parcel.pack(stored.folder))
        work.append((make_run(model, seed, "full", contract=contract), None, file))
    return work


def test_a_node_of_another_kind_refuses_a_run_that_needs_the_same_hardware() -> None:
    run = mini_run("gpt2")[0].model_copy(update={"harness": harness()})
    own = devices.machine(run.device)
    assert node.lacks(run, harness(), own) == []
    assert node.lacks(run, harness(), "Abacus") == [f"is {own}, the run needs Abacus (--same-hardware)"]


def test_machines_of_one_kind_pass_and_others_are_named_with_their_kind() -> None:
    assert devices.one_kind([("a", "Abacus"), ("b", "Abacus")]) == "Abacus"
    with pytest.raises(RequestError, match=r"2 kinds of machine: Abacus: a, b; Brain: gpt2$"):
        devices.one_kind([("a", "Abacus"), ("gpt2", "Brain"), ("b", "Abacus"), ("gpt2", "Brain")])


def test_a_board_that_would_mix_machines_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--models", "gpt2", "--scale", "mini", "--out", str(tmp_path)]
    contract = request.resolve(parser_of("run").parse_args(words)).contract
    make_record(tmp_path, "gpt2", seed=1, contract=contract, hardware="Abacus")
    assert run_verb([*words, "--same-hardware"]) == 2
    assert re.search(r"2 kinds of machine: .*: this machine; Abacus: gpt2", capsys.readouterr().err)
    (there,) = (tmp_path / "runs").iterdir()
    assert there.name == make_run("gpt2", 1, contract=contract).id


def test_a_gpu_is_ruled_out_by_what_a_run_is_predicted_to_need() -> None:
    assert placing.too_small(make_run("gpt2", scale="full")) == ()
    small = placing.too_small(long_run())
    assert {"P4", "T4"} <= set(small)
    assert "H100" not in small
    assert placing.too_small(make_run("llama-3.1-8b", contract=LONG)) == ()  # its twin, on CPUs


def test_the_type_that_was_asked_for_is_taken_and_else_those_that_are_not_too_small() -> None:
    assert placing.selector("H100", long_run()) == {placing.LABEL: "H100"}
    assert placing.selector(None, make_run("gpt2", scale="full")) == {}
    (chosen,) = placing.selector(None, long_run()).values()
    assert chosen.startswith("!in(P4,")


@pytest.mark.parametrize(
    ("kinds", "missing"),
    [(["T4"], ["llama-3.1-8b"]), (["T4", "H100"], []), (["T4", ""], []), ([], [])],
    ids=["too small", "one fits", "one is unknown", "none has a GPU"],
)
def test_what_fits_nowhere_is_named(kinds: list[str], missing: list[str]) -> None:
    nodes = [{"Resources": {"GPU": 1.0}, "Labels": {placing.LABEL: kind} if kind else {}} for kind in kinds]
    runs = [make_run("gpt2", scale="full"), long_run(), long_run()]
    assert placing.without_a_place(runs, nodes) == missing


@pytest.mark.slow
def test_runs_go_to_nodes_that_fit_and_a_lost_node_loses_none(tmp_path: Path) -> None:
    """Four nodes, two with a GPU of the kind that is asked for; one of them dies and one is added."""
    import ray
    from ray.cluster_utils import Cluster as Simulated

    kind = placing.LABEL
    simulated = Simulated(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        fitting = [simulated.add_node(num_cpus=2, num_gpus=1, labels={kind: "H100"}) for _ in range(2)]
        simulated.add_node(num_cpus=2, num_gpus=1, labels={kind: "T4"})
        ray.init(simulated.address, log_to_driver=False, configure_logging=False)
        work = parcels(tmp_path, 16)
        target = Target("ray", accelerator="H100", tries=5)
        cluster = Cluster(ray, target, threads=1, work=asleep())
        cluster.nodes.gpus = 1
        assert cluster.capacity(1) == 2
        killed: list[str] = []

        class Killing(Seen):
            def heard(self, run: Run, event: dict[str, Any]) -> None:
                super().heard(run, event)
                if len(self.nodes) == 4 and not killed:
                    killed.append(fitting[0].node_id)
                    simulated.remove_node(fitting[0], allow_graceful=False)
                    fitting.append(simulated.add_node(num_cpus=2, num_gpus=1, labels={kind: "H100"}))

        seen = Killing()
        failures = drive(work, Ledger(tmp_path / "out"), ONE, seen, cluster)
        allowed = {each.node_id for each in fitting}
    finally:
        ray.shutdown()
        simulated.shutdown()
    assert failures == []
    assert sorted(seen.records) == sorted(run.id for run, _, _ in work)
    assert killed
    assert {name for names in seen.nodes.values() for name in names} <= allowed
    stored, messages = Ledger(tmp_path / "out").load()
    assert (len(stored), messages) == (16, [])


@pytest.mark.slow
def test_a_node_that_refuses_is_given_nothing_more(tmp_path: Path) -> None:
    """It answers at once, so it would be the free one for every run of the plan."""
    import ray
    from ray.cluster_utils import Cluster as Simulated

    simulated = Simulated(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        simulated.add_node(num_cpus=1)
        bad = simulated.add_node(num_cpus=1).node_id

        def refusing(job: str, selection: bytes, shipped: bytes | None, mailbox: Any) -> tuple[str, bytes]:
            import time

            import ray

            here = ray.get_runtime_context().get_node_id()
            if here == bad:
                return json.dumps({"refused": "node bad: 0.1 GB free", "node": here}), b""
            time.sleep(0.5)
            return '{"status": 0}', selection

        ray.init(simulated.address, log_to_driver=False, configure_logging=False)
        cluster = Cluster(ray, Target("ray", tries=2), threads=1, work=refusing)
        seen = Seen()
        failures = drive(parcels(tmp_path, 6), Ledger(tmp_path / "out"), ONE, seen, cluster)
        assert (failures, len(seen.records)) == ([], 6)
        assert list(cluster.nodes.refusing.values()) == ["node bad: 0.1 GB free"]
        cluster.nodes.refuse("the other", "node other: trl 9.9")
        cluster.nodes.alive = list  # type: ignore[method-assign]
        with pytest.raises(RequestError, match=r"no node is left; node bad: .*; node other: trl 9.9"):
            cluster.capacity(1)
    finally:
        ray.shutdown()
        simulated.shutdown()


def test_a_run_that_another_driver_has_in_its_hands_is_looked_at_again(tmp_path: Path) -> None:
    """Drivers that share a folder lock a run here, whichever node it is on; no cluster is asked."""
    run, folder = mini_run("gpt2")
    workspace = tmp_path / "there"
    held = job(run, folder, tmp_path).model_copy(update={"workspace": str(workspace)})
    cluster = Cluster.__new__(Cluster)
    cluster.settled, cluster.tasks = [], {}
    workspace.mkdir()
    with (workspace / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster.submit(held, {})
    (workspace / PENDING).touch()
    cluster.submit(held, {})
    assert [event["event"] for event in cluster.events(0)] == ["done", "exit", "busy", "exit"]


def test_what_a_node_keeps_of_untuned_answers_lies_in_its_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not where the driver keeps them, on another machine."""
    run, folder = mini_run("gpt2")
    given = job(run.model_copy(update={"harness": harness()}), folder, tmp_path)
    taken: list[Job] = []

    def looked_at(job: Job, *rest: Any) -> dict[str, Any]:
        taken.append(job)
        return {"busy": True}

    monkeypatch.setattr(node, "_run", looked_at)
    given = given.model_copy(update={"untuned": "/elsewhere/.untuned"})
    node.carry_out(given, b"{}", None, {}, lambda event: None)
    assert taken[0].untuned == str(node.root() / "untuned")


class Queue:
    """Workers of which a run waits before it is placed; then it runs until it is killed."""

    queues = True

    def __init__(self, waits: float) -> None:
        self.waits, self.events_left, self.killed = waits, [], 0.0
        self.began = time.monotonic()

    def capacity(self, jobs: int) -> int:
        return 1

    def takes(self, run: Run) -> bool:
        return True

    def warm(self, run: Run) -> None: ...

    def submit(self, job: Job, environment: Any) -> None:
        self.id, self.placed = job.run.id, False

    def kill(self, id: str) -> None:
        self.killed = time.monotonic() - self.began

    def events(self, timeout: float) -> Iterator[dict[str, Any]]:
        time.sleep(0.05)
        if not self.placed and time.monotonic() - self.began > self.waits:
            self.placed = True
            yield {"id": self.id, "event": "placed", "node": "n"}
        if self.killed:
            yield {"id": self.id, "event": "exit", "status": -9}

    def close(self) -> None: ...


def test_a_time_limit_does_not_count_what_a_run_waits_for_a_node(tmp_path: Path) -> None:
    queue, seen = Queue(waits=1.0), Seen()
    settings = replace(ONE, time_limit=0.3)
    (failure,) = drive([(make_run("gpt2"), None, tmp_path)], Ledger(tmp_path), settings, seen, queue)
    assert "time limit" in failure.reason
    assert queue.killed >= 1.3


@pytest.mark.slow
def test_a_node_that_dies_while_it_is_checked_is_left_out() -> None:
    """A cluster names a lost node as alive for some seconds more."""
    import ray
    from ray.cluster_utils import Cluster as Simulated

    simulated = Simulated(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        lost, left = (simulated.add_node(num_cpus=1) for _ in range(2))
        ray.init(simulated.address, log_to_driver=False, configure_logging=False)
        cluster = Cluster(ray, Target("ray"), threads=1)
        simulated.remove_node(lost, allow_graceful=False)
        (checked,) = cluster.check([mini_run("gpt2")[0]])
    finally:
        ray.shutdown()
        simulated.shutdown()
    assert checked.endswith(left.node_id[:6])


@pytest.mark.slow
def test_a_run_that_needs_a_large_gpu_waits_for_one(tmp_path: Path) -> None:
    """Small runs go to either kind; a cluster of small GPUs alone is refused at once, by what it has."""
    import ray
    from ray.cluster_utils import Cluster as Simulated

    simulated = Simulated(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        simulated.add_node(num_cpus=4, num_gpus=2, labels={placing.LABEL: "T4"})
        ray.init(simulated.address, log_to_driver=False, configure_logging=False)
        cluster = Cluster(ray, Target("ray", tries=5), threads=1, work=asleep())
        with pytest.raises(NotEnough, match=r"no GPU holds llama-3.1-8b; there: .* with 4 CPU, 2 GPU T4$"):
            cluster.check([long_run()])
        large = simulated.add_node(num_cpus=4, num_gpus=1, labels={placing.LABEL: "H100"})
        work = parcels(tmp_path, 6) + parcels(tmp_path, 3, "llama-3.1-8b", LONG)
        seen = Seen()
        failures = drive(work, Ledger(tmp_path / "out"), ONE, seen, cluster)
    finally:
        ray.shutdown()
        simulated.shutdown()
    assert failures == []
    assert len(seen.records) == 9
    places = {run.name: set(seen.nodes[run.id]) for run, _, _ in work}
    assert places["llama-3.1-8b"] == {large.node_id}
    assert len({node for run, _, _ in work[:6] for node in seen.nodes[run.id]}) == 2


@pytest.mark.slow
def test_a_run_on_a_cluster_gives_the_scores_of_this_machine_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--models", "gpt2", "--budget", "2x8", "--eval-limit", "20", "--max-new-tokens", "8"]
    words += ["--scale", "mini", "--backend", "transformers", "--jobs", "1"]
    assert run_verb([*words, "--out", str(tmp_path / "here")]) == 0
    assert run_verb([*words, "--out", str(tmp_path / "there"), "--on", "ray", "--same-hardware"]) == 0
    assert f"on {socket.gethostname()}" in capsys.readouterr().err
    ((here,), _), ((there,), _) = (Ledger(tmp_path / name).load() for name in ("here", "there"))
    assert here.record.id == there.record.id
    for name in (SCORES, COMPLETIONS, CURVE):
        assert here.part(name) == there.part(name)
    weights = "adapter/adapter_model.safetensors"
    assert here.record.artifacts[weights] == there.record.artifacts[weights]
    assert [name for name in (tmp_path / "there" / ".work").iterdir() if name.is_dir()] == []


@pytest.mark.slow
def test_a_cluster_without_what_runs_need_is_refused_by_what_it_has() -> None:
    ray = join.connect(Target("ray"), cpus=1)
    try:
        cluster = Cluster(ray, Target("ray"), threads=1)
        with pytest.raises(NotEnough, match=r"no node has a GPU; there: .* with 1 CPU, no GPU"):
            cluster.check([make_run("gpt2", scale="full")])
        run = mini_run("gpt2")[0].model_copy(update={"versions": {"trl": "9.9"}})
        with pytest.raises(RequestError, match=r"trl .*, the run needs 9.9"):
            cluster.check([run])
        addresses = {each["NodeManagerAddress"] for each in ray.nodes()}
        assert addresses == {join.LOOPBACK}
    finally:
        ray.shutdown()
