"""A gate passes, stops, or says that it cannot judge."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from records import make_contract, make_failure, make_record

from bench import cli
from bench.errors import Incomparable, RequestError
from bench.judge.compare import compare
from bench.judge.gate import problems
from bench.judge.pairing import since
from bench.render.junit import junit
from bench.store.ledger import Ledger
from bench.store.record import Failure
from bench.store.sides import Side
from bench.verbs import compare as compare_verb
from bench.verbs import gate as gate_verb

OLD = "2026-11-10T10:00:00Z"
LATER = "2026-11-21T10:00:00Z"
NEW = {"trl": "1.15.0", "transformers": "5.17.1"}
MODELS = ("gpt2", "phi-1.5", "llama-2-7b")


def baseline(out: Path, models: tuple[str, ...] = MODELS, **one: Any) -> None:
    """Three seeds of some models, saved as 'main'."""
    for model in models:
        for seed in (0, 1, 2):
            make_record(out, model, seed, finished=OLD, **one)
    assert cli.run_verb(["baseline", "save", "main", "--out", str(out)]) == 0


def run_again(out: Path, models: tuple[str, ...] = MODELS, **after: Any) -> None:
    """The same under newer packages."""
    for model in models:
        for seed in (0, 1, 2):
            make_record(out, model, seed, versions=NEW, finished=LATER, **after)


def gate(out: Path, *more: str) -> int:
    """The exit code of the gate."""
    return cli.run_verb(["gate", "--baseline", "main", "--out", str(out), *more])


def test_an_equal_result_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and the table is shown."""
    baseline(tmp_path)
    run_again(tmp_path)
    assert gate(tmp_path) == 0
    shown = capsys.readouterr().out.split("\n", 1)[1]  # after the line of `baseline save`
    assert shown.startswith("Safe against baseline 'main': all 540 scores are identical\n")


def test_a_regression_stops_and_an_improvement_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1 with the model's name."""
    baseline(tmp_path / "worse")
    run_again(tmp_path / "worse", shift=-0.05)
    assert gate(tmp_path / "worse") == 1
    assert "gpt2 twin regressed by 0.0" in capsys.readouterr().out
    baseline(tmp_path / "better")
    run_again(tmp_path / "better", shift=0.05)
    assert gate(tmp_path / "better") == 0


def test_a_drift_of_all_models_stops(tmp_path: Path) -> None:
    """Although each model's own drop is below the threshold."""
    baseline(tmp_path, changed=0.0)
    run_again(tmp_path, shift=-0.007)
    assert gate(tmp_path) == 1
    assert gate(tmp_path, "--drift", "0.009") == 0


def test_a_model_that_newly_fails_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure of the upgraded stack that is newer than the baseline's record."""
    baseline(tmp_path)
    make_failure(tmp_path, "phi-1.5", versions=NEW)  # on the 20th
    assert gate(tmp_path) == 1
    assert "phi-1.5 twin fails now: seed 0: train: out of memory" in capsys.readouterr().out


def test_a_failure_older_than_the_baseline_does_not_count(tmp_path: Path) -> None:
    """It was repaired before the baseline was saved."""
    make_failure(tmp_path, "phi-1.5")
    for seed in (0, 1, 2):
        make_record(tmp_path, "phi-1.5", seed, finished=LATER, versions=NEW)
    assert cli.run_verb(["baseline", "save", "main", "--out", str(tmp_path)]) == 0
    assert gate(tmp_path, "--allow-unchanged") == 0


def test_a_changed_contract_cannot_be_judged(tmp_path: Path) -> None:
    """The baseline's own old records are no stand-in for today's: exit 2, with the part that differs."""
    out = tmp_path / "reports"
    baseline(out, ("gpt2",))
    run_again(out, ("gpt2",), contract=make_contract(steps=100))
    summary = tmp_path / "summary.md"
    command = ["gate", "--baseline", "main", "--out", str(out), "--markdown", str(summary)]
    done = subprocess.run([sys.executable, "-m", "bench.cli", *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert "gpt2: budget.steps: 60 | 100" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert summary.read_text(encoding="utf-8").startswith("## Cannot be judged")


def test_nothing_in_common_is_exit_2_and_a_regression_exit_1_of_compare(tmp_path: Path) -> None:
    """Through the command itself."""
    baseline(tmp_path, ("gpt2",))
    run_again(tmp_path, ("gpt2",), shift=-0.05)
    make_record(tmp_path / "other", "phi-1.5")
    words = ["compare", "trl==1.14.2", "--out", str(tmp_path)]
    assert cli.run_verb([*words, "trl==1.15.0"]) == 0
    assert cli.run_verb([*words, "trl==1.15.0", "--fail-on-regression"]) == 1
    command = [sys.executable, "-m", "bench.cli", *words, str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "have no run in common: gpt2 | phi-1.5" in done.stderr


def test_nothing_run_since_cannot_be_judged(tmp_path: Path) -> None:
    """Exit 2, unless that is allowed."""
    baseline(tmp_path, ("gpt2",))
    with pytest.raises(Incomparable, match="nothing was run since baseline 'main'"):
        execute_gate(tmp_path)
    assert gate(tmp_path) == 2
    assert gate(tmp_path, "--allow-unchanged") == 0


def execute_gate(out: Path) -> None:
    """The verb itself, with its exception."""
    parser = argparse.ArgumentParser()
    gate_verb.configure(parser)
    gate_verb.execute(parser.parse_args(["--baseline", "main", "--out", str(out)]))


@pytest.mark.parametrize("damaged", [3, 9])
def test_records_that_are_cut_short_are_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: int
) -> None:
    """One model's, or all of them: exit 2, with the files that cannot be read."""
    baseline(tmp_path)
    run_again(tmp_path)
    stored_runs, _ = Ledger(tmp_path).load()
    new = [stored.folder for stored in stored_runs if stored.record.run.versions["trl"] == "1.15.0"]
    for folder in sorted(new)[:damaged]:
        file = folder / "record.json"
        file.write_bytes(file.read_bytes()[:200])
    assert gate(tmp_path) == 2
    shown = capsys.readouterr()
    assert "cut short" in " ".join(shown.out.split()) or "nothing was run since" in shown.err


def test_broken_scores_beside_a_healthy_model_are_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The healthy model is judged, and the others are named."""
    baseline(tmp_path)
    run_again(tmp_path)
    for stored in Ledger(tmp_path).load()[0]:
        if stored.record.run.versions["trl"] == "1.15.0" and stored.record.run.name != "gpt2":
            (stored.folder / "scores.json").write_text("{}", encoding="utf-8")
    assert gate(tmp_path) == 2
    text = capsys.readouterr().out
    assert "Cannot be judged against baseline 'main'" in text
    assert "phi-1.5 twin: not run since the baseline was saved" in text
    assert "scores.json: missing, edited or cut short" in text


def test_a_model_of_the_baseline_under_another_contract_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 although the others are as good as before; a regression beside it is still exit 1."""
    baseline(tmp_path)
    run_again(tmp_path, ("gpt2", "llama-2-7b"))
    run_again(tmp_path, ("phi-1.5",), contract=make_contract(steps=100))
    assert gate(tmp_path) == 2
    assert "phi-1.5 twin: budget.steps: 60 | 100" in capsys.readouterr().out


def test_a_named_side_that_lacks_a_model_of_the_baseline_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that was not run again is not as good as before; nobody looked."""
    baseline(tmp_path)
    run_again(tmp_path, ("gpt2", "phi-1.5"))
    assert gate(tmp_path, "--current", "trl==1.15.0") == 2
    assert "llama-2-7b twin: only in main" in capsys.readouterr().out


def test_records_older_than_the_baseline_never_stand_for_today(tmp_path: Path) -> None:
    """The history before the baseline is left alone."""
    before = make_record(tmp_path, "gpt2", finished="2026-11-01T00:00:00Z", versions={"trl": "1.12.0"})
    saved = make_record(tmp_path, "gpt2", finished=OLD)
    after = make_record(tmp_path, "gpt2", finished=LATER, versions=NEW)
    side = Side("main", (saved,))
    assert since(side, Side("current", (before, saved))).records == (saved,)
    assert since(side, Side("current", (before, saved, after))).records == (after,)


def test_the_current_side_can_be_named(tmp_path: Path) -> None:
    """For a pull request that is judged among the records of others."""
    baseline(tmp_path, ("gpt2",))
    run_again(tmp_path, ("gpt2",), shift=-0.05)
    assert gate(tmp_path) == 1
    assert gate(tmp_path, "--current", "trl==1.14.2", "--allow-unchanged") == 0


def test_the_summary_goes_to_the_job_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appended to what other steps wrote there, and to the file that is named."""
    page, file = tmp_path / "page.md", tmp_path / "new" / "gate.md"
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    baseline(tmp_path, ("gpt2",))
    run_again(tmp_path, ("gpt2",), shift=-0.05)
    assert gate(tmp_path, "--markdown", str(file)) == 1
    text = file.read_text(encoding="utf-8")
    assert text.startswith("## Regressed against baseline 'main'\n\n- gpt2 twin regressed by")
    assert "| gpt2 twin |" in text
    assert page.read_text(encoding="utf-8") == f"before\n{text}\n"


def test_junit_has_a_case_for_each_model_and_one_for_all(tmp_path: Path) -> None:
    """Failures are those that the gate stops for; what cannot be judged is an error."""
    out = tmp_path / "reports"
    baseline(out)
    run_again(out, ("gpt2",), shift=-0.05)
    run_again(out, ("phi-1.5",), contract=make_contract(steps=100))
    run_again(out, ("llama-2-7b",))
    assert gate(out, "--junit", str(tmp_path / "j.xml")) == 1
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    cases = {case.get("name"): {child.tag for child in case} for case in suite}
    assert cases == {
        "gpt2 twin": {"failure"},
        "llama-2-7b twin": {"system-out"},
        "phi-1.5 twin": {"error"},
        "all models together": {"system-out"},
    }
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")


def test_junit_survives_what_a_library_prints(tmp_path: Path) -> None:
    """Terminal colours and angle brackets are no XML."""
    one, kept = make_record(tmp_path, "phi-1.5"), make_record(tmp_path, "gpt2")
    raw = make_failure(tmp_path, "phi-1.5", reason="\x1b[31m<b>&\x00 died").model_dump()
    result = compare(Side("a", (one, kept)), Side("b", (kept,), (Failure.model_validate(raw),)))
    suite = ElementTree.fromstring(junit(result, "main").encode())
    (failure,) = suite.iter("failure")
    assert "<b>&" in str(failure.get("message"))
    assert problems(result) == ["phi-1.5 twin fails now: seed 0: train: \x1b[31m<b>&\x00 died"]


def test_json_holds_the_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs: rows, numbers and every reason to stop."""
    baseline(tmp_path, ("gpt2",))
    run_again(tmp_path, ("gpt2",), shift=-0.05)
    capsys.readouterr()
    assert gate(tmp_path, "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert data["rows"][0]["finding"] == "regressed"
    assert len(data["problems"]) == 1


def test_a_baseline_that_is_saved_again_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so; another set can be saved by name."""
    baseline(tmp_path, ("gpt2",))
    run_again(tmp_path, ("gpt2",))
    words = ["baseline", "save", "main", "--from", "trl==1.15.0", "--out", str(tmp_path)]
    assert cli.run_verb(words) == 0
    assert "baseline 'main' replaced: 3 runs" in capsys.readouterr().out
    saved = json.loads((tmp_path / "baselines" / "main.json").read_text(encoding="utf-8"))
    newer = {one.name for one in (tmp_path / "runs").iterdir()} - {run["id"] for run in saved["runs"]}
    assert len(newer) == 3


def test_a_report_that_cannot_be_written_is_a_wrong_request(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RequestError, match="cannot be written"):
        compare_verb.write(tmp_path / "file" / "c.md", "text")


def test_a_clone_without_records_is_judged_against_the_committed_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on CI: the baseline's file is all that came with the clone, and everything was run anew."""
    baseline(tmp_path / "mine")
    clone = tmp_path / "clone"
    (clone / "baselines").mkdir(parents=True)
    shutil.copy(tmp_path / "mine" / "baselines" / "main.json", clone / "baselines")
    assert gate(clone) == 2, "nothing was run"
    capsys.readouterr()
    run_again(clone)
    assert gate(clone) == 0
    run_again(clone, shift=-0.08)
    assert gate(clone) == 1


def test_one_seed_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Retraining alone would turn such a gate red; seeds or a known training noise make it judge."""
    for model in MODELS:
        make_record(tmp_path, model, finished=OLD)
    cli.run_verb(["baseline", "save", "main", "--out", str(tmp_path)])
    for model in MODELS:
        make_record(tmp_path, model, shift=-0.08, versions=NEW, finished=LATER)
    capsys.readouterr()
    assert gate(tmp_path, "--junit", str(tmp_path / "gate.xml")) == 2
    assert "one seed a side" in capsys.readouterr().out
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("0", "3")
    for model in MODELS:
        for seed in (0, 1, 2):
            make_record(tmp_path / "several", model, seed, finished=OLD)
    assert gate(tmp_path, "--noise-from", str(tmp_path / "several")) == 1


def test_one_seed_with_the_same_answers_passes(tmp_path: Path) -> None:
    """Nothing moved, so luck has no part in it."""
    make_record(tmp_path, finished=OLD)
    cli.run_verb(["baseline", "save", "main", "--out", str(tmp_path)])
    make_record(tmp_path, versions=NEW, finished=LATER)
    assert gate(tmp_path) == 0


def test_noise_cannot_be_taken_from_single_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline(tmp_path, ("gpt2",))
    run_again(tmp_path, ("gpt2",))
    make_record(tmp_path / "single")
    assert gate(tmp_path, "--noise-from", str(tmp_path / "single")) == 2
    assert "no model with several seeds" in capsys.readouterr().err
