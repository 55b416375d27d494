"""A budget of no steps: every model is scored as it is, and nothing that trains is touched."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from runs import course, job_for, mini_run
from test_cost import CONTRACT

from bench import registry
from bench.cli import run_verb
from bench.judge.board import Board, board
from bench.judge.doubts import Code
from bench.judge.doubts.table import doubts
from bench.judge.effort.ladder import with_ladders
from bench.render import facts
from bench.render.page import page
from bench.render.text import leaderboard
from bench.run import attempt, cost
from bench.run.job import PENDING
from bench.spec import Budget
from bench.store.ledger import Ledger, Stored
from bench.store.record import Record
from bench.verbs.options import parse_budget

SHORT = ["--eval-limit", "12", "--max-new-tokens", "8", "--force", "--seeds", "1"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model untouched and after one step."""
    folder = tmp_path_factory.mktemp("reports")
    asked = ["run", "--models", "gpt2", "--budget", "0x8,1x8", *SHORT, "--out", str(folder)]
    assert run_verb(asked) == 0
    return folder


@pytest.fixture(scope="module")
def stored(out: Path) -> dict[str, list[Stored]]:
    records, messages = Ledger(out).load()
    assert messages == []
    return {
        budget: [each for each in records if str(each.record.run.contract.budget) == budget]
        for budget in ("0x8", "1x8")
    }


@pytest.fixture(scope="module")
def shown(stored: dict[str, list[Stored]]) -> Board:
    return with_ladders(board([*stored["1x8"], *stored["0x8"]]))


@pytest.mark.parametrize(("text", "batch"), [("0", 8), ("0x8", 8), ("0x16", 16), ("examples=0", 8)])
def test_a_budget_may_have_no_steps(text: str, batch: int) -> None:
    assert parse_budget(text) == Budget(steps=0, effective_batch=batch)


def test_the_row_is_the_untuned_model_and_answers_once(stored: dict[str, list[Stored]]) -> None:
    (untouched,) = stored["0x8"]  # no seed moves it
    record = untouched.record
    assert all(line["tuned"] == line["base"] for line in untouched.completions)
    assert record.scores["tuned"] == record.scores["base"]
    assert {value.mean for value in record.gain.values()} == {0.0}
    assert not {"train", "generate tuned", "validation loss"} & set(record.spent.seconds)


def test_nothing_is_spent_or_saved(stored: dict[str, list[Stored]]) -> None:
    (untouched,) = stored["0x8"]
    spent = untouched.record.spent
    assert (spent.steps, spent.examples, spent.effective_batch, spent.flops) == (0, 0, 8, 0.0)
    assert spent.trainable_parameters == 0 < spent.parameters
    assert untouched.record.final_loss is None
    assert untouched.record.artifacts == {}
    assert untouched.curve == []
    assert not (untouched.folder / "adapter").exists()


def test_its_answers_are_those_that_the_other_rungs_start_from(stored: dict[str, list[Stored]]) -> None:
    (untouched,) = stored["0x8"]
    for tuned in stored["1x8"]:
        assert [line["base"] for line in tuned.completions] == [
            line["tuned"] for line in untouched.completions
        ]
        assert untouched.record.id in (tuned.record.base_from, tuned.record.id) or untouched.record.base_from


def test_no_gain_is_shown_and_no_model_is_said_to_have_failed(shown: Board) -> None:
    group = next(group for group in shown.groups if not group.contract.budget.steps)
    alone = Board((group,))
    text = leaderboard.terminal(alone, 80)
    assert "Not trained: every model as it is" in text
    assert "+0.000" not in text + leaderboard.markdown(alone)
    assert "not trained, and" in facts.headline(group)
    assert "improved" not in facts.headline(group)
    (row,) = group.rows
    assert re.search(r"^gpt2 twin +1\.38 M +none +0 ", text, re.MULTILINE)
    assert row.first.run.method == "none"
    assert "seed" not in text
    raised = {(doubt.code, doubt.names) for doubt in (*row.doubts, *doubts(row.stored))}
    assert Code.ONE_SEED not in {code for code, _ in raised}
    assert (Code.EQUALS_REFERENCE, ("base",)) not in raised


def test_it_is_the_first_rung_of_a_ladder(shown: Board) -> None:
    (ladder,) = shown.ladders
    assert [rung.budget.steps for rung in ladder.rungs] == [0, 1]
    assert ladder.models == ("gpt2",)
    html = page(shown)
    assert "0x8: not trained" in html
    assert "nan" not in html.lower().replace("finance", "")


def test_checking_showing_and_listing_know_it(
    out: Path, stored: dict[str, list[Stored]], capsys: pytest.CaptureFixture[str]
) -> None:
    (untouched,) = stored["0x8"]
    id = untouched.record.id
    assert run_verb(["show", id, "--out", str(out)]) == 0
    assert "the checkpoint as it is" in capsys.readouterr().out
    assert run_verb(["list", "runs", "--out", str(out)]) == 0
    assert "not trained" in capsys.readouterr().out
    assert run_verb(["explain", id, stored["1x8"][0].record.id, "--out", str(out)]) == 0
    assert run_verb(["export", id, "--to", str(out / "never"), "--out", str(out)]) == 2
    assert "was not trained, so it left no weights" in capsys.readouterr().err


def test_a_plan_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--models", "gpt2,bart-large-xsum", "--seeds", "0,1,2", "--out", str(tmp_path)]
    assert run_verb(["plan", "--budget", "0x8,15x8", *options, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    rows = [(run["budget"], run["seed"], run["method"]) for run in data["runs"] if run["model"] == "gpt2"]
    assert rows == [("0x8", 0, "none"), ("15x8", 0, "lora"), ("15x8", 1, "lora"), ("15x8", 2, "lora")]
    assert any("not trained runs once" in note for note in data["notes"])
    assert run_verb(["plan", "--budget", "0", *options]) == 0
    assert "Not trained: every model as it is" in capsys.readouterr().out


def test_what_is_not_trained_needs_no_memory_for_it() -> None:
    spec = registry.find_model("gpt2")
    what = cost.setting(spec, spec.recipe, "transformers", "cuda")
    assert what is not None
    none = CONTRACT.model_copy(update={"budget": Budget(steps=0, effective_batch=8)})
    card = cost.CARDS["T4"]
    untrained, trained = (cost.cost(what, each, card.memory, card) for each in (none, CONTRACT))
    assert untrained.training == untrained.training_seconds == 0
    assert untrained.answering == trained.answering
    assert untrained.seconds < trained.seconds


def test_recipes_cannot_be_tuned_without_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["tune", "--models", "gpt2", "--budget", "0", "--out", str(tmp_path)]) == 2
    assert "no recipe differs" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["gpt2", "llama-2-7b", "bart-large-xsum"])
def test_no_trainer_and_no_adapter_is_made(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoRA, 4 bit and full; the 4-bit model answers in 4 bit, as it would be tuned."""
    import peft

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was made ready for training")

    monkeypatch.setattr(attempt, "fit", refuse)
    for name in ("get_peft_model", "prepare_model_for_kbit_training"):
        monkeypatch.setattr(peft, name, refuse)
    run, folder = mini_run(model, steps=0, new_tokens=4)
    few = replace(course(), train=course().train[:8], eval=course().eval[:4], followed=())
    attempt.execute(job_for(run, folder, few, tmp_path), emit=lambda _: None)
    record = Record.model_validate_json((tmp_path / PENDING).read_bytes())
    assert record.backend.quantisation == ("nf4, double" if run.recipe.method == "qlora" else None)
    assert record.backend.adapter_type is None
