"""Interrupted runs: which checkpoint counts, whatever the kill left of the newest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from runs import encoded, mini_run

from bench.digest import digest
from bench.run.clock import Clock
from bench.run.identity import Run
from bench.train.checkpoints import MARKER, TRAINER_STATE, mark, newest_whole
from bench.train.fit import fit
from bench.train.load import load
from bench.train.meter import Meter
from benchmarks.faults import Fault, Plant

BATCH = 8


def checkpoint(folder: Path, steps: int, **counts: Any) -> Path:
    """A checkpoint of a trainer, still without its marker."""
    place = folder / f"checkpoint-{steps}"
    place.mkdir(parents=True)
    (place / "adapter_model.safetensors").write_bytes(b"weights" * steps)
    (place / "optimizer.pt").write_bytes(b"moments" * steps)
    (place / TRAINER_STATE).write_text(json.dumps({"global_step": steps}))
    return place


def counts(steps: int) -> dict[str, Any]:
    return {"steps": steps, "examples": steps * BATCH}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two whole checkpoints, as a kill between the marker and the removal of the older leaves them."""
    mark(checkpoint(tmp_path / "new", 4), counts(4))
    mark(checkpoint(tmp_path, 2), counts(2))
    shutil.move(tmp_path / "new" / "checkpoint-4", tmp_path / "checkpoint-4")
    return tmp_path


def chosen(folder: Path) -> str | None:
    newest = newest_whole(folder, BATCH)
    return newest[0].name if newest else None


def test_the_newest_by_number_counts(two: Path) -> None:
    two.joinpath("checkpoint-4").rename(two / "checkpoint-10")
    (two / "checkpoint-10" / TRAINER_STATE).write_text(json.dumps({"global_step": 10}))
    mark_again(two / "checkpoint-10", 10)
    mark_again(two / "checkpoint-2", 2)
    assert chosen(two) == "checkpoint-10", "10 comes before 2 in the alphabet alone"


def mark_again(place: Path, steps: int) -> None:
    """Write the marker of a checkpoint without removing the others."""
    others = [path for path in place.parent.iterdir() if path != place]
    hidden = place.parent.parent / f"hidden-{place.parent.name}"
    hidden.mkdir()
    for path in others:
        path.rename(hidden / path.name)
    mark(place, counts(steps))
    for path in others:
        (hidden / path.name).rename(path)
    hidden.rmdir()


def test_marking_a_checkpoint_removes_its_predecessors(tmp_path: Path) -> None:
    mark(checkpoint(tmp_path, 2), counts(2))
    mark(checkpoint(tmp_path, 4), counts(4))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [Path.unlink, cut, flip, lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("name", [MARKER, TRAINER_STATE, "optimizer.pt", "adapter_model.safetensors"])
def test_a_damaged_checkpoint_is_set_aside_with_a_line_and_the_one_before_counts(
    two: Path, name: str, harm: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    harm(two / "checkpoint-4" / name)
    assert chosen(two) == "checkpoint-2"
    assert (two / "damaged-checkpoint-4").is_dir()
    line = capsys.readouterr().err
    assert line.startswith("checkpoint-4 is set aside as damaged-checkpoint-4: ")
    assert name in line


def test_where_none_is_whole_the_run_starts_anew(tmp_path: Path) -> None:
    checkpoint(tmp_path, 2)
    assert chosen(tmp_path) is None
    assert chosen(tmp_path / "none") is None
    checkpoint(tmp_path, 2)
    assert chosen(tmp_path) is None, "setting aside the same name again is no obstacle"


def test_counts_that_are_not_those_of_the_trainer_are_no_progress(two: Path) -> None:
    """A marker that claims more steps than were trained would pass as the full budget."""
    body = json.loads((two / "checkpoint-4" / MARKER).read_text())
    body["counts"] = counts(60)
    body["digest"] = digest({key: body[key] for key in ("counts", "files")})
    (two / "checkpoint-4" / MARKER).write_text(json.dumps(body))
    assert chosen(two) == "checkpoint-2"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that holds torch")
def test_killed_at_each_file_operation_of_saving_a_run_resumes_or_starts_anew(tmp_path: Path) -> None:
    """A checkpoint after every step; the process is killed at the n-th operation, for every n.

    The forks come from an interpreter of their own that has computed nothing, as a zygote has: this one has
    threads, whose locks a fork would find locked for ever.
    """
    run, place = trained_twice()
    command = [sys.executable, __file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, timeout=900, env=environment)
    folders = sorted((folder for folder in tmp_path.iterdir() if folder.is_dir()), key=lambda f: int(f.name))
    found = [newest_whole(folder, 1) for folder in folders]
    resumed_from = [newest[1]["steps"] if newest else 0 for newest in found[:-1]]
    assert len(resumed_from) > 20, "saving two checkpoints takes many operations"
    assert resumed_from == sorted(resumed_from), "a later kill never costs more"
    assert set(resumed_from) == {0, 1, 2}
    for number in (0, resumed_from.index(1), resumed_from.index(2)):
        fresh = load(run, place)
        examples = encoded(run, fresh)
        meter = fit(run, fresh, examples, tmp_path / str(number), lambda *_: None, checkpoint_every=1).meter
        assert (meter.steps, meter.examples) == (2, 2)


def trained_twice() -> tuple[Run, Path]:
    """A run of two steps of one example."""
    return mini_run("gpt2", steps=2, batch=1, micro_batch=1)


def train_and_be_killed(out: Path) -> None:
    """Train in forks into `out`/0, `out`/1 and so on; fork n dies at file operation n, the last at none."""
    run, place = trained_twice()
    number, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        folder = out / str(number)
        folder.mkdir()
        pid = os.fork()
        if pid == 0:
            signal.alarm(120)
            loaded = load(run, place)
            Plant(Fault("kill", number, folder))
            fit(run, loaded, encoded(run, loaded), folder, lambda *_: None, checkpoint_every=1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        number += 1
    if status:
        raise SystemExit(f"fork {number - 1} ended with status {status}")


def test_a_resumed_run_reports_the_time_of_all_its_tries(tmp_path: Path) -> None:
    """The seconds of validation belong to the same tries as the seconds that they are taken from."""
    run, place = mini_run("gpt2", steps=4)
    loaded = load(run, place)
    examples = encoded(run, loaded)

    class Stop(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        fit(run, loaded, examples, tmp_path, stop, checkpoint_every=2, validation=examples[:2])
    saved = newest_whole(tmp_path, BATCH)
    assert saved is not None
    kept = saved[1]
    assert kept["seconds"] > kept["validation_seconds"] > 0
    again = load(run, place)
    meter = fit(
        run, again, examples, tmp_path, lambda *_: None, checkpoint_every=2, validation=examples[:2]
    ).meter
    assert meter.earlier_seconds == kept["seconds"]
    assert meter.validation_seconds > kept["validation_seconds"]
    assert meter.seconds > kept["seconds"]


def test_time_of_earlier_tries_counts_and_validation_is_taken_from_the_whole() -> None:
    clock = Clock(lambda event: None)
    clock.seconds["train"] = 2.0
    clock.add("train", 100.0)
    clock.apart("train", "validation loss", 30.0)
    assert clock.seconds == {"train": 72.0, "validation loss": 30.0}


def test_a_meter_takes_up_all_that_it_left() -> None:
    meter = Meter(lambda *_: None)
    left = {
        "examples": 16,
        "supervised_tokens": 5,
        "total_tokens": 9,
        "steps": 2,
        "curve": [],
        "validation_seconds": 1.0,
        "seconds": 7.0,
    }
    meter.resume(left)
    assert (meter.examples, meter.total_tokens, meter.validation_seconds) == (16, 9, 1.0)
    assert 7.0 <= meter.seconds < 8.0


if __name__ == "__main__":
    train_and_be_killed(Path(sys.argv[1]))
