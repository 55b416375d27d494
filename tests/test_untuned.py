"""An untuned model answers once: further seeds take its answers, and only where nothing differs."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import make_record
from runs import course, mini_run

from bench import provenance
from bench.digest import digest
from bench.harness import harness
from bench.launch.drive import Settings, drive
from bench.run.answers.generate import Completion
from bench.run.answers.untuned import answers, basis, read
from bench.run.identity import Run
from bench.run.job import Job, write_selection
from bench.store.ledger import Ledger, Stored
from bench.store.record import seal, unseal
from bench.verbs.run import by_seed

WRITTEN = [Completion("a cache", 3, False, 64), Completion("", 24, True, 64)]
PROMPTS = [[1, 2, 3], [4, 5]]


class Answered:
    """A watcher that counts how often each run's models answered."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def began(self, run: Run) -> None:
        """Nothing is counted here."""

    def heard(self, run: Run, event: dict[str, Any]) -> None:
        if event["event"] == "answered" and event["done"] == event["total"]:
            self.times[run.id] += 1

    def ended(self, run: Run, record: Any, failure: Any) -> None:
        assert failure is None, failure


def run_of(model: str = "gpt2", seed: int = 0, **options: Any) -> tuple[Run, Path]:
    run, folder = mini_run(model, steps=2, new_tokens=6, seed=seed, **options)
    return run.model_copy(update={"harness": harness()}), folder


def carried_out(
    out: Path, seeds: tuple[int, ...], model: str = "gpt2", fresh_base: bool = False
) -> tuple[list[Stored], list[int]]:
    """The records of a twin's seeds, and how often each run's models answered: untuned, tuned or both."""
    few = replace(course(), train=course().train[:40], eval=course().eval[:20], followed=())
    write_selection(out / "selection.json", few)
    settings = Settings(1, 1, "bench run", provenance.Tree(None, False), fresh_base=fresh_base)
    wanted = [run_of(model, seed) for seed in seeds]
    work = [(run, folder, out / "selection.json") for run, folder in wanted]
    seen, ledger = Answered(), Ledger(out)
    assert drive(work, ledger, settings, seen) == []
    ids = [run.id for run, _ in wanted]
    return ledger.load(ids)[0], [seen.times[id] for id in ids]


@pytest.mark.parametrize("model", ["gpt2", pytest.param("bart-large-xsum", marks=pytest.mark.slow)])
def test_a_second_seed_takes_the_untuned_answers_of_the_first(tmp_path: Path, model: str) -> None:
    """With an adapter and fully tuned; the record is the one that a run of its own would have left."""
    (first, second), times = carried_out(tmp_path / "shared", (0, 1), model)
    assert times == [2, 1]
    assert (first.record.base_from, second.record.base_from) == (None, first.record.id)
    (alone,), _ = carried_out(tmp_path / "alone", (1,), model)
    assert second.completions == alone.completions
    assert second.scores == alone.scores
    assert second.curve == alone.curve
    assert second.record.written == alone.record.written


@pytest.mark.slow
def test_fresh_base_lets_the_untuned_model_answer_again(tmp_path: Path) -> None:
    carried_out(tmp_path, (0,))
    (second,), times = carried_out(tmp_path, (1,), fresh_base=True)
    assert times == [2]
    assert second.record.base_from is None


def job_of(run: Run, **changes: Any) -> Job:
    job = Job(
        run=run,
        checkpoint_folder=None,
        selection="",
        workspace="",
        threads=1,
        command="",
        commit=None,
        dirty=False,
    )
    return job.model_copy(update=changes)


def name_of(job: Job, prompts: list[list[int]] = PROMPTS, **surroundings: str) -> str:
    return digest(basis(job, prompts, {"hardware": "a machine", **surroundings}))


@pytest.fixture(scope="module")
def run() -> Run:
    return run_of()[0]


def changed(run: Run, part: str, **changes: Any) -> Run:
    return run.model_copy(update={part: getattr(run, part).model_copy(update=changes)})


def test_seed_budget_learning_rate_and_rank_do_not_matter(run: Run) -> None:
    other = changed(run, "recipe", learning_rate=0.5, rank=2, micro_batch=8)
    other = changed(other, "contract", budget=run.contract.budget.model_copy(update={"steps": 900}))
    assert name_of(job_of(other.model_copy(update={"seed": 7}))) == name_of(job_of(run))


CHANGES: dict[str, Callable[[Run], Job]] = {
    "checkpoint": lambda run: job_of(changed(run, "checkpoint", revision="0" * 64)),
    "repository": lambda run: job_of(changed(run, "checkpoint", kind="hub", source="other/model")),
    "decoding": lambda run: job_of(
        changed(run, "contract", decoding=run.contract.decoding.model_copy(update={"max_new_tokens": 7}))
    ),
    "maximum length": lambda run: job_of(changed(run, "contract", max_length=64)),
    "method": lambda run: job_of(changed(run, "recipe", method="qlora")),
    "precision": lambda run: job_of(changed(run, "recipe", precision="bf16")),
    "code": lambda run: job_of(run.model_copy(update={"harness": "f" * 64})),
    "versions": lambda run: job_of(run.model_copy(update={"versions": {**run.versions, "torch": "2.0"}})),
    "device": lambda run: job_of(run.model_copy(update={"device": "mps"})),
    "backend": lambda run: job_of(run.model_copy(update={"backend": "unsloth"})),
    "threads": lambda run: job_of(run, threads=2),
    "trial": lambda run: job_of(run, trial=("datasets==4.8.4",)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_can_change_an_answer_has_answers_of_its_own(run: Run, change: str) -> None:
    assert name_of(CHANGES[change](run)) != name_of(job_of(run))


def test_other_prompts_and_other_machines_have_answers_of_their_own(run: Run) -> None:
    names = [
        name_of(job_of(run)),
        name_of(job_of(run), prompts=PROMPTS[::-1]),
        name_of(job_of(run), hardware="another machine"),
    ]
    assert len(set(names)) == 3


def other_seed(run: Run) -> Run:
    return run.model_copy(update={"seed": run.seed + 1})


class Model:
    """Gives `WRITTEN` and counts how often it is asked."""

    def __init__(self, written: list[Completion] = WRITTEN, seconds: float = 0.0) -> None:
        self.written, self.seconds, self.asked = written, seconds, 0

    def __call__(self) -> list[Completion]:
        self.asked += 1
        time.sleep(self.seconds)
        return self.written


def edited(file: Path, **changes: Any) -> None:
    """An entry with other fields, and a digest that fits them."""
    body = {**json.loads(file.read_text()), **changes}
    body.pop("digest")
    file.write_text(json.dumps({**body, "digest": digest(body)}))


def of_another(file: Path) -> None:
    facts = json.loads(file.read_text())["facts"]
    edited(file, facts={**facts, "threads": 99})


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "an edited answer": lambda file: file.write_text(file.read_text().replace("a cache", "a bank")),
    "of another checkpoint": of_another,
    "an answer too few": lambda file: edited(
        file, completions=json.loads(file.read_text())["completions"][1:]
    ),
    "a text that is none": lambda file: edited(
        file, completions=[{"text": 5, "tokens": 1, "truncated": False, "batch": 64}] * 2
    ),
    "no entry at all": lambda file: file.write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_entry_that_is_damaged_or_foreign_is_not_used_but_replaced(
    run: Run, tmp_path: Path, damage: str
) -> None:
    facts, model = basis(job_of(run), PROMPTS, {}), Model()
    assert answers(tmp_path, facts, run, model) == (WRITTEN, None)
    [file] = tmp_path.glob("*.json")
    DAMAGES[damage](file)
    assert read(file, facts) is None
    assert answers(tmp_path, facts, run, model) == (WRITTEN, None)
    assert answers(tmp_path, facts, other_seed(run), model) == (WRITTEN, run.id)
    assert model.asked == 2


def test_a_run_that_was_killed_after_answering_takes_its_own_answers(run: Run, tmp_path: Path) -> None:
    """And its record is that of a run that was not killed."""
    facts, model = basis(job_of(run), PROMPTS, {}), Model()
    assert answers(tmp_path, facts, run, model) == answers(tmp_path, facts, run, model) == (WRITTEN, None)
    assert model.asked == 1


def test_runs_that_need_the_same_answers_at_once_wait_for_the_first(run: Run, tmp_path: Path) -> None:
    facts, model = basis(job_of(run), PROMPTS, {}), Model(seconds=0.3)
    both = [threading.Thread(target=answers, args=(tmp_path, facts, run, model)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert model.asked == 1


def test_answers_in_batches_that_memory_forced_are_not_kept(run: Run, tmp_path: Path) -> None:
    facts, model = basis(job_of(run), PROMPTS, {}), Model([replace(row, batch=32) for row in WRITTEN])
    for _ in range(2):
        answers(tmp_path, facts, run, model)
    assert model.asked == 2


def test_where_nothing_can_be_kept_each_run_answers_for_itself(run: Run, tmp_path: Path) -> None:
    """A file stands where the folder would be; and a run that names no code shares with nobody."""
    facts, model = basis(job_of(run), PROMPTS, {}), Model()
    (tmp_path / "taken").touch()
    nameless = run.model_copy(update={"harness": None})
    for folder, who in ((tmp_path / "taken", run), (None, run), (tmp_path / "new", nameless)):
        assert answers(folder, facts, who, model) == (WRITTEN, None)
        assert answers(folder, facts, who, model) == (WRITTEN, None)
    assert model.asked == 6


def test_an_error_while_answering_is_the_runs_own(run: Run, tmp_path: Path) -> None:
    def broken() -> list[Completion]:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        answers(tmp_path, basis(job_of(run), PROMPTS, {}), run, broken)


def test_all_models_run_with_the_first_seed_before_the_next(run: Run) -> None:
    runs = [
        changed(run, "model", name=name).model_copy(update={"seed": seed})
        for name in ("gpt2", "phi-1.5")
        for seed in (3, 1)
    ]
    assert [(item.name, item.seed) for item in by_seed(runs)] == [
        ("gpt2", 3), ("phi-1.5", 3), ("gpt2", 1), ("phi-1.5", 1)
    ]  # fmt: skip


def test_a_record_of_before_answers_were_shared_keeps_its_digest(tmp_path: Path) -> None:
    body = seal(make_record(tmp_path, n=20).record)
    older = {key: value for key, value in body.items() if key not in ("base_from", "digest")}
    record = unseal({**older, "digest": digest(older)}, "an older record")
    assert record.base_from is None
