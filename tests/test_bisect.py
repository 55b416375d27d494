"""The search of `bench bisect`: pure logic over fake releases."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_record

from bench.cli import run_verb
from bench.judge.bisection import SEED_COUNTS, ReleaseSide, Trial, first_changed, first_failing, search
from bench.store.ledger import Ledger
from bench.store.record import Failure
from bench.verbs import bisect as verb
from bench.verbs import request
from bench.versions import environment, solver
from bench.versions.environment import Environment

RELEASES = [f"1.{minor}.0" for minor in range(10)]


class Fake:
    """Runs whose scores follow a level per release, with noise of examples and of seeds."""

    def __init__(
        self,
        level: Sequence[float],
        training_noise: float = 0.0,
        dies: Sequence[str] = (),
        unbuildable: Sequence[str] = (),
        models: Sequence[str] = ("gpt2",),
        luck: int = 0,
    ) -> None:
        self.level = dict(zip(RELEASES, level, strict=True))
        self.training_noise = training_noise
        self.dies, self.unbuildable, self.moving = dies, unbuildable, models
        self.luck = luck
        self.asked: list[tuple[str, int]] = []

    def __call__(self, release: str, models: Sequence[str], seeds: int) -> Trial:
        self.asked.append((release, seeds))
        if release in self.unbuildable:
            return Trial(release, unbuildable="no such set of versions")
        if release in self.dies:
            return Trial(release, error="TypeError: unexpected keyword")
        return Trial(release, {model: self.scores(release, model, seeds) for model in models})

    def scores(self, release: str, model: str, seeds: int, n: int = 120) -> np.ndarray:
        shift = self.level[release] if model in self.moving else 0.0
        easy = np.random.default_rng(7).beta(2, 6, n)
        rows = []
        for seed in range(seeds):
            # Without training noise two releases of one level give the same scores to the last digit.
            place = RELEASES.index(release) if self.training_noise else 0
            luck = np.random.default_rng([self.luck, seed, place])
            rows.append(
                easy + shift + self.training_noise * luck.standard_normal() + 0.03 * luck.standard_normal(n)
            )
        return np.array(rows)


@given(count=st.integers(2, 40), change=st.integers(1, 39), unknown=st.sets(st.integers(1, 38)))
def test_the_first_bad_release_is_always_between_the_two_that_are_named(
    count: int, change: int, unknown: set[int]
) -> None:
    """Whatever cannot be judged, the change is bracketed as tightly as the others allow."""
    change = min(change, count - 1)
    names = [str(number) for number in range(count)]
    asked = []

    def judged(name: str) -> ReleaseSide:
        asked.append(name)
        if int(name) in unknown:
            return ReleaseSide.UNKNOWN
        return ReleaseSide.BAD if int(name) >= change else ReleaseSide.GOOD

    last, first, between = search(names, judged)
    assert int(last) < change <= int(first)
    assert list(map(str, range(int(last) + 1, int(first)))) == list(between)
    assert all(int(name) in unknown for name in between)
    assert len(asked) == len(set(asked))
    assert "0" not in asked
    assert names[-1] not in asked


def test_few_releases_are_asked_for() -> None:
    """Halving: a thousand releases take ten questions."""
    asked = []

    def judged(name: str) -> ReleaseSide:
        asked.append(name)
        return ReleaseSide.BAD if int(name) >= 700 else ReleaseSide.GOOD

    assert search([str(number) for number in range(1024)], judged) == ("699", "700", ())
    assert len(asked) <= 10


def test_the_first_release_that_dies_is_named_with_its_error() -> None:
    """Evidence is the error itself."""
    found = first_failing(RELEASES, ["gpt2"], Fake([0.0] * 10, dies=RELEASES[6:]))
    assert (found.last, found.first, found.between) == ("1.5.0", "1.6.0", ())
    assert found.reason == "TypeError: unexpected keyword"


def test_both_ends_are_tried_before_anything_else() -> None:
    """A wrong end is said and nothing is searched."""
    fake = Fake([0.0] * 10, dies=RELEASES)
    found = first_failing(RELEASES, ["gpt2"], fake)
    assert found.first is None
    assert "1.0.0 is no good end: TypeError" in found.reason
    assert fake.asked == [("1.0.0", 1)]
    found = first_failing(RELEASES, ["gpt2"], Fake([0.0] * 10))
    assert found.first is None
    assert found.reason.startswith("nothing breaks: 1.9.0")


def test_a_release_without_an_environment_is_no_failure() -> None:
    """What cannot be built is named beside the answer, never as the culprit."""
    found = first_failing(
        RELEASES, ["gpt2"], Fake([0.0] * 10, dies=RELEASES[6:], unbuildable=["1.5.0", "1.6.0"])
    )
    assert (found.last, found.first, found.between) == ("1.4.0", "1.7.0", ("1.5.0", "1.6.0"))


@pytest.mark.parametrize("change", range(1, 10))
def test_a_drop_that_is_exact_is_found_with_certainty(change: int) -> None:
    """Where equal releases give equal scores, single seeds suffice between the ends."""
    fake = Fake([0.0] * change + [-0.05] * (10 - change))
    found = first_changed(RELEASES, ["gpt2"], fake)
    assert (found.last, found.first) == (RELEASES[change - 1], RELEASES[change])
    assert {seeds for release, seeds in fake.asked if release not in ("1.0.0", "1.9.0")} <= {1}


def test_a_drop_amid_training_noise_is_found_with_more_seeds() -> None:
    """No two releases give equal scores here, so only the statistics can tell."""
    hits = 0
    for change in range(1, 10):
        fake = Fake([0.0] * change + [-0.06] * (10 - change), training_noise=0.008)
        found = first_changed(RELEASES, ["gpt2"], fake)
        hits += found.first == RELEASES[change]
        assert found.effect is not None
        assert found.effect.mean == pytest.approx(-0.06, abs=0.02)
        assert max(seeds for _, seeds in fake.asked) >= SEED_COUNTS[0]
    assert hits >= 8


def test_noise_alone_is_no_change() -> None:
    """Ends that differ by training noise are not told apart, and the answer says what could have been."""
    answers = []
    for luck in range(20):
        fake = Fake([0.0] * 10, training_noise=0.01, luck=luck)
        answers.append(first_changed(RELEASES, ["gpt2"], fake))
    assert sum(one.first is not None for one in answers) <= 2
    assert "would have been found" in next(one for one in answers if one.first is None).reason


def test_identical_ends_need_two_runs() -> None:
    """The same scores for every example: no further seed is spent."""
    fake = Fake([0.0] * 10)
    found = first_changed(RELEASES, ["gpt2"], fake)
    assert found.first is None
    assert "same score for every example" in found.reason
    assert len(fake.asked) == 2


def test_only_the_model_that_moved_is_followed() -> None:
    """The smallest plan: models whose scores did not move cost one run an end."""
    asked: list[tuple[str, tuple[str, ...]]] = []
    fake = Fake([0.0] * 4 + [-0.05] * 6, models=("phi",))

    def attempt(release: str, models: Sequence[str], seeds: int) -> Trial:
        asked.append((release, tuple(models)))
        return fake(release, models, seeds)

    found = first_changed(RELEASES, ["gpt2", "phi"], attempt)
    assert (found.model, found.first) == ("phi", "1.4.0")
    assert all(models == ("phi",) for _, models in asked[2:])


def test_a_newer_end_that_dies_is_searched_for_failures() -> None:
    """Numbers were asked for, but there are none: the first release that dies is the answer."""
    found = first_changed(RELEASES, ["gpt2"], Fake([0.0] * 10, dies=RELEASES[3:]))
    assert (found.last, found.first) == ("1.2.0", "1.3.0")


def test_a_release_between_that_dies_is_left_open() -> None:
    """It has no numbers, so it is on neither side."""
    found = first_changed(RELEASES, ["gpt2"], Fake([0.0] * 5 + [-0.05] * 5, dies=["1.4.0"]))
    assert (found.last, found.first, found.between) == ("1.3.0", "1.5.0", ("1.4.0",))


TRACE = """Traceback:
  File "/home/me/lib/site-packages/trl/trainer.py", line 1
TypeError: no kernel"""
TRL = ["1.12.0", "1.13.0", "1.14.0", "1.14.1", "1.15.0"]


class Ran:
    """Stands for environments and processes: releases from 1.14.0 on lose 0.05, from 1.15.0 on they die."""

    def __init__(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out = out
        self.carried: list[str] = []
        monkeypatch.setattr(environment, "solve", self.solve)
        monkeypatch.setattr(solver, "releases", lambda _, first, last: [r for r in TRL if first <= r <= last])
        monkeypatch.setattr(verb.run, "carry_out", self.carry_out)

    def solve(self, asked: Sequence[str]) -> Environment:
        moved = dict(text.split("==") for text in asked)
        return Environment(tuple(asked), {**moved, "pluggy": "9.9"} if moved["trl"] > "1.13.0" else moved)

    def carry_out(self, _: object, asked: request.Request, ledger: Ledger, packages: Environment) -> None:
        trl = packages.versions["trl"]
        for one in asked.runs:
            if ledger.finished(one.id):
                continue
            self.carried.append(trl)
            if trl >= "1.15.0":
                ledger.fail(
                    Failure(
                        id=one.id,
                        run=one,
                        stage="train",
                        reason="no kernel",
                        traceback=TRACE,
                        when="2026-11-22",
                    )
                )
                continue
            made = make_record(
                self.out / "made", one.name, one.seed, versions=one.versions, contract=one.contract, n=120,
                shift=-0.05 if trl >= "1.14.0" else 0.0,
            )  # fmt: skip
            folder = ledger.workspace(one.id)
            shutil.copytree(made.folder, folder, dirs_exist_ok=True)
            ledger.publish(made.record.model_copy(update={"id": one.id, "run": one}), folder)


def bisect(out: Path, *words: str) -> int:
    """`bench bisect trl ...` at mini scale."""
    return run_verb(["bisect", "trl", *words, "--scale", "mini", "--out", str(out)])


def test_the_command_names_the_release_that_broke_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the evidence of both sides, in a report that names no folder of this machine."""
    ran = Ran(tmp_path, monkeypatch)
    assert bisect(tmp_path, "1.12.0", "1.15.0", "--fails") == 0
    text = (tmp_path / "bisect-trl-1.12.0-1.15.0.md").read_text()
    assert text in capsys.readouterr().out
    assert text.startswith("# trl 1.12.0 to 1.15.0: 1.15.0 broke the runs")
    assert "## Last good: trl 1.14.1" in text
    assert 'File "trl/trainer.py", line 1' in text
    assert "/home/me" not in text
    assert "pluggy 9.9" in text
    assert "for 4 optimizer steps" in text
    assert ran.carried[:2] == ["1.12.0", "1.15.0"]


def test_a_search_that_goes_on_repeats_neither_records_nor_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again carries out nothing; a run that was killed is tried again."""
    ran = Ran(tmp_path, monkeypatch)
    assert bisect(tmp_path, "1.12.0", "1.15.0", "--fails") == 0
    before = list(ran.carried)
    assert bisect(tmp_path, "1.12.0", "1.15.0", "--fails") == 0
    assert ran.carried == before
    [failure] = Ledger(tmp_path).failed()
    Ledger(tmp_path).fail(failure.model_copy(update={"traceback": ""}))
    assert bisect(tmp_path, "1.12.0", "1.15.0", "--fails") == 0
    assert ran.carried == [*before, "1.15.0"]


def test_the_command_names_the_release_that_changed_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By how much, with an interval, and with which model."""
    Ran(tmp_path, monkeypatch)
    assert bisect(tmp_path, "1.12.0", "1.14.1", "--models", "gpt2,phi-1.5") == 0
    text = (tmp_path / "bisect-trl-1.12.0-1.14.1.md").read_text()
    assert "**trl 1.14.0** is the first release that changed rougeL, by \N{MINUS SIGN}0.0" in text
    assert "| 1.13.0 | like the older end |" in text
    assert "| 1.14.0 | like the newer end |" in text


def test_seeds_are_the_searchs_own_affair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that would be ignored is refused."""
    assert bisect(tmp_path, "1.12.0", "1.15.0", "--seeds", "0,1") == 2
    assert "--seeds: bench bisect takes as many seeds as a step needs" in capsys.readouterr().err


def test_a_spec_that_is_edited_during_the_search_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else an edited recipe would pass for the release's doing."""
    Ran(tmp_path, monkeypatch)
    resolve = request.resolve

    def edited(args: argparse.Namespace, versions: Mapping[str, str] | None = None) -> request.Request:
        asked = resolve(args, versions)
        if versions and versions["trl"] < "1.15.0":
            return asked
        recipe = asked.runs[0].recipe.model_copy(update={"learning_rate": 0.1})
        return replace(asked, runs=[one.model_copy(update={"recipe": recipe}) for one in asked.runs])

    monkeypatch.setattr(request, "resolve", edited)
    assert bisect(tmp_path, "1.12.0", "1.15.0", "--fails") == 2
    assert "changed during the search; start it again" in capsys.readouterr().err
