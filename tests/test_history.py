"""One model's values over time, and what changed where they changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from records import make_contract, make_record

from bench import cli
from bench.errors import UnknownName
from bench.judge.history import History, history
from bench.render.text import history as history_text
from bench.store.ledger import Ledger, Stored

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ("1.10.0", "1.11.0", "1.12.0", "1.13.0", "1.14.0", "1.14.2", "1.15.0", "1.15.1")
BREAK = 5


def course(out: Path, versions: tuple[str, ...] = VERSIONS, drop: float = 0.03) -> list[Stored]:
    """Two seeds under each version, a day apart; values drop from the sixth on."""
    return [
        make_record(
            out,
            "gpt2",
            seed,
            versions={"trl": version},
            changed=0.3,
            shift=-drop if place >= BREAK else 0.0,
            finished=f"2026-11-{10 + place}T10:0{seed}:00Z",
        )
        for place, version in enumerate(versions)
        for seed in (0, 1)
    ]


def test_a_planted_step_is_found_with_the_version_that_brought_it(tmp_path: Path) -> None:
    """Once, in its place, of its size, with what changed there."""
    (line,) = history(course(tmp_path), "gpt2").lines
    (step,) = line.steps
    assert step.at == BREAK
    assert step.changed == {"trl": ("1.14.0", "1.14.2")}
    assert step.shift.high < -0.015
    assert step.shift.low > -0.045


def test_a_steady_slope_is_told_over_its_versions_and_not_as_steps(tmp_path: Path) -> None:
    """Amount a point with interval, what changed from the first of its points to the last, and no step."""
    records = [
        make_record(
            tmp_path,
            "gpt2",
            seed,
            versions={"trl": version},
            changed=0.3,
            shift=-0.008 * place,
            finished=f"2026-11-{10 + place}T10:0{seed}:00Z",
        )
        for place, version in enumerate(VERSIONS)
        for seed in (0, 1)
    ]
    data = history(records, "gpt2")
    (line,) = data.lines
    assert line.steps == ()
    assert line.slope is not None
    assert (line.slope.begin, line.slope.end) == (0, len(VERSIONS) - 1)
    assert line.slope.each.low <= -0.008 <= line.slope.each.high < 0
    assert line.slope.changed == {"trl": (VERSIONS[0], VERSIONS[-1])}
    text = history_text.terminal(data)
    assert text.startswith("gpt2 twin, rougeL: falls steadily, by 0.05")
    assert "over 8 points (trl 1.10.0 → 1.15.1)" in text
    assert "a steady fall, \N{MINUS SIGN}0.00" in text
    assert text.splitlines()[0] in history_text.markdown(data).replace("**", "").splitlines()[4]


def test_points_are_in_order_of_time_whatever_the_order_of_records(tmp_path: Path) -> None:
    """Seeds of one set of versions are one point; each says what changed since the last."""
    records = course(tmp_path)
    (line,) = history(records[::-1], "gpt2").lines
    assert [point.versions["trl"] for point in line.points] == list(VERSIONS)
    assert {point.seeds for point in line.points} == {(0, 1)}
    assert line.points[0].changed == {}
    assert line.points[3].changed == {"trl": ("1.12.0", "1.13.0")}
    values = [
        np.mean([one.scores["rows"]["tuned"]["rougeL"]["f"] for one in records[at : at + 2]]) for at in (0, 2)
    ]
    assert [point.value.mean for point in line.points[:2]] == pytest.approx(values)


def test_a_version_that_comes_back_is_its_old_point(tmp_path: Path) -> None:
    """The same circumstances are one point, also where a seed was added later."""
    records = course(tmp_path, VERSIONS[:3])
    records.append(
        make_record(tmp_path, "gpt2", 2, versions={"trl": "1.10.0"}, finished="2026-12-01T00:00:00Z")
    )
    (line,) = history(records, "gpt2").lines
    assert [point.seeds for point in line.points] == [(0, 1, 2), (0, 1), (0, 1)]


def test_fewer_than_six_points_tell_no_change(tmp_path: Path) -> None:
    """And the line says so, however large the step looks."""
    (line,) = history(course(tmp_path, VERSIONS[1:6], drop=0.2), "gpt2").lines
    assert line.steps == ()
    assert line.note == "5 points: a change point needs 6 or more"


def test_other_contracts_and_scales_are_lines_of_their_own(tmp_path: Path) -> None:
    """Their values are never joined."""
    records = [
        *course(tmp_path, VERSIONS[:2]),
        make_record(tmp_path, "gpt2", contract=make_contract(steps=30)),
        make_record(tmp_path, "gpt2", scale="full"),
        make_record(tmp_path, "phi-1.5"),
    ]
    lines = history(records, "gpt2").lines
    assert [(line.scale, len(line.points)) for line in lines] == [("mini", 2), ("full", 1), ("mini", 1)]


def test_an_edited_record_is_left_out_with_a_message(tmp_path: Path) -> None:
    """The point stands on the other seed."""
    records = course(tmp_path, VERSIONS[:2])
    (records[0].folder / "scores.json").write_text("{}", encoding="utf-8")
    data = history(records, "gpt2")
    assert data.lines[0].points[0].seeds == (1,)
    assert "edited or cut short" in data.messages[0]


def test_a_model_without_records_is_unknown(tmp_path: Path) -> None:
    """With the nearest that has some."""
    with pytest.raises(UnknownName, match="did you mean 'gpt2'"):
        history(course(tmp_path, VERSIONS[:1]), "gpt-2")


@pytest.mark.parametrize(
    ("values", "bars"), [([0.1, 0.2, 0.3], "▁▅█"), ([0.3, 0.1], "█▁"), ([0.2, 0.2], "▄▄"), ([0.5], "▄")]
)
def test_a_sparkline_spans_the_lowest_to_the_highest(values: list[float], bars: str) -> None:
    """A flat line is drawn in the middle."""
    assert history_text.sparkline(values) == bars


def golden_history(out: Path) -> History:
    """A line with a step and one too short for any."""
    other = make_record(out, "gpt2", contract=make_contract(steps=30))
    return history([*course(out), other], "gpt2", messages=["reports/runs/x/record.json: edited"])


@pytest.mark.parametrize(
    ("versions", "drop", "said"),
    [
        (VERSIONS[:1], 0.0, "gpt2 twin, rougeL: one point, 0.174"),
        (VERSIONS[:3], 0.0, "gpt2 twin, rougeL: cannot be told yet, 3 points"),
        (VERSIONS, 0.0, "gpt2 twin, rougeL: steady, no step and no slope in 8 points"),
        (VERSIONS, 0.03, "gpt2 twin, rougeL: a drop of 0.033 on 2026-11-15 (trl 1.14.0 → 1.14.2)."),
    ],
)
def test_a_history_opens_with_its_verdict(
    tmp_path: Path, versions: tuple[str, ...], drop: float, said: str
) -> None:
    """In the terminal's first line, and in markdown before the table; the contract comes last."""
    data = history(course(tmp_path, versions, drop), "gpt2")
    assert history_text.terminal(data).startswith(said)
    markdown = history_text.markdown(data).replace("\\", "")
    assert markdown.index(said) < markdown.index("| finished") < markdown.index("> Trained on")


def test_the_terminal_text_is_the_golden_one(tmp_path: Path) -> None:
    """At most 100 columns."""
    text = history_text.terminal(golden_history(tmp_path))
    assert max(map(len, text.splitlines())) <= 100
    assert text + "\n" == (GOLDEN / "history.txt").read_text(encoding="utf-8")


def test_the_markdown_is_the_golden_one(tmp_path: Path) -> None:
    """The same facts as a document."""
    assert history_text.markdown(golden_history(tmp_path)) == (GOLDEN / "history.md").read_text(
        encoding="utf-8"
    )


def test_the_verb_writes_markdown_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the records under --out."""
    course(tmp_path)
    assert len(Ledger(tmp_path).load()[0]) == 16
    words = ["history", "gpt2", "--out", str(tmp_path), "--markdown", str(tmp_path / "h.md"), "--json"]
    assert cli.run_verb(words) == 0
    assert '"at": 5' in capsys.readouterr().out
    assert "a drop, " in (tmp_path / "h.md").read_text(encoding="utf-8")
