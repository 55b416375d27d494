"""The real command, from request to board: resumed, extended, killed and timed out."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.cli import run_verb
from bench.store.ledger import Ledger

SMALL = ["--budget", "smoke", "--eval-limit", "20", "--max-new-tokens", "12"]
TIMINGS = {"seconds", "peak_memory", "started", "finished", "command", "commit", "dirty", "artifacts"}


def bench(*words: str, out: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*words, out=out), capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr
    return done


def command(*words: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "bench.cli", "run", *words, *SMALL, "--out", str(out)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, one after the other, with nothing in the way."""
    out = tmp_path_factory.mktemp("undisturbed")
    bench("--models", "gpt2,bart-large-xsum", out=out)
    return out


def without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_timings(item) for key, item in value.items() if key not in TIMINGS}
    return value


def contents(out: Path) -> dict[str, Any]:
    """Everything in the records that is not a timing, with completions, scores and curves."""
    stored, messages = Ledger(out).load()
    assert messages == []
    return {
        one.record.id: {
            "record": without_timings(json.loads(one.record.model_dump_json())),
            "scores": one.scores,
            "completions": one.completions,
            "curve": one.curve,
        }
        for one in stored
    }


def test_a_run_leaves_whole_records_and_a_board(undisturbed: Path) -> None:
    stored, messages = Ledger(undisturbed).load()
    assert messages == []
    assert {one.record.run.name for one in stored} == {"gpt2", "bart-large-xsum"}
    for one in stored:
        assert one.record.spent.examples == 32
        assert len(one.completions) == len(one.scores["ids"]) == 20
        assert [point["step"] for point in one.curve if "loss" in point] == [1, 2, 3, 4]
        assert [point["step"] for point in one.curve if "eval_loss" in point] == [0, 1, 2, 3, 4]
        assert one.record.data.selected["validation, to follow the loss"] == 4
        assert one.record.spent.supervised_tokens > 0
        assert one.record.spent.peak_memory < 2 << 30, "a mini run fits in 2 GB"
    assert "gpt2" in (undisturbed / "leaderboard.md").read_text()


def test_the_same_command_again_prints_the_same_board_without_running(undisturbed: Path) -> None:
    first = bench("--models", "gpt2,bart-large-xsum", out=undisturbed)
    before = (undisturbed / "leaderboard.md").read_text()
    begin = seconds_of_children()
    second = bench("--models", "gpt2,bart-large-xsum", out=undisturbed)
    spent = seconds_of_children() - begin
    assert second.stdout == first.stdout
    assert "started" not in second.stderr
    assert (undisturbed / "leaderboard.md").read_text() == before
    assert spent < 2.5, "processor seconds; importing torch alone takes more"


def seconds_of_children() -> float:
    """Processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_another_seed_later_amends_the_same_board(undisturbed: Path) -> None:
    done = bench("--models", "gpt2", "--seeds", "0,1", out=undisturbed)
    assert "gpt2 s1" in done.stderr
    assert "gpt2 s0" not in done.stderr, "seed 0 is finished"
    assert {
        one.record.run.seed for one in Ledger(undisturbed).load()[0] if one.record.run.name == "gpt2"
    } == {0, 1}


def test_the_same_seed_twice_gives_the_same_completions_and_scores(undisturbed: Path, tmp_path: Path) -> None:
    bench("--models", "gpt2", "--jobs", "2", out=tmp_path)
    mine, theirs = contents(tmp_path), contents(undisturbed)
    assert set(mine) < set(theirs)
    assert all(theirs[id] == content for id, content in mine.items())


@pytest.mark.slow
def test_a_run_over_its_time_limit_is_a_failed_row_and_the_others_go_on(tmp_path: Path) -> None:
    done = bench("--models", "gpt2", "--time-limit", "0.2", out=tmp_path, check=False)
    assert done.returncode == 1
    assert "reached its time limit of 0.2 s" in done.stdout
    assert "gpt2" in (tmp_path / "leaderboard.md").read_text()
    bench("--models", "gpt2", out=tmp_path)
    assert Ledger(tmp_path).failed() == [], "a success removes the failure"


def test_a_run_that_dies_names_its_stage_and_reason_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "wild.toml").write_text(
        'checkpoint = "example/wild"\nlicence = "MIT"\nfamily = "gpt2"\narchitecture = "GPT2LMHeadModel"\n'
        'objective = "causal"\nparameters = 1\ntwin = "gpt2"\n'
        '[recipe]\nmethod = "full"\nlearning_rate = 1e30\nmax_grad_norm = 0.0\n'
    )
    done = subprocess.run(
        command("--models", "wild,gpt2", out=tmp_path / "out"),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 1
    (failure,) = Ledger(tmp_path / "out").failed()
    assert failure.stage == "train"
    assert "loss became" in failure.reason
    assert "NotFinite" in failure.traceback
    assert {one.record.run.name for one in Ledger(tmp_path / "out").load()[0]} == {"gpt2"}
    assert failure.reason in done.stdout.replace("\n", " ") or "loss became" in done.stdout


@pytest.mark.slow
def test_killed_ten_times_the_same_command_completes_with_equal_records(
    undisturbed: Path, tmp_path: Path
) -> None:
    """The driver and a worker in turn, each at another moment of the work."""
    words = command("--models", "gpt2,bart-large-xsum", out=tmp_path)
    for attempt in range(10):
        driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for_work(driver, lines=1 + attempt % 4, then=0.3 * attempt)
        if attempt % 2:
            for worker in workers_of(driver.pid):
                kill(worker)
            driver.wait(timeout=200)
        else:
            kill(driver.pid)
            driver.wait(timeout=30)
        assert all((folder / "record.json").is_file() for folder in (tmp_path / "runs").glob("*"))
    assert subprocess.run(words, capture_output=True, timeout=300).returncode == 0
    expected = {id: content for id, content in contents(undisturbed).items() if "-s0-" in id}
    assert contents(tmp_path) == expected


@pytest.mark.slow
def test_a_run_killed_behind_a_checkpoint_goes_on_from_it(tmp_path: Path) -> None:
    """Its second half is not the whole again, and the record is that of an undisturbed run."""
    options = ["--models", "gpt2", "--checkpoint-every", "2", "--budget", "10x8"]
    undisturbed, cut = tmp_path / "undisturbed", tmp_path / "cut"
    words = [*command(out=cut), *options]
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(cut.glob(".work/*/checkpoints/checkpoint-6/meter.json")):
        assert driver.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill(driver.pid)
    driver.wait(timeout=30)
    resumed = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert "step 5/10" not in resumed.stderr
    assert "step 10/10" in resumed.stderr
    whole = subprocess.run(
        [*command(out=undisturbed), *options], capture_output=True, text=True, timeout=300, check=True
    )
    assert "step 5/10" in whole.stderr
    assert contents(cut) == contents(undisturbed)


def wait_for_work(driver: subprocess.Popen[str], lines: int, then: float) -> None:
    """Until the driver has said so many lines (or ended), and a little longer."""
    assert driver.stderr
    for _ in range(lines):
        if not driver.stderr.readline():
            return
    time.sleep(then)


def workers_of(driver: int) -> list[int]:
    """The children of the driver's zygotes, which carry out runs."""
    children = lambda pid: [int(word) for word in read(f"/proc/{pid}/task/{pid}/children").split()]  # noqa: E731
    return [worker for zygote in children(driver) for worker in children(zygote)]


def read(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.slow
def test_a_further_metric_stands_beside_rouge_and_ranks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A metric script on this machine is a name that `evaluate` takes, like one of the hub's."""
    script = tmp_path / "shared_words.py"
    script.write_text(METRIC)
    bench("--models", "gpt2", "--metrics", str(script), out=tmp_path / "reports")
    [stored] = Ledger(tmp_path / "reports").load()[0]
    shared = [
        len(set(one["tuned"].split()) & set(one["references"][0].split())) for one in stored.completions
    ]
    assert stored.record.further["tuned"] == {"shared_words": sum(shared)}
    assert run_verb(["show", "gpt2", "--out", str(tmp_path / "reports")]) == 0
    assert "shared_words" in capsys.readouterr().out


METRIC = """
import datasets
import evaluate


class SharedWords(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        columns = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description="", citation="", features=columns)

    def _compute(self, predictions, references):
        pairs = zip(predictions, references, strict=True)
        shared = sum(len(set(one.split()) & set(other.split())) for one, other in pairs)
        return {"shared_words": shared, "note": "no number"}
"""


def test_a_checkpoint_on_disk_is_a_model_and_its_adapter_carries_a_card(tmp_path: Path) -> None:
    """No spec file is needed; without a GPU a small one is tuned at scale full."""
    import shutil

    from bench.registry import TWINS

    shutil.copytree(TWINS / "gpt2", tmp_path / "my-model")
    done = subprocess.run(
        command("--models", "./my-model", out=tmp_path / "out"),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (stored,), _ = Ledger(tmp_path / "out").load()
    assert (stored.record.run.name, stored.record.run.scale) == ("my-model", "full")
    written = (stored.folder / "record.json").read_text().replace(stored.record.provenance.command, "")
    assert str(tmp_path) not in written, "a record names no path of the machine that made it"
    assert "model-index" in (stored.folder / "adapter" / "README.md").read_text()


def test_training_examples_that_are_cut_are_counted(tmp_path: Path) -> None:
    bench("--models", "gpt2", "--max-length", "48", out=tmp_path)
    (stored,) = Ledger(tmp_path).load()[0]
    assert 0 < stored.record.spent.truncated <= stored.record.spent.examples
