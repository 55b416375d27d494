"""One score has one interval, in every output; and what that interval allows for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from records import make_board, make_contract, make_record

from bench.cli import run_verb
from bench.judge.board import board
from bench.judge.compare import compare
from bench.judge.history import history
from bench.judge.intervals import Intervals
from bench.render import words
from bench.render.text import comparison as comparison_text
from bench.render.text import history as history_text
from bench.render.text import leaderboard
from bench.render.text.versions import matrix as matrix_text
from bench.score.rouge import Rouge
from bench.score.rows import score_run
from bench.spec import Example
from bench.stats import Interval, seed_effects
from bench.stats import compare as paired
from bench.store.ledger import Stored
from bench.store.sides import Side
from bench.verbs.matrix import compared, scores

TWINS = Path(__file__).parent.parent / "reports" / "twins"
MODELS = ("gpt2", "phi-1.5", "llama-2-7b", "mistral-7b-v0.3")


def upgraded(out: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> list[Stored]:
    """Four models under two releases of TRL, the newer ones later."""
    return [
        make_record(
            out,
            model,
            seed,
            versions={"trl": trl},
            shift=shift,
            changed=0.3,
            finished=f"2026-11-{day}T10:00:00Z",
        )
        for trl, shift, day in (("1.14.2", 0.0, 20), ("1.15.0", -0.01, 21))
        for model in MODELS
        for seed in seeds
    ]


def in_every_output(
    out: Path, stored: list[Stored], model: str, metric: str
) -> dict[str, tuple[Interval, str]]:
    """Output -> a model's newest score with its interval as data, and the text that shows it."""
    intervals = Intervals(stored)
    shown = board(stored)
    past = history(stored, model, metric)
    sides = [
        Side(f"trl=={trl}", tuple(one for one in stored if one.record.run.versions["trl"] == trl))
        for trl in ("1.14.2", "1.15.0")
    ]
    comparison = compare(*sides, [metric], intervals=intervals)
    columns = [matrix_text.Column(side.name, side, scores=scores(side, intervals)) for side in sides]
    columns = compared(columns, intervals)
    (row,) = [row for row in shown.groups[0].rows if row.model == model]
    (change,) = [row for row in comparison.rows if row.model == model]
    assert change.interval_b is not None
    contract = make_contract()
    cell = columns[1].scores[model] if metric == "rougeL" else row.tuned[metric]
    return {
        "board": (row.tuned[metric], leaderboard.terminal(shown)),
        "history": (past.lines[0].points[-1].value, history_text.terminal(past)),
        "matrix": (cell, matrix_text.terminal(columns, MODELS, contract, "mini", "0,1,2", 140)),
        "compare": (change.interval_b, comparison_text.terminal(comparison, width=140)),
    }


@pytest.mark.parametrize("seeds", [(0, 1, 2), (0,)])
@pytest.mark.parametrize("model", ["gpt2", "llama-2-7b"])
def test_one_score_has_one_interval_in_board_history_matrix_and_compare(
    tmp_path: Path, model: str, seeds: tuple[int, ...]
) -> None:
    """As data to the last digit, and as text."""
    told = in_every_output(tmp_path, upgraded(tmp_path, seeds), model, "rougeL")
    first, _ = told["board"]
    assert {name: value for name, (value, _) in told.items()} == dict.fromkeys(told, first)
    ends = re.compile(f"{words.score(first.low)}(, | to ){words.score(first.high)}")
    assert all(ends.search(text) for _, text in told.values())


def test_another_metric_has_one_interval_too(tmp_path: Path) -> None:
    told = in_every_output(tmp_path, upgraded(tmp_path), "phi-1.5", "rouge2")
    assert len({value for value, _ in told.values()}) == 1


def test_the_committed_twins_have_one_interval_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`report` and `history` of the same records, as JSON."""
    import shutil

    shutil.copytree(TWINS / "runs", tmp_path / "runs")
    assert run_verb(["report", "--out", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    row = next(row for row in rows["groups"][0]["rows"] if row["model"] == "gpt2")
    assert run_verb(["history", "gpt2", "--out", str(tmp_path), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)["lines"][0]["points"][-1]["value"]
    assert value == row["tuned"]["rougeL"]


def test_training_noise_of_the_other_models_is_in_the_interval(tmp_path: Path) -> None:
    """A row of one seed beside rows of several is wider than its record's own interval."""
    others = make_board(tmp_path, MODELS[1:])
    one = make_record(tmp_path, "gpt2")
    alone, among = Intervals([one]).of([one]), Intervals([one, *others]).of([one])
    assert alone == Interval(**one.record.scores["tuned"]["rougeL"].model_dump())
    assert among.high - among.low > 0.9 * (alone.high - alone.low)
    assert among != alone


def test_rows_of_several_seeds_depend_on_no_other_row(tmp_path: Path) -> None:
    """A neighbour that hardly ever trains twice alike makes no quiet model's score less certain."""
    quiet = [make_record(tmp_path, "gpt2", seed) for seed in range(3)]
    loud = [make_record(tmp_path, "phi-1.5", seed, shift=0.05 * seed) for seed in range(3)]
    for runs in (quiet, loud):
        assert Intervals([*quiet, *loud]).of(runs) == Intervals(runs).of(runs)
    one = make_record(tmp_path, "llama-2-7b")
    alone, among = Intervals([one]).of([one]), Intervals([*quiet, *loud, one]).of([one])
    assert among.high - among.low > 1.5 * (alone.high - alone.low)


def test_the_same_runs_twice_are_no_more_evidence(tmp_path: Path) -> None:
    """A version that changed nothing leaves the same scores again."""
    runs = [make_record(tmp_path, "gpt2", seed) for seed in range(3)]
    again = [make_record(tmp_path, "gpt2", seed, versions={"trl": "1.15.0"}) for seed in range(3)]
    assert Intervals([*runs, *again]).of(again) == Intervals(again).of(again)


def test_three_seeds_have_the_width_of_student_and_not_of_a_normal() -> None:
    """Two degrees of freedom: 4.3 standard errors, not 1.96, where seeds are all the doubt."""
    seeds = np.array([0.19, 0.20, 0.21])[:, None] * np.ones((1, 50))
    result = paired(np.zeros((3, 50)), seeds)
    assert result.interval.high - 0.20 >= 4.3 * 0.01 / 3**0.5
    assert result.p == pytest.approx(0.0008, abs=0.0004)


@pytest.mark.parametrize("shift", [-0.25, 0.62])
def test_no_interval_of_rouge_leaves_zero_to_one(tmp_path: Path, shift: float) -> None:
    """Of scores near zero and near one, in board, history and comparison."""
    stored = [
        make_record(tmp_path, model, seed, n=20, shift=shift - 0.03 * seed, versions={"trl": trl})
        for model in MODELS
        for trl in ("1.14.2", "1.15.0")
        for seed in (0, 1)
    ]
    intervals = Intervals(stored)
    values = [value for row in board(stored).groups[0].rows for value in row.tuned.values()]
    values += [point.value for point in history(stored, "gpt2").lines[0].points]
    values += scores(
        Side("all", tuple(one for one in stored if one.record.run.versions["trl"] == "1.15.0")), intervals
    ).values()
    assert all(0 <= value.low <= value.mean <= value.high <= 1 for value in values)
    assert any(value.low == 0 or value.high == 1 for value in values)


def test_models_that_score_alike_on_every_seed_have_no_noise_of_their_own() -> None:
    """Two rows of the same answers: what is left of their noise is nothing, not an error."""
    shared = 0.2 + np.array([0.0, 0.01, 0.03])[:, None] + 0.1 * np.random.default_rng(0).random((3, 40))
    effects = seed_effects([shared, shared], common=True)
    assert effects.own.variance < 1e-12
    assert effects.total.variance > 1e-5


def test_a_records_own_interval_counts_paraphrases_once() -> None:
    """Twenty questions in five wordings each are twenty questions, not a hundred."""
    examples = [
        Example(
            id=f"{n}-{way}", question=f"question {n} {way}", answers=(f"{'alpha ' * n}beta",), group=str(n)
        )
        for n in range(20)
        for way in range(5)
    ]
    alone = [Example(id=one.id, question=one.question, answers=one.answers) for one in examples]
    texts = [("alpha " * (n % 7)) + "beta" for n in range(20) for _ in range(5)]
    rouge = Rouge()
    answers = {"tuned": texts, "base": ["beta"] * 100}
    grouped, single = (score_run(rouge, its, its[:1], answers) for its in (examples, alone))
    for held, loose in ((grouped.means["tuned"], single.means["tuned"]), (grouped.gain, single.gain)):
        wide, narrow = held["rougeL"], loose["rougeL"]
        assert wide.mean == pytest.approx(narrow.mean)
        assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)
