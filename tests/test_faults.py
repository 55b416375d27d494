"""Faults at every operation of the driver, and what `benchmarks.survival` would say of a loss."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.cli import run_verb
from bench.store.ledger import Ledger
from benchmarks import kills, publishing, survival
from benchmarks.faults import Action, Fault, forked
from benchmarks.mutations import harm


def write_three(folder: Path) -> int:
    for name in "abc":
        (folder / name).write_text(name)
    return 0


def test_a_fault_strikes_at_its_operation_and_at_no_other(tmp_path: Path) -> None:
    for action, status, left in (("kill", -signal.SIGKILL, 1), ("fail", 70, 1), ("none", 0, 3)):
        folder = tmp_path / action
        folder.mkdir()
        fault = Fault(action, 1, folder, errno.EIO)  # type: ignore[arg-type]
        ended = forked(partial(write_three, folder), fault)
        assert ended.status == status
        assert len(list(folder.iterdir())) == left
        assert ("Input/output error" in ended.output) == (action == "fail")


def test_a_delay_and_a_full_disk_are_felt(tmp_path: Path) -> None:
    began = time.monotonic()
    assert forked(lambda: write_three(tmp_path), Fault("delay", 1, tmp_path)).status == 0
    assert time.monotonic() - began >= 0.5
    full = forked(lambda: (tmp_path / "big").write_bytes(b"x" * 100) and 0, Fault("full", 10, tmp_path))
    assert full.defect
    assert "File too large" in full.output
    assert (tmp_path / "big").stat().st_size == 10


def test_a_hang_is_told_from_a_death(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert forked(lambda: len((tmp_path / "pipe").read_bytes()), seconds=1).hung


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_fault_at_any_operation_of_publishing_loses_nothing(tmp_path: Path, action: Action) -> None:
    """The same command again publishes what its worker left, and trains nothing."""
    count = publishing.operations(tmp_path / "count", verbs=())
    assert count >= 8
    wrong = []
    for at in range(count):
        fault = Fault(
            action, at, tmp_path / str(at), random.Random(at).choice((errno.ENOSPC, errno.EIO)), True
        )
        wrong += [f"{action} at {at}: {text}" for text in publishing.disturbed(fault.below, fault, verbs=())]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_a_fault_at_any_operation_of_reporting_is_one_line(tmp_path: Path) -> None:
    """A full disk, too many open files, a defective disk: exit 2 and a line, and the rerun is whole."""
    count = publishing.operations(tmp_path / "count")
    wrong = []
    for at in range(count):
        fault = Fault("fail", at, tmp_path / str(at), (errno.ENOSPC, errno.EMFILE, errno.EIO)[at % 3], True)
        wrong += [f"fail at {at}: {text}" for text in publishing.disturbed(fault.below, fault)]
    assert not wrong, "\n".join(wrong)


def test_a_failure_beside_a_whole_record_does_not_count(tmp_path: Path) -> None:
    """What could not be removed when the run was published is no failure of it."""
    (run,) = publishing.finished(tmp_path)
    failed = Ledger(tmp_path).failures / f"{run.id}.json"
    failed.mkdir(parents=True)  # a folder cannot be unlinked
    assert publishing.publish([run], tmp_path, verbs=()) == 0
    assert Ledger(tmp_path).finished(run.id)
    assert Ledger(tmp_path).failed() == []


def test_what_the_system_refuses_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "somewhere")

    monkeypatch.setattr(Ledger, "load", refuse)
    assert run_verb(["report", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "bench: somewhere: Too many open files\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    survival.home(folder)
    return folder


def test_no_mutation_of_a_file_is_a_traceback_a_hang_or_ranked(template: Path) -> None:
    """The bounded form of `python -m benchmarks.survival --only mutation`."""
    wrong = [f"seed {seed}: {text}" for seed in range(24) for text in survival.mutation(template, seed)[0]]
    assert not wrong, "\n".join(wrong)


def test_a_verb_that_fails_by_an_exception_is_reported_with_its_seed(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survival, "run_verb", lambda words: 1 // 0)
    wrong, _ = survival.mutation(template, 7)
    tally = survival.Tally()
    tally.add("mutation", 7, wrong)
    assert "NOT SURVIVED  --only mutation --seed 7" in str(tally)
    assert "ZeroDivisionError" in str(tally)


def test_a_record_that_is_gone_is_a_loss(tmp_path: Path) -> None:
    runs = publishing.finished(tmp_path)
    publishing.publish(runs, tmp_path, verbs=())
    held: dict[str, str] = {}
    assert kills.lost(tmp_path, held) == []
    harm(Ledger(tmp_path).runs / runs[0].id / "scores.json", random.Random(1))
    gone = kills.lost(tmp_path, held)
    assert f"lost or changed: {runs[0].id}" in gone


@pytest.mark.slow
def test_a_plan_that_is_struck_again_and_again_ends_whole(tmp_path: Path) -> None:
    """Real training on a twin; driver, zygote, workers or the group are struck by four signals."""
    end = time.monotonic() + 40
    struck = kills.strike(tmp_path, random.Random(3), 4, lambda: time.monotonic() < end)
    assert struck.wrong == []
    assert struck.kills
