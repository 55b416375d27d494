"""The ledger as a state machine: whatever is published, failed, killed, copied and shared, nothing is lost.

Two output folders stand for two machines. Workers finish runs, drivers publish them and are killed at any
operation, two drivers do so at once, failures are written too late, and records are merged by copying, some
of it halfway. After every step: what is finished is there with its bytes, and nothing else is ranked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from records import make_record

from bench.run.job import PENDING
from bench.store.ledger import Ledger, read
from bench.store.record import RECORD, Failure
from benchmarks.faults import Fault, forked
from benchmarks.publishing import finished, publish

PLACES = st.sampled_from(("here", "there"))
NUMBERS = st.integers(0, 2)
#: Records of three runs, made once: their folders.
SOURCES: list[Path] = []


@pytest.fixture(autouse=True, scope="module")
def _sources(tmp_path_factory: pytest.TempPathFactory) -> None:
    origin = tmp_path_factory.mktemp("origin")
    SOURCES[:] = [make_record(origin, seed=seed, n=6).folder for seed in range(3)]


class LedgerMachine(RuleBasedStateMachine):
    """Two ledgers and what must be in them."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.published: dict[str, set[int]] = {"here": set(), "there": set()}
        self.pending: dict[str, set[int]] = {"here": set(), "there": set()}

    def teardown(self) -> None:
        shutil.rmtree(self.base)

    def ledger(self, place: str) -> Ledger:
        return Ledger(self.base / place)

    @rule(place=PLACES, number=NUMBERS)
    def a_worker_finishes(self, place: str, number: int) -> None:
        if number not in self.published[place]:
            finished(self.base / place, [SOURCES[number]])
            self.pending[place].add(number)

    @rule(place=PLACES)
    def a_driver_publishes(self, place: str) -> None:
        runs = self.runs(self.pending[place])
        assert publish(runs, self.base / place, verbs=()) == 0
        self.published[place] |= self.pending[place]
        self.pending[place] = set()

    @rule(place=PLACES, at=st.integers(0, 12))
    def a_driver_is_killed(self, place: str, at: int) -> None:
        """What it had not published waits as before."""
        runs = self.runs(self.pending[place])
        fault = Fault("kill", at, self.base / place, looks=True)
        forked(partial(publish, runs, self.base / place, ()), fault)
        for number in sorted(self.pending[place]):
            run = read(SOURCES[number]).run
            if (self.ledger(place).runs / run.id / RECORD).is_file():
                self.pending[place].remove(number)
                self.published[place].add(number)
            else:
                assert (self.ledger(place).work / run.id / PENDING).is_file(), "a finished run is lost"

    @rule(place=PLACES)
    def two_drivers_publish_at_once(self, place: str) -> None:
        runs = self.runs(self.pending[place])
        pids = []
        for _ in range(2):
            pid = os.fork()
            if pid == 0:
                status = 70
                try:
                    status = publish(runs, self.base / place, verbs=())
                finally:
                    os._exit(status)
            pids.append(pid)
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
        self.published[place] |= self.pending[place]
        self.pending[place] = set()

    @rule(place=PLACES, number=NUMBERS)
    def a_failure_is_written(self, place: str, number: int) -> None:
        """Also of a run that another driver has finished meanwhile."""
        run = read(SOURCES[number]).run
        self.ledger(place).fail(
            Failure(id=run.id, run=run, stage="train", reason="died", when="2026-11-20T10:00:00Z")
        )

    @rule(place=PLACES, files=st.integers(1, 3))
    def records_are_merged(self, place: str, files: int) -> None:
        """By copying what is missing, some files of each folder first."""
        other = "there" if place == "here" else "here"
        for number in sorted(self.published[other] - self.published[place]):
            id = SOURCES[number].name
            source, target = self.ledger(other).runs / id, self.ledger(place).runs / id
            for file in sorted(path for path in source.iterdir() if path.is_file())[:files]:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
            self.nothing_unfinished_is_ranked()
            shutil.copytree(source, target, dirs_exist_ok=True)
            self.published[place].add(number)

    @invariant()
    def nothing_finished_is_lost(self) -> None:
        for place, numbers in self.published.items():
            held = {stored.record.id: stored for stored in self.ledger(place).load()[0]}
            for number in numbers:
                stored = held[SOURCES[number].name]
                assert stored.record.files == read(SOURCES[number]).files
                assert stored.completions

    @invariant()
    def nothing_unfinished_is_ranked(self) -> None:
        for place, numbers in self.published.items():
            stored, _ = self.ledger(place).load()
            assert {item.record.id for item in stored} == {SOURCES[number].name for number in numbers}

    @invariant()
    def no_failure_stands_beside_its_record(self) -> None:
        for place, numbers in self.published.items():
            failed = {failure.id for failure in self.ledger(place).failed()}
            assert not failed & {SOURCES[number].name for number in numbers}

    def runs(self, numbers: set[int]) -> list:  # type: ignore[type-arg]
        return [read(SOURCES[number]).run for number in sorted(numbers)]


def held(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_finished_is_lost_and_nothing_unfinished_is_ranked() -> None:
    held(examples=6, steps=12)


@pytest.mark.slow
def test_the_same_over_many_histories() -> None:
    held(examples=40, steps=20)
