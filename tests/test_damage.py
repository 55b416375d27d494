"""A record that was edited, cut short or contradicts itself is left out by name, by every verb alike."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from records import make_board, make_record

from bench import registry
from bench.cli import run_verb
from bench.data import prepare
from bench.digest import digest
from bench.errors import BenchError
from bench.store import record
from bench.store.damage import damage
from bench.store.ledger import Ledger, read
from benchmarks.mutations import forge, sealed

REAL = ROOT / "reports" / "twins" / "runs"
Edit = Callable[[Path], None]


def real(out: Path, model: str = "gpt2", seeds: int = 2) -> list[Path]:
    """Committed records of a twin, copied to a ledger of one's own."""
    folders = []
    for source in sorted(REAL.glob(f"{model}-mini-*"))[:seeds]:
        shutil.copytree(source, out / "runs" / source.name)
        folders.append(out / "runs" / source.name)
    return folders


def scores(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / "scores.json").read_bytes())
    change(content)
    (folder / "scores.json").write_text(json.dumps(content), encoding="utf-8")


def first_line(folder: Path, **fields: Any) -> None:
    """Change fields of the first completion."""
    file = folder / "completions.jsonl"
    line, rest = file.read_text(encoding="utf-8").split("\n", 1)
    file.write_text(json.dumps({**json.loads(line), **fields}) + "\n" + rest, encoding="utf-8")


def set_score(value: float) -> Edit:
    def edit(folder: Path) -> None:
        scores(folder, lambda content: content["rows"]["tuned"]["rougeL"]["f"].__setitem__(0, value))
        sealed(folder)

    return edit


def reseal(change: Callable[[dict[str, Any]], None]) -> Edit:
    return lambda folder: sealed(folder, change)


def then_seal(edit: Edit) -> Edit:
    def both(folder: Path) -> None:
        edit(folder)
        sealed(folder)

    return both


DAMAGE: dict[str, tuple[Edit, str]] = {
    "an answer edited": (
        lambda folder: first_line(folder, tuned="better"),
        "completions.jsonl: missing",
    ),
    "answers missing": (lambda folder: (folder / "completions.jsonl").unlink(), "completions.jsonl: missing"),
    "scores missing": (lambda folder: (folder / "scores.json").unlink(), "scores.json: missing"),
    "scores cut short": (
        lambda folder: (folder / "scores.json").write_text("{"),
        "scores.json: missing",
    ),
    "a point of the curve that counts nothing": (
        then_seal(lambda folder: (folder / "curve.jsonl").write_text('{"step": 1, "loss": 2.5}\n')),
        "line 1: is no point of a training curve",
    ),
    "curve edited": (lambda folder: (folder / "curve.jsonl").write_text(""), "curve.jsonl: missing, edited"),
    "scores a folder": (
        lambda folder: ((folder / "scores.json").unlink(), (folder / "scores.json").mkdir())[0],
        "scores.json: missing",
    ),
    "a mean that is not the scores'": (
        reseal(lambda body: body["scores"]["tuned"]["rougeL"].update(mean=0.9, high=0.95)),
        "the mean of tuned rougeL is 0.16",
    ),
    "a gain that is not the difference": (
        reseal(lambda body: body["gain"]["rougeL"].update(mean=0.09, high=0.1)),
        "the mean of gain rougeL",
    ),
    "a score above 1": (set_score(1.7), "holds a score of rougeL outside 0 to 1"),
    "another score": (set_score(0.999), "the mean of tuned rougeL"),
    "a score that is no number": (set_score(float("nan")), "is no record of this program"),
    "an example too few": (
        then_seal(lambda folder: scores(folder, lambda content: content["ids"].pop())),
        "its lists have different lengths",
    ),
    "a question edited": (
        then_seal(lambda folder: first_line(folder, question="What?")),
        "not those that the record was scored on",
    ),
    "an answer emptied": (
        then_seal(lambda folder: first_line(folder, tuned="")),
        "the answers of 'tuned' are not those that the record counted",
    ),
    "references that are no list": (
        then_seal(lambda folder: first_line(folder, references="text")),
        "line 1: a field is missing or is no text",
    ),
    "more steps than the budget": (reseal(lambda body: body["spent"].update(steps=600)), "spent 600x8, but"),
    "a row of scores dropped": (
        reseal(lambda body: body["scores"].pop("base")),
        "scores of tuned or base are missing",
    ),
    "a metric dropped": (
        reseal(lambda body: body["scores"]["tuned"].pop("rouge2")),
        "scores of tuned or base are missing",
    ),
    "a metric of a row without training dropped": (
        reseal(lambda body: body["scores"]["nearest"].pop("rougeLsum")),
        "'nearest' has no rougeLsum",
    ),
    "a gain dropped": (
        reseal(lambda body: body["gain"].pop("rougeL")),
        "scores of tuned or base are missing",
    ),
    "counts of answers dropped": (
        reseal(lambda body: body["written"].pop("tuned")),
        "what was written by tuned or base is missing",
    ),
    "a time that is none": (
        reseal(lambda body: body["provenance"].update(finished="yesterday")),
        "'finished' is no time: 'yesterday'",
    ),
    "a time in the future": (
        reseal(lambda body: body["provenance"].update(finished="2999-01-01T00:00:00Z")),
        "'finished' lies in the future",
    ),
}
VERBS = {
    "check": (["check"], 2),
    "report": (["report"], 0),
    "list": (["list", "runs"], 0),
    "compare": (["compare", "current", "main"], 0),
    "gate": (["gate", "--baseline", "main"], 2),
    "history": (["history", "gpt2"], 0),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_wrong_with_a_record_is_found(tmp_path: Path, name: str) -> None:
    edit, words = DAMAGE[name]
    (folder,) = real(tmp_path, seeds=1)
    assert list(damage(read(folder), folder)) == []
    edit(folder)
    assert words in next(damage(read(folder), folder))
    assert not Ledger(tmp_path).finished(folder.name)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["an answer edited", "scores missing", "a mean that is not the scores'"])
def test_every_verb_leaves_the_same_record_out_by_name(
    tmp_path: Path, name: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = real(tmp_path)
    real(tmp_path, "phi-1.5")
    assert run_verb(["baseline", "save", "main", "--out", str(tmp_path)]) == 0
    words, code = VERBS[verb]
    DAMAGE[name][0](folder)
    capsys.readouterr()
    assert run_verb([*words, "--out", str(tmp_path)]) == code
    shown = capsys.readouterr()
    flat = "".join((shown.out + shown.err).split())  # a long path may be broken anywhere
    assert folder.name in flat
    assert "".join(DAMAGE[name][1].split(":")[-1].split()) in flat


@pytest.mark.parametrize("words", [["show"], ["show", "--all"], ["score", "--metrics", "em"], ["verify"]])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_run_that_is_named_is_held_to_the_same(
    tmp_path: Path, name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By its id, where no board has left it out before; one line each."""
    edit, said = DAMAGE[name]
    (folder,) = real(tmp_path, seeds=1)
    edit(folder)
    verb, *options = words
    assert run_verb([verb, folder.name, *options, "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    flat = "".join((shown.out + shown.err).split())
    assert "".join(said.split(":")[-1].split()) in flat
    assert "Traceback" not in flat


def regroup(folder: Path) -> None:
    """The first example joins the group of the last, and the record is sealed anew."""
    scores(folder, lambda content: content["groups"].__setitem__(0, content["groups"][-1]))
    sealed(folder)


@pytest.mark.parametrize("verb", VERBS)
def test_groups_that_changed_are_noticed_by_every_verb(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the other records of the same examples, on a machine that does not have the data."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    if verb == "check":  # which prepares the data sets that lie here
        monkeypatch.setattr("bench.verbs.check._data", lambda _: [])
    folder, _ = real(tmp_path)
    real(tmp_path, "phi-1.5")
    assert run_verb(["baseline", "save", "main", "--out", str(tmp_path)]) == 0
    words, code = VERBS[verb]
    regroup(folder)
    capsys.readouterr()
    assert run_verb([*words, "--out", str(tmp_path)]) == code
    shown = capsys.readouterr()
    unbroken = "".join((shown.out + shown.err).split())  # a long path is broken anywhere
    assert folder.name in unbroken
    assert "groupsofparaphrasesarenotthoseof" in unbroken


def test_groups_that_the_data_set_does_not_give_are_found_in_a_single_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the record was found whole before the data set was prepared here."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (folder,) = real(tmp_path, seeds=1)
    regroup(folder)
    assert len(Ledger(tmp_path).load()[0]) == 1
    data = prepare.prepare(registry.find_dataset("course-qa"))
    assert read(folder).run.contract.eval == data.ref
    stored, (message,) = Ledger(tmp_path).load()
    assert stored == []
    assert "the group of example" in message
    assert "data set 'course-qa' says" in message


def test_two_folders_whose_groups_differ_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is of one piece in itself; the same seed of another run stands on the other side."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    a, b = tmp_path / "a", tmp_path / "b"
    (folder,) = real(b, seeds=1)
    real(a, seeds=1)
    regroup(folder)
    assert run_verb(["compare", str(a), str(b), "--out", str(tmp_path)]) == 2
    assert "gpt2: its groups of paraphrases changed" in capsys.readouterr().err


def test_a_whole_record_is_remembered_and_a_later_edit_is_noticed(tmp_path: Path) -> None:
    """The second look at a record reads its times alone; a change of them reads it in full."""
    make_board(tmp_path, ["gpt2"])
    ledger = Ledger(tmp_path)
    assert ledger.load()[1] == []
    stored, _ = ledger.load()
    first_line(stored[0].folder, tuned="edited later")
    assert len(ledger.load()[1]) == 1


def test_a_remembered_record_is_not_digested_again_until_it_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_record(tmp_path, n=20).folder
    Ledger(tmp_path).load()
    digested: list[object] = []
    monkeypatch.setattr(record, "digest", lambda body: digested.append(body) or digest(body))
    assert len(Ledger(tmp_path).load()[0]) == 1
    assert digested == []
    (folder / "record.json").touch()
    assert len(Ledger(tmp_path).load()[0]) == 1
    assert len(digested) == 1


def test_a_record_dated_before_the_baseline_is_new_where_it_was_not_there(tmp_path: Path) -> None:
    """A clock that is wrong by a day hides no regression."""
    for seed in (0, 1, 2):
        make_record(tmp_path, "gpt2", seed)
    assert run_verb(["baseline", "save", "main", "--out", str(tmp_path)]) == 0
    for seed in (0, 1, 2):
        newer = {"trl": "1.15.0"}
        early = "2026-11-19T10:00:00Z"
        make_record(tmp_path, "gpt2", seed, versions=newer, shift=-0.06, finished=early)
    assert run_verb(["gate", "--baseline", "main", "--out", str(tmp_path)]) == 1


def test_no_mutation_of_a_record_is_a_traceback_or_ranked(tmp_path: Path) -> None:
    """150 seeded changes of a real record's JSON, sealed anew: a line each, and never a better row."""
    generator = random.Random(11)
    (origin,) = real(tmp_path / "origin", seeds=1)
    honest = read(origin).scores["tuned"]["rougeL"].mean
    for number in range(150):
        out = tmp_path / str(number)
        shutil.copytree(origin, out / "runs" / origin.name)
        forge(out / "runs" / origin.name, generator)
        stored, messages = Ledger(out).load()
        assert len(stored) + len(messages) == 1
        for verb in (["check"], ["report"], ["list", "runs"]):
            try:
                run_verb([*verb, "--out", str(out)])
            except BenchError:
                continue
        for item in stored:
            assert item.record.scores["tuned"]["rougeL"].mean == pytest.approx(honest, abs=1e-9)
        shutil.rmtree(out)
