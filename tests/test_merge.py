"""Folders of records become one: nothing is overwritten, nothing is lost, nothing foreign comes along."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from records import make_board, make_failure, make_record

from bench.cli import run_verb
from bench.store.ledger import Ledger, Stored
from bench.store.merge import CONFLICTS, DAMAGED, Merged, merge
from bench.store.record import RECORD, seal

LATER = "2026-11-21T10:00:00Z"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def ids(folder: Path) -> list[str]:
    """The whole records of a folder; that none is damaged."""
    stored, messages = Ledger(folder).load()
    assert messages == []
    return [item.record.id for item in stored]


def weights(stored: Stored, content: bytes, named: bytes | None = None) -> Path:
    """Give a record weights whose digest it names: that of `content`, or of `named`."""
    file = stored.folder / "adapter" / "adapter_model.safetensors"
    file.parent.mkdir()
    file.write_bytes(content)
    digest = sha256(content if named is None else named).hexdigest()
    record = stored.record.model_copy(update={"artifacts": {"adapter/adapter_model.safetensors": digest}})
    (stored.folder / RECORD).write_text(json.dumps(seal(record)), encoding="utf-8")
    return file


def test_records_of_two_machines_become_one_folder(tmp_path: Path, out: Path) -> None:
    make_board(tmp_path / "a", ["gpt2"], seeds=(0, 1))
    make_board(tmp_path / "b", ["phi-1.5"], seeds=(0, 1))
    merged = merge([tmp_path / "a", tmp_path / "b"], out)
    assert sorted(merged.copied) == ids(out)
    assert len(ids(out)) == 4
    assert merged.conflicts == merged.damaged == []


def test_the_copy_is_equal_to_the_last_byte(tmp_path: Path, out: Path) -> None:
    stored = make_record(tmp_path / "a")
    merge([tmp_path / "a"], out)
    copy = out / "runs" / stored.record.id
    assert {file.name for file in copy.iterdir()} == {file.name for file in stored.folder.iterdir()}
    for file in stored.folder.iterdir():
        assert (copy / file.name).read_bytes() == file.read_bytes()


def test_the_same_merge_again_changes_nothing(tmp_path: Path, out: Path) -> None:
    make_board(tmp_path / "a", ["gpt2"])
    first = merge([tmp_path / "a"], out)
    again = merge([tmp_path / "a"], out)
    assert again == Merged(held=first.copied)


def test_a_record_given_twice_is_no_conflict(tmp_path: Path, out: Path) -> None:
    make_record(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    merged = merge([tmp_path / "a", tmp_path / "b"], out)
    assert (len(merged.copied), len(merged.held), merged.conflicts) == (1, 1, [])


def test_of_two_records_with_one_id_both_are_kept(tmp_path: Path, out: Path) -> None:
    first, other = make_record(tmp_path / "a"), make_record(tmp_path / "b", shift=-0.05)
    before = (first.folder / "record.json").read_bytes()
    (conflict,) = merge([tmp_path / "a", tmp_path / "b"], out).conflicts
    assert (out / "runs" / first.record.id / "record.json").read_bytes() == before
    assert (conflict.kept / "record.json").read_bytes() == (other.folder / "record.json").read_bytes()
    assert not conflict.alike
    assert conflict.scores[1] < conflict.scores[0]


def test_what_the_target_holds_is_never_overwritten(tmp_path: Path, out: Path) -> None:
    held = make_record(out)
    make_record(tmp_path / "a", shift=-0.05)
    before = (held.folder / "record.json").read_bytes()
    assert len(merge([tmp_path / "a"], out).conflicts) == 1
    assert (held.folder / "record.json").read_bytes() == before


def test_one_run_carried_out_twice_is_told_from_one_with_other_answers(tmp_path: Path, out: Path) -> None:
    """Two machines that did one run differ in time and place alone."""
    make_record(tmp_path / "a")
    make_record(tmp_path / "b", finished=LATER, hardware="another machine")
    (conflict,) = merge([tmp_path / "a", tmp_path / "b"], out).conflicts
    assert conflict.alike


def test_a_conflict_can_be_compared(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_record(tmp_path / "a")
    make_record(tmp_path / "b", shift=-0.15)
    (conflict,) = merge([tmp_path / "a", tmp_path / "b"], out).conflicts
    assert conflict.kept.parent.parent == out / CONFLICTS
    assert run_verb(["compare", "current", str(conflict.kept.parent), "--out", str(out)]) == 0
    assert "regressed" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["scores.json", "record.json"])
def test_a_damaged_record_is_named_and_left_where_it_is(tmp_path: Path, out: Path, part: str) -> None:
    good, bad = make_record(tmp_path / "a"), make_record(tmp_path / "a", seed=1)
    (bad.folder / part).unlink()
    merged = merge([tmp_path / "a"], out)
    assert ids(out) == [good.record.id]
    assert len(merged.damaged) == 1
    assert bad.record.id in merged.damaged[0]
    assert bad.folder.is_dir()


def test_a_damaged_record_of_the_target_gives_way_and_is_kept(tmp_path: Path, out: Path) -> None:
    bad, good = make_record(out), make_record(tmp_path / "a")
    (bad.folder / "scores.json").write_text("{}")
    merged = merge([tmp_path / "a"], out)
    assert ids(out) == [good.record.id]
    assert [file.read_text() for file in (out / DAMAGED).glob("*/scores.json")] == ["{}"]
    assert "was damaged" in merged.damaged[0]


def test_weights_come_along_unless_they_are_left_out(tmp_path: Path, out: Path) -> None:
    stored = make_record(tmp_path / "a")
    weights(stored, b"numbers")
    merge([tmp_path / "a"], out)
    merge([tmp_path / "a"], tmp_path / "light", weights=False)
    assert (
        out / "runs" / stored.record.id / "adapter" / "adapter_model.safetensors"
    ).read_bytes() == b"numbers"
    assert not (tmp_path / "light" / "runs" / stored.record.id / "adapter").exists()


def test_weights_that_are_not_the_records_are_named_and_left_out(tmp_path: Path, out: Path) -> None:
    stored = make_record(tmp_path / "a")
    weights(stored, b"other numbers", named=b"numbers")
    merged = merge([tmp_path / "a"], out)
    assert ids(out) == [stored.record.id]
    assert not (out / "runs" / stored.record.id / "adapter").exists()
    assert "is not the file that the record names" in merged.damaged[0]


def test_links_and_foreign_files_do_not_come_along(tmp_path: Path, out: Path) -> None:
    """A folder of a stranger may hold a link to a file of the reader's machine."""
    stored = make_record(tmp_path / "a")
    secret = tmp_path / "secret"
    secret.write_text("key")
    weights(stored, b"key").unlink()
    (stored.folder / "adapter" / "adapter_model.safetensors").symlink_to(secret)
    (stored.folder / "log.txt").unlink()
    (stored.folder / "log.txt").symlink_to(secret)
    (stored.folder / "run-me.py").write_text("")
    merge([tmp_path / "a"], out)
    copied = {file.name for file in (out / "runs" / stored.record.id).rglob("*")}
    assert copied == {"record.json", "scores.json", "completions.jsonl", "curve.jsonl"}


def test_a_failure_is_taken_until_its_run_succeeds(tmp_path: Path, out: Path) -> None:
    failure = make_failure(tmp_path / "a")
    assert merge([tmp_path / "a"], out).failures == [failure.id]
    assert [item.id for item in Ledger(out).failed()] == [failure.id]
    make_record(tmp_path / "b", "phi-1.5")
    merge([tmp_path / "b"], out)
    assert Ledger(out).failed() == []
    assert merge([tmp_path / "a"], out).failures == []


def test_an_interrupted_merge_leaves_no_half_record(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_record(tmp_path / "a")

    def full(source: Path, place: Path) -> None:
        if source.name == "curve.jsonl":
            raise OSError(28, "No space left on device")
        shutil.copyfile(source, place)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        assert run_verb(["merge", str(tmp_path / "a"), "--out", str(out)]) == 2
    assert ids(out) == []
    assert len(merge([tmp_path / "a"], out).copied) == 1


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    capsys.readouterr()
    return run_verb([*words, "--json"]), json.loads(capsys.readouterr().out)


def test_the_exit_code_says_whether_a_merge_left_doubts(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for equal answers from two machines; 1 for other answers, and for a damaged record."""
    for name, changes in {"a": {}, "b": {"finished": LATER}, "c": {"shift": -0.05}}.items():
        make_record(tmp_path / name, **changes)
    code, data = answer(["merge", *(str(tmp_path / name) for name in "ab"), "--out", str(out)], capsys)
    assert (code, [conflict["alike"] for conflict in data["conflicts"]]) == (0, [True])
    code, data = answer(["merge", str(tmp_path / "c"), "--out", str(out)], capsys)
    assert (code, [conflict["alike"] for conflict in data["conflicts"]]) == (1, [False])
