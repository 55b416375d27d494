"""Tuning: equally many trials for each model, validation questions alone, and what a search was worth."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from records import make_contract, make_record

from bench import registry
from bench.cli import run_verb
from bench.data import prepare
from bench.errors import RequestError
from bench.judge.board import board
from bench.judge.doubts import Code
from bench.judge.doubts.table import table_doubts
from bench.render.text.leaderboard import terminal
from bench.run.recipes import tuning
from bench.stats import expected_best
from bench.store.ledger import Ledger, Stored
from bench.verbs import run

MODELS: tuning.Models = [
    (registry.find_model(name), "mini") for name in ("gpt2", "bart-large-xsum", "phi-1.5")
]


def drawn(trials: int = 6) -> tuning.Search:
    return tuning.draw(MODELS, trials, tuning.RATES, tuning.RANKS)


def tuned(scores: dict[str, list[float | None]], scale: Any = "mini") -> tuning.Tuning:
    """A search with these scores."""
    plan = tuning.draw(
        [(registry.find_model(name), scale) for name in scores],
        len(next(iter(scores.values()))),
        tuning.RATES,
        (8,),
    )
    models = {}
    for name, recipes in plan.recipes.items():
        runs = {
            tuning.digest_of(recipe): [(f"{name}-{place}", score)]
            for place, (recipe, score) in enumerate(zip(recipes, scores[name], strict=True))
        }
        models[name] = tuning.judged(scale, recipes, runs)
    return tuning.Tuning(contract=make_contract(), rates=tuning.RATES, ranks=(8,), models=models)


def test_every_model_has_equally_many_trials() -> None:
    assert {name: len(recipes) for name, recipes in drawn().recipes.items()} == {
        "gpt2": 6,
        "bart-large-xsum": 6,
        "phi-1.5": 6,
    }
    assert len(drawn().models) == 18


def test_trials_lie_on_the_grid_and_none_is_drawn_twice() -> None:
    for spec, scale in MODELS:
        points = tuning.grid(spec.recipe_at(scale), tuning.RATES, tuning.RANKS)
        recipes = drawn().recipes[spec.name]
        assert len({tuning.digest_of(recipe) for recipe in recipes}) == 6
        assert all(recipe in points for recipe in recipes)


def test_a_trial_changes_learning_rate_rank_and_alpha_alone() -> None:
    own = registry.find_model("gpt2").recipe_at("mini")
    for spec, scale in [pair for pair in drawn().models if pair[0].name == "gpt2"]:
        recipe = spec.recipe_at(scale)
        same = {
            key: value for key, value in dict(recipe).items() if key not in ("learning_rate", "rank", "alpha")
        }
        assert same == {key: dict(own)[key] for key in same}
        assert recipe.alpha / recipe.rank == own.alpha / own.rank


def test_a_model_without_an_adapter_has_one_rank() -> None:
    spec = registry.find_model("bart-large-xsum")
    points = tuning.grid(spec.recipe_at("mini"), tuning.RATES, tuning.RANKS)
    assert len(points) == len(tuning.RATES)


def test_more_trials_are_the_same_ones_and_further_ones() -> None:
    few, many = drawn(3).recipes, drawn(7).recipes
    assert all(many[name][:3] == recipes for name, recipes in few.items())


def test_more_trials_than_the_grid_has_are_refused() -> None:
    with pytest.raises(RequestError, match="the grid of 'bart-large-xsum' has 7 recipes"):
        drawn(8)


def test_the_expected_best_is_the_mean_over_all_subsets() -> None:
    scores = [0.31, 0.02, 0.17, 0.17, 0.29]
    for n, value in enumerate(expected_best(scores), 1):
        assert value == pytest.approx(fmean(max(subset) for subset in combinations(scores, n)))


def test_the_best_of_no_trial_has_no_score() -> None:
    with pytest.raises(ValueError, match="no trial"):
        expected_best([])


def test_the_recipe_with_the_best_score_is_chosen() -> None:
    result = tuned({"gpt2": [0.1, 0.3, 0.2]}).models["gpt2"]
    assert result.best == result.trials[1]
    assert result.expected_best[-1] == 0.3


def test_a_trial_that_failed_was_a_trial_and_is_never_chosen() -> None:
    result = tuned({"gpt2": [None, 0.01]}).models["gpt2"]
    assert [trial.failed for trial in result.trials] == [1, 0]
    assert result.best == result.trials[1]
    assert result.expected_best == (pytest.approx(0.005), 0.01)


def test_a_trial_that_failed_gives_way_to_one_that_scored_nothing() -> None:
    result = tuned({"gpt2": [None, 0.0], "phi-1.5": [None, None]}).models
    assert result["gpt2"].best == result["gpt2"].trials[1]
    assert [model.all_failed for model in result.values()] == [False, True]


def test_a_file_of_recipes_comes_back_as_it_was_written(tmp_path: Path) -> None:
    result = tuned({"gpt2": [0.1, 0.3], "phi-1.5": [0.2, 0.1]})
    tuning.write(result, tmp_path / "recipes.json")
    assert tuning.read(tmp_path / "recipes.json") == result


@pytest.mark.parametrize("scale", ["mini", "full"])
def test_the_chosen_recipe_is_run_and_says_how_many_trials_chose_it(scale: Any) -> None:
    result = tuned({"gpt2": [0.1, 0.3, 0.2]}, scale)
    ((spec, at),), effort = tuning.applied([(registry.find_model("gpt2"), scale)], result, "recipes.json")
    assert spec.recipe_at(at) == result.models["gpt2"].best.recipe
    assert effort == {"gpt2": 3}


def test_a_model_that_was_not_tuned_is_refused_with_the_remedy() -> None:
    with pytest.raises(RequestError, match=r"tune it by: bench tune --models phi-1\.5"):
        tuning.applied([(registry.find_model("phi-1.5"), "mini")], tuned({"gpt2": [0.1]}), "recipes.json")


def row(out: Path, model: str, trials: int | None, **more: Any) -> Stored:
    """A record whose recipe was chosen in so many trials."""
    stored = make_record(out, model, **more)
    planned = stored.record.run.model_copy(update={"tuned_in": trials})
    record = stored.record.model_copy(update={"id": planned.id, "run": planned})
    return Stored(record, stored.folder)


def test_rows_say_how_many_trials_chose_their_recipe(tmp_path: Path) -> None:
    shown = board([row(tmp_path, name, 6) for name in ("gpt2", "phi-1.5")])
    assert "recipe tuned in 6 trials on validation questions" in " ".join(terminal(shown).split())
    assert "unequal effort" not in terminal(shown)


def test_unequal_effort_is_badged(tmp_path: Path) -> None:
    rows = {"gpt2": [row(tmp_path, "gpt2", 6)], "phi-1.5": [row(tmp_path, "phi-1.5", None)]}
    (doubt,) = [each for each in table_doubts(rows) if each.code == Code.UNEQUAL_EFFORT]
    assert doubt.parts == (("gpt2 twin", 6), ("phi-1.5 twin", 0))
    text = terminal(board([stored for runs in rows.values() for stored in runs]))
    assert "(phi-1.5 twin in none, gpt2 twin in 6)" in " ".join(text.split())


def test_rows_of_different_machines_are_badged(tmp_path: Path) -> None:
    same = {"gpt2": [make_record(tmp_path / "a")], "phi-1.5": [make_record(tmp_path / "a", "phi-1.5")]}
    assert Code.MIXED_HARDWARE not in {each.code for each in table_doubts(same)}
    other = make_record(tmp_path / "b", "phi-1.5", hardware="64 aarch64 cores, 256 GB")
    (doubt,) = [
        each for each in table_doubts({**same, "phi-1.5": [other]}) if each.code == Code.MIXED_HARDWARE
    ]
    assert doubt.names == ("2 x86_64 cores, 8 GB", "64 aarch64 cores, 256 GB")


def test_an_untuned_run_keeps_the_id_of_before(tmp_path: Path) -> None:
    planned = make_record(tmp_path).record.run
    assert planned.model_copy(update={"tuned_in": None}).id == planned.id
    assert planned.model_copy(update={"tuned_in": 6}).id != planned.id


class Closed(tuple[Any, ...]):
    """Test questions that nobody may look at."""

    def __iter__(self) -> Any:
        raise AssertionError("the test split was opened")

    __len__ = __getitem__ = __contains__ = __iter__


def test_the_test_split_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not for selecting, and no test question is in any file that a search leaves to its runs."""
    whole = prepare.prepare(registry.find_dataset("course-qa"))
    tested = {example.id for example in whole.test}
    monkeypatch.setattr(prepare, "prepare", lambda spec: replace(whole, test=Closed()))
    handed: list[dict[str, Any]] = []

    def looked_at(work: list[Any], *rest: Any) -> list[Any]:
        handed.extend(json.loads(selection.read_text()) for _, _, selection in work)
        return []

    monkeypatch.setattr(run, "drive", looked_at)
    words = ["tune", "--models", "gpt2", "--trials", "2", "--budget", "2x8", "--scale", "mini"]
    # Nothing ran, so nothing can be chosen.
    assert run_verb([*words, "--backend", "transformers", "--out", str(tmp_path)]) == 2
    seen = {item["id"] for each in handed for part in ("train", "eval", "followed") for item in each[part]}
    assert len(handed) == 2
    assert {item["id"] for item in handed[0]["eval"]} == {example.id for example in whole.validation}
    assert not seen & tested


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--eval", "dolly"], "leave out --eval"),
        (["--trials", "0"], "at least 1"),
        (["--rates", "1,x"], "different numbers above 0"),
        (["--ranks", "8,8"], "different numbers above 0"),
        (["--trials", "40"], "the grid of 'gpt2' has 28 recipes"),
    ],
)
def test_a_wrong_search_is_one_line(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["tune", "--models", "gpt2", "--out", str(tmp_path), *words]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_and_the_run_of_what_it_chose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--models", "gpt2", "--budget", "2x8", "--max-new-tokens", "4", "--scale", "mini", "--json"]
    common += ["--out", str(tmp_path), "--backend", "transformers"]
    assert run_verb(["tune", *common, "--trials", "2"]) == 0
    result = json.loads(capsys.readouterr().out)
    trials = result["models"]["gpt2"]["trials"]
    records = {stored.record.id: stored.record for stored in Ledger(tmp_path / "tuning").load()[0]}
    assert {record.run.contract.eval_split for record in records.values()} == {"validation"}
    for trial in trials:
        assert trial["score"] == records[trial["runs"][0]].scores["tuned"]["rougeL"].mean
    assert run_verb(["run", *common, "--eval-limit", "20", "--recipes", result["written"]]) == 0
    (stored,) = Ledger(tmp_path).load()[0]
    best = max(trials, key=lambda trial: trial["score"])
    assert stored.record.run.recipe.learning_rate == best["recipe"]["learning_rate"]
    assert stored.record.run.tuned_in == 2
