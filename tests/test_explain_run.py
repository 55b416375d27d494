"""`bench explain` on planted faults, over real runs of the twins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from runs import course, mini_run

from bench import provenance
from bench.cli import run_verb
from bench.digest import file_digest
from bench.errors import UnknownName
from bench.judge.explain import Explanation
from bench.launch.drive import Settings, drive
from bench.launch.progress import Plain
from bench.run.identity import Run
from bench.run.job import write_selection
from bench.score.identity import scorer
from bench.score.rouge import Rouge
from bench.score.rows import score_run
from bench.spec import Example
from bench.stats import Interval
from bench.store.ledger import Ledger, Stored
from bench.store.record import SCORES, Estimate
from bench.verbs.explain import _task, explained, paired
from bench.versions.redecode import Task, redecode, texts

PLAIN = Rouge(stemmer=False).identity
MODELS = {"lora": "phi-1.5", "four bit": "llama-3.1-8b", "full": "bart-large-xsum"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stored]:
    """Name -> record: one for each way of tuning, and Phi with one fault each."""
    out = tmp_path_factory.mktemp("explain")
    wanted = {name: mini_run(model, new_tokens=24) for name, model in MODELS.items()}
    wanted["other rate"] = mini_run("phi-1.5", new_tokens=24, learning_rate=5e-4)
    wanted["longer"] = mini_run("phi-1.5", new_tokens=48)
    wanted["both"] = mini_run("phi-1.5", new_tokens=48, learning_rate=5e-4)
    selection = course(limit=80)
    file = out / "selection.json"
    write_selection(file, selection)
    ledger = Ledger(out)
    settings = Settings(2, 1, "bench run", provenance.Tree(None, False))
    work = [(run, folder, file) for run, folder in wanted.values()]
    assert drive(work, ledger, settings, Plain(len(work))) == []
    found = {one.record.id: one for one in ledger.load()[0]}
    named = {name: found[run.id] for name, (run, _) in wanted.items()}
    named["unstemmed"] = as_scored_by(PLAIN, named["lora"], out)
    named["all three"] = as_scored_by(PLAIN, named["both"], out)
    return named


def as_scored_by(identity: str, stored: Stored, out: Path) -> Stored:
    """The record that the same run under another scorer would have left."""
    rows = stored.completions
    examples = [
        Example(id=row["id"], question=row["question"], answers=tuple(row["references"])) for row in rows
    ]
    answers = {name: [row[name] for row in rows] for name in ("tuned", "base")}
    scores = score_run(scorer(identity), examples, course().train, answers)
    run = renamed(stored.record.run, identity)
    ledger = Ledger(out)
    folder = ledger.workspace(run.id)
    shutil.copytree(stored.folder, folder, dirs_exist_ok=True)
    (folder / SCORES).write_text(json.dumps({**stored.scores, "rows": scores.table}), encoding="utf-8")
    files = {**stored.record.files, SCORES: file_digest(folder / SCORES)}
    estimates = {row: as_estimates(values) for row, values in scores.means.items()}
    update = {"id": run.id, "run": run, "files": files}
    update |= {"scores": estimates, "gain": as_estimates(scores.gain)}
    record = stored.record.model_copy(update=update)
    return Stored(record, ledger.publish(record, folder))


def as_estimates(values: dict[str, Interval]) -> dict[str, Estimate]:
    """Metric -> what a record holds of its interval."""
    return {kind: Estimate(mean=value.mean, low=value.low, high=value.high) for kind, value in values.items()}


def renamed(run: Run, identity: str) -> Run:
    """A run under a contract with another scorer."""
    return run.model_copy(update={"contract": run.contract.model_copy(update={"scorer": identity})})


def parts(one: Explanation) -> dict[str, float]:
    """Stage -> its part; every stage must have been told apart."""
    assert all(len(part.stages) == 1 for part in one.parts), one.notes
    return {part.stages[0]: part.value.mean for part in one.parts}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "stage"), [("unstemmed", "scoring"), ("longer", "decoding"), ("other rate", "training")]
)
def test_a_planted_fault_is_put_down_to_its_stage(runs: dict[str, Stored], fault: str, stage: str) -> None:
    """At least nine tenths of the difference, and the parts add up to it."""
    [one] = explained([(runs["lora"], runs[fault])])
    found, total = parts(one), one.b - one.a
    assert total != 0
    assert found[stage] / total >= 0.9
    assert sum(found.values()) == pytest.approx(total, abs=1e-9)


@pytest.mark.slow
def test_three_faults_at_once_add_up(runs: dict[str, Stored]) -> None:
    """Every stage has its part, none of them nothing, and together they are the difference."""
    [one] = explained([(runs["lora"], runs["all three"])])
    found = parts(one)
    assert all(value != 0 for value in found.values())
    assert sum(found.values()) == pytest.approx(one.b - one.a, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("way", list(MODELS))
def test_saved_weights_write_the_same_texts_again(runs: dict[str, Stored], way: str) -> None:
    """Word for word, for every way of tuning: else a difference in loading would pass for decoding."""
    stored = runs[way]
    written = texts(_task(stored, stored))
    assert written == [row["tuned"] for row in stored.completions]
    assert len(set(written)) > 1 or way == "full"


@pytest.mark.slow
def test_the_base_alone_does_not_write_those_texts(runs: dict[str, Stored]) -> None:
    """The adapter is really put in: other weights write other texts."""
    written = texts(_task(runs["other rate"], runs["lora"]))
    assert written != [row["tuned"] for row in runs["lora"].completions]
    assert written == [row["tuned"] for row in runs["other rate"].completions]


@pytest.mark.slow
def test_a_task_that_cannot_be_done_gives_its_reason_and_the_others_go_on(runs: dict[str, Stored]) -> None:
    """One process does many tasks; a broken one costs one answer."""
    good = _task(runs["lora"], runs["lora"])
    bad = Task(**{**dict(good), "weights": "/nowhere"})
    first, second = redecode([bad, good], {})
    assert isinstance(first, str)
    assert "nowhere" in first
    assert second == [row["tuned"] for row in runs["lora"].completions]


@pytest.mark.slow
def test_deleted_weights_leave_two_parts_together_with_the_reason(
    runs: dict[str, Stored], tmp_path: Path
) -> None:
    """Scoring can still be told apart; the note names the file."""
    copy = tmp_path / "runs" / runs["lora"].record.id
    shutil.copytree(runs["lora"].folder, copy, ignore=shutil.ignore_patterns("adapter"))
    bare = Stored(runs["lora"].record, copy)
    [one] = explained([(bare, runs["both"])])
    assert [part.stages for part in one.parts] == [("scoring",), ("decoding", "training")]
    assert any("was deleted" in note for note in one.notes)


@pytest.mark.slow
def test_weights_that_were_edited_are_not_decoded(runs: dict[str, Stored], tmp_path: Path) -> None:
    """What a record's digest does not vouch for is no evidence."""
    copy = tmp_path / "runs" / runs["lora"].record.id
    shutil.copytree(runs["lora"].folder, copy)
    (copy / "adapter" / "adapter_model.safetensors").write_bytes(b"other")
    [one] = explained([(Stored(runs["lora"].record, copy), runs["both"])])
    assert any("is not what the run saved" in note for note in one.notes)


@pytest.mark.slow
def test_another_torch_leaves_the_piece_out(runs: dict[str, Stored]) -> None:
    """Torch is never fetched: the reason is given instead."""
    run = runs["both"].record.run
    versions = {**run.versions, "torch": "1.0.0"}
    record = runs["both"].record.model_copy(update={"run": run.model_copy(update={"versions": versions})})
    [one] = explained([(runs["lora"], Stored(record, runs["both"].folder))])
    assert any("torch 1.0.0" in note for note in one.notes)


@pytest.mark.slow
def test_the_command_explains_two_runs_by_name(
    runs: dict[str, Stored], capsys: pytest.CaptureFixture[str]
) -> None:
    """`bench explain A B` with records only: nothing is decoded anew."""
    out = runs["lora"].folder.parent.parent
    ids = [runs["lora"].record.id, runs["unstemmed"].record.id]
    assert run_verb(["explain", *ids, "--records-only", "--out", str(out)]) == 0
    assert "Put down to" in (said := capsys.readouterr().out) or "No clear difference" in said
    assert "scoring" in said


def test_runs_pair_by_seed_and_nearest_contract(tmp_path: Path) -> None:
    """Where one side has several contracts, the one with fewest differences is held against."""
    from records import make_contract, make_record

    def of(**changes: Any) -> list[Stored]:
        return [make_record(tmp_path, seed=seed, contract=make_contract(**changes)) for seed in (0, 1)]

    a, near, far = of(), of(eval_limit=200), of(eval_limit=200, max_length=256)
    found = paired(a, [*far, *near])
    assert [(x.record.id, y.record.id) for x, y in found] == [
        (x.record.id, y.record.id) for x, y in zip(a, near, strict=True)
    ]
    assert paired(a[:1], near[1:]) == [(a[0], near[1])]
    assert paired([], near) == []


def test_a_scorer_is_found_by_its_identity() -> None:
    """The name in a record is enough to score as it was scored."""
    for stemmer in (True, False):
        one = Rouge(stemmer=stemmer)
        assert scorer(one.identity).identity == one.identity
    text, reference = "training runs", "he trained a run"
    assert scorer(PLAIN).score(reference, text)["rouge1"].f == 0
    assert scorer(Rouge(stemmer=True).identity).score(reference, text)["rouge1"].f > 0
    with pytest.raises(UnknownName, match="unknown scorer 'rouge/0"):
        scorer("rouge/0 stemmer=porter split=newline")
