"""`bench matrix`: axes, the table, and its cells; the runs themselves are those of `bench run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from records import make_contract, make_failure, make_record

from bench.cli import run_verb
from bench.errors import EnvironmentUnsolvable, RequestError
from bench.judge.intervals import Intervals
from bench.render.text.versions.matrix import Column, markdown, terminal
from bench.run.identity import Run
from bench.store.ledger import Ledger
from bench.store.sides import Side
from bench.verbs import matrix, request
from bench.verbs.matrix import combinations, compared, scores
from bench.versions import environment
from bench.versions.environment import Environment

SEEDS = (0, 1, 2)
MODELS = ("gpt2", "phi-1.5", "llama-2-7b")


def column(out: Path, trl: str, models: Sequence[str] = MODELS, shift: float = 0.0) -> Column:
    """Records of every model and seed under a release of TRL."""
    records = [
        make_record(out, model, seed, versions={"trl": trl}, shift=shift, n=120)
        for model in models
        for seed in SEEDS
    ]
    side = Side(f"trl=={trl}", tuple(records))
    return Column(f"trl=={trl}", side, scores=scores(side, Intervals(records)))


def table(columns: Sequence[Column]) -> dict[str, list[str]]:
    """First cell of a row -> the other cells."""
    text = markdown(compared(columns), MODELS, make_contract(), "mini", "0,1,2")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].removesuffix(" twin"): row[1:] for row in rows}


def test_axes_are_combined_with_the_last_fastest() -> None:
    """In the order given, each version once."""
    assert combinations(["trl==1.12.0, 1.13.0", "transformers==5.16.0,5.17.0,5.16.0"]) == [
        ("trl==1.12.0", "transformers==5.16.0"),
        ("trl==1.12.0", "transformers==5.17.0"),
        ("trl==1.13.0", "transformers==5.16.0"),
        ("trl==1.13.0", "transformers==5.17.0"),
    ]


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ([], "needs an axis"),
        (["trl"], "expected NAME==VERSION,VERSION"),
        (["trl==,"], "expected NAME==VERSION,VERSION"),
        (["trl==1.12.0", "trl==1.13.0"], "one package twice"),
    ],
)
def test_a_bad_axis_is_refused(axes: list[str], said: str) -> None:
    """With what to write."""
    with pytest.raises(RequestError, match=said):
        combinations(axes)


def test_cells_hold_score_interval_and_change_with_its_verdict(tmp_path: Path) -> None:
    """The reference column has no change; equal scores are called so; a real drop is a regression."""
    first, same = column(tmp_path, "1.12.0"), column(tmp_path, "1.13.0")
    found = table([first, same, column(tmp_path, "1.14.2", shift=-0.05)])
    cells = found["gpt2"]
    assert "<br>" not in cells[0]
    assert cells[1].endswith("<br>the same score for every example")
    assert cells[1].startswith(cells[0])
    assert "\N{MINUS SIGN}0.0" in cells[2]
    assert cells[2].endswith("regressed")


def test_all_models_together_are_a_row_of_their_own(tmp_path: Path) -> None:
    """A drift of the stack is seen on all models together."""
    found = table([column(tmp_path, "1.12.0"), column(tmp_path, "1.14.2", shift=-0.05)])
    assert found["**all together**"][1].endswith(" drift")
    found = table([column(tmp_path, "1.12.0"), column(tmp_path, "1.13.0")])
    assert found["**all together**"][1].endswith("no drift")


def test_failing_cells_give_their_reason_once(tmp_path: Path) -> None:
    """A run that died and an environment that cannot be built are cells like any other."""
    first = column(tmp_path, "1.12.0")
    dead = [make_failure(tmp_path / "dead", model, seed, "no kernel") for model in MODELS for seed in SEEDS]
    second = Column("trl==1.15.0", Side("trl==1.15.0", (), tuple(dead)))
    third = Column("trl==99.0", Side("trl==99.0", ()), "there is no version of trl==99.0")
    text = markdown(compared([first, second, third]), MODELS, make_contract(), "mini", "0,1,2")
    assert text.count("fails [1]") == len(MODELS)
    assert text.count("cannot be built [2]") == len(MODELS)
    assert text.count("[1] train: no kernel") == 1
    assert text.count("[2] there is no version of trl==99.0") == 1


def five_columns(out: Path) -> list[Column]:
    """The reference, the same again, a drop, runs that die and versions that do not exist."""
    dead = [make_failure(out / "dead", model, seed, "no kernel") for model in MODELS for seed in SEEDS]
    return compared(
        [
            column(out, "1.12.0"),
            column(out, "1.13.0"),
            column(out, "1.14.2", shift=-0.05),
            Column("trl==1.15.0", Side("trl==1.15.0", (), tuple(dead))),
            Column("trl==99.0", Side("trl==99.0", ()), "there is no version of trl==99.0"),
        ]
    )


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_verdict_comes_first_then_a_table_without_markup(tmp_path: Path, width: int) -> None:
    """The worst set of versions first; no line is longer than the terminal, no markdown in it."""
    columns = five_columns(tmp_path)
    text = terminal(columns, MODELS, make_contract(), "mini", "0,1,2", width)
    opening = " ".join(text.split("\n\n")[0].split())
    assert opening.startswith(
        "Against trl==1.12.0: trl==99.0 cannot be built (there is no version of trl==99.0); "
        "trl==1.15.0 fails (train: no kernel); trl==1.14.2 regressed ("
    )
    assert opening.endswith("; trl==1.13.0 safe (all 1,080 scores are identical).")
    assert max(map(len, text.splitlines())) <= width
    assert not any(mark in text for mark in ("|", "**", "<br>"))
    assert text.count("gpt2 twin") >= 3
    markdown_text = markdown(columns, MODELS, make_contract(), "mini", "0,1,2")
    assert markdown_text.index("**Against trl==1.12.0: ") < markdown_text.index("| model |")
    assert markdown_text.index("| model |") < markdown_text.index("> Trained on")


def test_one_seed_that_died_stands_beside_the_others(tmp_path: Path) -> None:
    """Its number is named; the others are still compared."""
    first, second = column(tmp_path, "1.12.0"), column(tmp_path, "1.13.0", shift=-0.05)
    kept = tuple(one for one in second.side.records if one.record.run.seed != 2)
    dead = make_failure(tmp_path / "dead", "gpt2", 2, "no kernel")
    found = table([first, replace(second, side=Side("b", kept, (dead,)))])
    assert "seed 2 fails [1]" in found["gpt2"][1]
    assert "regressed" in found["gpt2"][1]


def test_the_command_runs_each_column_in_its_environment_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is finished is not run again; a column without an environment costs only itself."""
    carried: list[str] = []

    def solve(asked: Sequence[str]) -> Environment:
        if "trl==99.0" in asked:
            raise EnvironmentUnsolvable("there is no version of trl==99.0")
        return Environment(tuple(asked), {"trl": asked[0].partition("==")[2]})

    def carry_out(_: object, asked: request.Request, ledger: Ledger, packages: Environment) -> list[Run]:
        for one in asked.runs:
            if not ledger.finished(one.id):
                carried.append(packages.name)
                made = make_record(tmp_path, one.name, one.seed, versions=one.versions, contract=one.contract)
                record = made.record.model_copy(update={"id": one.id, "run": one})
                ledger.publish(record, made.folder)
        return []

    monkeypatch.setattr(environment, "solve", solve)
    monkeypatch.setattr(matrix.run, "carry_out", carry_out)
    command = ["matrix", "--with", "trl==1.12.0,1.13.0,99.0", "--models", "gpt2", "--scale", "mini"]
    command += ["--out", str(tmp_path)]
    assert run_verb(command) == 1
    assert carried == ["trl==1.12.0", "trl==1.13.0"]
    assert "cannot be built" in capsys.readouterr().out
    assert run_verb(command) == 1
    assert carried == ["trl==1.12.0", "trl==1.13.0"]
    out = capsys.readouterr().out
    assert out.startswith("Against trl==1.12.0: ")
    assert "|" not in out
    assert (tmp_path / "matrix.md").read_text().splitlines()[2].startswith("**Against trl==1.12.0: ")


def test_every_column_is_planned_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spec that is edited while the first column runs changes no column."""
    order: list[str] = []
    resolve = request.resolve
    monkeypatch.setattr(environment, "solve", lambda asked: Environment(tuple(asked)))
    monkeypatch.setattr(
        matrix.request, "resolve", lambda args, versions: order.append("plan") or resolve(args, versions)
    )
    monkeypatch.setattr(matrix.run, "carry_out", lambda *_: order.append("run"))
    command = ["matrix", "--with", "trl==1.12.0,1.13.0", "--models", "gpt2", "--scale", "mini"]
    run_verb([*command, "--out", str(tmp_path)])
    assert order == ["plan", "plan", "run", "run"]
