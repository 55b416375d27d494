"""Processes of runs: what is imported before a fork, how events travel, and who dies first."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import course, mini_run

from bench.launch.process import Pool, may_preload
from bench.launch.worker import line_of
from bench.run.identity import Run
from bench.run.job import Job, write_selection

#: Stands in for bitsandbytes: it notes which process imports it, and how it stands to the fork.
STAND_IN = """
import os
with open(os.environ["IMPORTED_BY"], "a") as file:
    file.write(f"{os.getpid()}\\n")
if os.getsid(0) == os.getpid():  # a zygote leads its session; its children do not
    raise RuntimeError("CUDA was initialised before the fork")
"""


def job(run: Run, folder: Path, workspace: Path) -> Job:
    """A job on a few questions of course-qa."""
    workspace.mkdir(parents=True, exist_ok=True)
    few = replace(course(), train=course().train[:40], eval=course().eval[:2], followed=())
    write_selection(workspace / "selection.json", few)
    return Job(
        run=run,
        checkpoint_folder=str(folder),
        selection=str(workspace / "selection.json"),
        workspace=str(workspace),
        threads=1,
        command="bench run",
        commit=None,
        dirty=False,
    )


@pytest.fixture
def pool_of() -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def start(**options: Any) -> Pool:
        pools.append(Pool(1, **options))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


def events_until_exit(pool: Pool, seconds: float = 60) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        events += pool.events(0.1)
        if any(event["event"] == "exit" for event in events):
            return events
    raise AssertionError(f"no exit within {seconds} s: {events}")


def on_cuda(run: Run) -> Run:
    return run.model_copy(update={"device": "cuda"})


def test_libraries_are_imported_before_the_fork_on_a_cpu_alone() -> None:
    run, _ = mini_run("gpt2")
    assert may_preload(run)
    assert not may_preload(on_cuda(run))
    assert not may_preload(run.model_copy(update={"backend": "unsloth"}))


def test_a_process_that_was_started_early_takes_the_run(tmp_path: Path, pool_of: Callable[..., Pool]) -> None:
    run, folder = mini_run("gpt2")
    pool = pool_of()
    pool.warm(on_cuda(run))
    early = pool.zygotes[True]
    pool.submit(job(on_cuda(run), folder, tmp_path), {})
    assert list(pool.zygotes.values()) == [early]


def test_a_process_that_was_started_early_and_not_needed_ends_at_once(pool_of: Callable[..., Pool]) -> None:
    """A mistake in the data is told while the libraries are still being imported."""
    pool = pool_of()
    pool.warm(mini_run("gpt2")[0])
    early = pool.zygotes[False]
    pool.close()
    assert early.returncode == -signal.SIGKILL


def test_on_cuda_nothing_asks_for_the_gpu_before_the_fork(
    tmp_path: Path, pool_of: Callable[..., Pool]
) -> None:
    """peft imports bitsandbytes, which asks torch for the GPU's capability as it is imported."""
    package = tmp_path / "path" / "bitsandbytes"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    imported_by = tmp_path / "imported"
    path = os.pathsep.join([str(package.parent), str(Path(__file__).parent.parent)])
    pool = pool_of(extra={"PYTHONPATH": path, "IMPORTED_BY": str(imported_by)})
    run, folder = mini_run("gpt2")
    pool.submit(job(on_cuda(run), folder, tmp_path / "work"), {})
    events = events_until_exit(pool)
    worker = next(event["pid"] for event in events if event["event"] == "started")
    zygote = next(iter(pool.zygotes.values())).pid
    importers = {int(line) for line in imported_by.read_text().split()}
    assert worker in importers, "the run itself does import it"
    assert zygote not in importers


def test_the_process_of_a_run_is_the_first_to_be_killed_for_memory(
    tmp_path: Path, pool_of: Callable[..., Pool]
) -> None:
    score = lambda pid: int(Path(f"/proc/{pid}/oom_score_adj").read_text())  # noqa: E731
    if not Path("/proc/self/oom_score_adj").exists():
        pytest.skip("the kernel keeps no such score")
    pool = pool_of()
    run, folder = mini_run("gpt2")
    pool.submit(job(on_cuda(run), folder, tmp_path), {})
    started = None
    while started is None:
        started = next((e for e in pool.events(0.1) if e["event"] == "started"), None)
    deadline = time.monotonic() + 10
    while score(started["pid"]) != 1000 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert score(started["pid"]) == 1000
    assert score(next(iter(pool.zygotes.values())).pid) == score(os.getpid())


def test_a_run_tells_its_reason_although_its_log_is_on_a_full_disk(
    tmp_path: Path, pool_of: Callable[..., Pool]
) -> None:
    """The log takes no traceback either; `died (exit status 1)` would tell nobody of the disk."""
    if not Path("/dev/full").exists():
        pytest.skip("the kernel has no disk that is always full")
    run, folder = mini_run("gpt2")
    work = job(run, folder, tmp_path)
    Path(work.selection).unlink()
    (tmp_path / "log.txt").symlink_to("/dev/full")
    pool = pool_of()
    pool.submit(work, {})
    (failed,) = [event for event in events_until_exit(pool) if event["event"] == "failed"]
    assert "selection.json" in failed["reason"]
    assert failed["stage"] == "prepare"


def test_a_line_of_an_event_is_written_in_one_piece_however_long_its_texts() -> None:
    """A letter beyond ASCII takes six bytes of JSON, a traceback may be all of such letters."""
    event = {"id": "x" * 80, "event": "failed", "reason": "Ö" * 300, "traceback": "ア" * 9000 + " the end"}
    line = line_of(event)
    assert len(line) <= select.PIPE_BUF
    read = json.loads(line)
    assert read["reason"] == event["reason"]
    assert read["traceback"].endswith("ア the end"), "the last lines of a traceback name the error"


def test_a_short_event_is_left_as_it_is() -> None:
    event = {"id": "gpt2", "event": "step", "step": 1, "loss": 2.5}
    assert json.loads(line_of(event)) == event


def test_a_zygote_that_cannot_start_names_its_reason(tmp_path: Path, pool_of: Callable[..., Pool]) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho 'ImportError: libfoo.so.3 is missing' >&2\nexit 1\n")
    interpreter.chmod(0o755)
    pool = pool_of(python=str(interpreter))
    run, folder = mini_run("gpt2")
    pool.submit(job(run, folder, tmp_path / "work"), {})
    (end,) = events_until_exit(pool)
    assert end["reason"] == "ImportError: libfoo.so.3 is missing"


def test_a_module_that_fails_before_the_fork_leaves_its_traceback(tmp_path: Path) -> None:
    """It ends no run by itself, and must be found where a later death is explained."""
    package = tmp_path / "peft"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('peft is broken')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "bench.launch.zygote"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    assert "peft is broken" in done.stderr
    assert done.stdout == ""
