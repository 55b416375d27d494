"""Drivers that share a folder, disks that are full, and what a dead driver left: real training on a twin."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import course, mini_run

from bench import provenance
from bench.launch.drive import Settings, drive
from bench.run.identity import Run
from bench.run.job import LOCK, PENDING, write_selection
from bench.store.ledger import Ledger
from bench.store.record import Failure, Record
from benchmarks import drivers, shortage

Work = list[tuple[Run, Path | None, Path]]


class Seen:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.began_runs: list[str] = []
        self.stages: list[str] = []
        self.ended_runs: list[tuple[Record | None, Failure | None]] = []

    def began(self, run: Run) -> None:
        self.began_runs.append(run.name)

    def heard(self, run: Run, event: dict[str, Any]) -> None:
        if event["event"] == "stage":
            self.stages.append(event["stage"])

    def ended(self, run: Run, record: Record | None, failure: Failure | None) -> None:
        self.ended_runs.append((record, failure))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "out")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Two seeds of the gpt2 twin on a few questions."""
    few = replace(course(), train=course().train[:40], eval=course().eval[:20], followed=())
    write_selection(tmp_path / "selection.json", few)
    runs = [mini_run("gpt2", steps=2, new_tokens=4, seed=seed) for seed in (0, 1)]
    return [(run, folder, tmp_path / "selection.json") for run, folder in runs]


def carry_out(work: Work, ledger: Ledger) -> tuple[list[Failure], Seen]:
    seen = Seen()
    settings = Settings(jobs=1, threads=1, command="bench run", tree=provenance.Tree(None, False))
    return drive(work, ledger, settings, seen), seen


def full_disk_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The first call of a method of the ledger finds the disk full."""
    whole = getattr(Ledger, method)
    calls = []

    def failing(self: Ledger, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(self, *args)

    monkeypatch.setattr(Ledger, method, failing)


def test_a_disk_full_at_publishing_is_one_rows_failure_and_a_rerun_publishes_without_training(
    work: Work, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk_once(monkeypatch, "publish")
    failures, seen = carry_out(work, ledger)
    assert [failure.stage for failure in failures] == ["publish"], [failure.reason for failure in failures]
    assert "No space left" in failures[0].reason
    assert seen.stages.count("train") == 2, "the other run went on"
    failures, seen = carry_out([parts for parts in work if not ledger.finished(parts[0].id)], ledger)
    assert failures == []
    assert "train" not in seen.stages
    assert all(ledger.finished(run.id) for run, _, _ in work)
    assert ledger.failed() == []
    left = {path.name for run, _, _ in work for path in (ledger.runs / run.id).iterdir()}
    assert not left & {PENDING, LOCK}


def test_a_disk_full_at_the_start_is_one_rows_failure(
    work: Work, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk_once(monkeypatch, "workspace")
    failures, seen = carry_out(work, ledger)
    assert [failure.run.seed for failure in failures] == [0]
    assert [record.run.seed for record, _ in seen.ended_runs if record] == [1]


def test_a_failure_that_cannot_be_written_is_told_all_the_same(
    work: Work, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk_once(monkeypatch, "publish")
    full_disk_once(monkeypatch, "fail")
    failures, _ = carry_out(work[:1], ledger)
    assert len(failures) == 1
    assert ledger.failed() == []


def test_a_damaged_pending_record_is_run_again(work: Work, ledger: Ledger) -> None:
    run = work[0][0]
    (ledger.workspace(run.id) / PENDING).write_text('{"cut')
    failures, _ = carry_out(work[:1], ledger)
    assert "pending record is damaged" in failures[0].reason
    failures, seen = carry_out(work[:1], ledger)
    assert failures == []
    assert "train" in seen.stages


def test_a_run_in_another_drivers_hands_is_waited_for(work: Work, ledger: Ledger) -> None:
    """It is no failure, its log stays, and it is carried out when its lock is free: after the others."""
    workspace, other = ledger.workspace(work[0][0].id), ledger.runs / work[1][0].id
    (workspace / "log.txt").write_text("the other driver's")
    hold = f"""
import fcntl, pathlib, time
lock = open({str(workspace / LOCK)!r}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
while not pathlib.Path({str(other)!r}).exists():
    time.sleep(0.1)
print(open({str(workspace / "log.txt")!r}).read(), flush=True)
"""
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    failures, seen = carry_out(work, ledger)
    assert failures == []
    assert holder.communicate()[0] == "the other driver's\n"
    assert [record.run.seed for record, _ in seen.ended_runs if record] == [1, 0], "others go first"
    assert seen.began_runs == ["gpt2", "gpt2"], "waiting begins nothing anew"


@pytest.mark.slow
def test_two_drivers_on_one_plan_share_it(tmp_path: Path) -> None:
    """Every run is done once, and each driver ends well and with the whole board."""
    words = [sys.executable, "-m", "bench.cli", "run", "--models", "gpt2", "--seeds", "0,1,2"]
    words += ["--budget", "2x8", "--eval-limit", "20", "--max-new-tokens", "4", "--jobs", "1"]
    words += ["--out", str(tmp_path)]
    running = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert all("3 seeds a row" in out for out, _ in outputs)
    published = {stored.record.id: stored.record.provenance.finished for stored in Ledger(tmp_path).load()[0]}
    assert len(published) == 3
    trained = sum(err.count(" train\n") for _, err in outputs)
    assert trained == 3


@pytest.mark.slow
def test_drivers_of_which_some_are_killed_share_a_plan(tmp_path: Path) -> None:
    """Of four; `python -m benchmarks.drivers` tries two, four and eight of them fifty times."""
    assert drivers.trial(tmp_path / "out", seed=10) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("short", "stage"), [("disk full", "prepare"), ("file handles", "train"), ("memory", "generate tuned")]
)
def test_a_machine_that_runs_short_costs_one_row_and_the_rerun_completes(
    tmp_path: Path, short: str, stage: str
) -> None:
    """`python -m benchmarks.shortage` tries four shortages at seven stages."""
    if not shortage.may_mount():
        pytest.skip("no file system of its own may be mounted here")
    assert shortage.trial(tmp_path, short, stage) == []


def test_a_failure_file_that_is_none_is_set_aside(tmp_path: Path, work: Work) -> None:
    ledger = Ledger(tmp_path)
    ledger.failures.mkdir()
    (ledger.failures / "bad.json").write_text("{")
    (ledger.failures / "folder.json").mkdir()
    assert ledger.failed() == []
    assert (ledger.failures / "bad.damaged").is_file()
