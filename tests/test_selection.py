"""What a word on the command line names, and what is left out of it."""

from __future__ import annotations

import base64
import json
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from records import make_contract, make_failure, make_record

from bench.cli import run_verb
from bench.digest import digest
from bench.errors import Incomparable, RequestError, UnknownName
from bench.store import baselines as baselines_module
from bench.store import record as records_module
from bench.store.baselines import baselines, load_baseline, save_baseline
from bench.store.ledger import Ledger, Stored
from bench.store.names import current, select, select_both


def ids(side: object) -> set[str]:
    """The run ids of a side."""
    return {one.record.id for one in side.records}  # type: ignore[attr-defined]


def rewrite(stored: Stored, seal: bool, **changes: object) -> None:
    """Change fields of a record's JSON, with or without a digest that fits."""
    file = stored.folder / "record.json"
    raw = {**json.loads(file.read_bytes()), **changes}
    if seal:
        raw["digest"] = digest({key: value for key, value in raw.items() if key != "digest"})
    file.write_text(json.dumps(raw), encoding="utf-8")


def test_a_run_id_names_one_record(tmp_path: Path) -> None:
    """The whole id, or a start that no other id has."""
    one = make_record(tmp_path, "gpt2", 0)
    make_record(tmp_path, "gpt2", 1)
    assert ids(select(one.record.id, Ledger(tmp_path))) == {one.record.id}
    assert ids(select(one.record.id[:14], Ledger(tmp_path))) == {one.record.id}


def test_the_start_of_several_ids_is_refused(tmp_path: Path) -> None:
    """The error counts them and asks for more."""
    make_record(tmp_path, "gpt2", 0)
    make_record(tmp_path, "gpt2", 1)
    with pytest.raises(RequestError, match="start of 2 run ids"):
        select("gpt2-mini", Ledger(tmp_path))


def test_an_environment_names_all_records_that_ran_in_it(tmp_path: Path) -> None:
    """One package, or several at once; a build's local part and the spelling of the name do not matter."""
    old = make_record(tmp_path, versions={"trl": "1.14.2"})
    new = make_record(tmp_path, versions={"trl": "1.15.0"}, extra_versions={"some_package": "2.0"})
    ledger = Ledger(tmp_path)
    assert ids(select("trl==1.14.2", ledger)) == {old.record.id}
    assert ids(select("trl==1.15.0,transformers==5.17.0", ledger)) == {new.record.id}
    assert ids(select("some-package==2.0", ledger)) == {new.record.id}
    assert ids(select("torch==2.13.0", ledger)) == {old.record.id, new.record.id}


def test_an_unknown_environment_suggests_a_known_one(tmp_path: Path) -> None:
    """The records say which versions there are."""
    make_record(tmp_path, versions={"trl": "1.14.2"})
    with pytest.raises(UnknownName, match=r"did you mean 'trl==1\.14\.2'"):
        select("trl==1.14.1", Ledger(tmp_path))


def test_an_environment_holds_what_failed_in_it(tmp_path: Path) -> None:
    """Or a release that breaks everything could not be named."""
    make_failure(tmp_path, "gpt2")
    assert [one.run.name for one in select("trl==1.14.2", Ledger(tmp_path)).failures] == ["gpt2"]


def test_a_commit_names_the_records_made_from_it(tmp_path: Path) -> None:
    """By a prefix of the hash, inside a repository or not."""
    one = make_record(tmp_path, "gpt2", commit="abcd" + 36 * "0")
    make_record(tmp_path, "phi-1.5", commit="beef" + 36 * "0")
    assert ids(select("abcd00", Ledger(tmp_path))) == {one.record.id}


def test_a_tag_names_the_records_of_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git resolves the name; a tag without records says which commits have some."""
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a"}
    for key, value in {**identity, "GIT_COMMITTER_EMAIL": "a"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    commits = []
    for tag in ("v1", "v2"):
        subprocess.run(["git", "init", "-q"], check=True)
        subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", tag], check=True)
        subprocess.run(["git", "tag", tag], check=True)
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        commits.append(found.stdout.strip())
    one = make_record(tmp_path / "reports", commit=commits[0])
    ledger = Ledger(tmp_path / "reports")
    assert ids(select("v1", ledger)) == {one.record.id}
    with pytest.raises(Incomparable, match=f"'v2'.*left no record.*{commits[0][:8]}"):
        select("v2", ledger)


def test_a_folder_from_another_machine_names_its_records(tmp_path: Path) -> None:
    """As a whole output folder with its failures, as a folder of records, and as one record."""
    here, there = Ledger(tmp_path / "here"), tmp_path / "there"
    one = make_record(there, "gpt2")
    make_failure(there, "phi-1.5")
    (there / "runs").rename(tmp_path / "copied")
    assert ids(select(str(tmp_path / "copied"), here)) == {one.record.id}
    (tmp_path / "copied").rename(there / "runs")
    whole = select(str(there), here)
    assert ids(whole) == {one.record.id}
    assert [failure.run.name for failure in whole.failures] == ["phi-1.5"]
    assert ids(select(str(one.folder), here)) == {one.record.id}


def test_a_baseline_names_what_was_saved(tmp_path: Path) -> None:
    """Records that come later do not join it; of several versions the newest was saved."""
    make_record(tmp_path, "gpt2", finished="2026-11-01T00:00:00Z", versions={"trl": "1.12.0"})
    old = make_record(tmp_path, "gpt2", finished="2026-11-02T00:00:00Z")
    ledger = Ledger(tmp_path)
    _, saved = save_baseline("main", current(ledger), ledger)
    make_record(tmp_path, "gpt2", finished="2026-11-03T00:00:00Z", versions={"trl": "1.15.0"})
    assert saved == [old.record.id]
    assert ids(select("main", ledger)) == {old.record.id}
    assert baselines(ledger) == ["main"]


@pytest.mark.parametrize("name", ["../main", "/tmp/main", "a/b", ".hidden", ""])
def test_a_baseline_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    """A name is no path, neither to write nor to read."""
    make_record(tmp_path)
    ledger = Ledger(tmp_path)
    with pytest.raises(RequestError, match="a name is made of"):
        save_baseline(name, current(ledger), ledger)
    with pytest.raises(UnknownName):
        load_baseline(name, ledger)


def test_a_baseline_is_whole_by_itself(tmp_path: Path) -> None:
    """A record that was replaced or lost since stands in it as it was saved."""
    changed = make_record(tmp_path, "gpt2")
    gone = make_record(tmp_path, "phi-1.5")
    kept = make_record(tmp_path, "llama-2-7b")
    ledger = Ledger(tmp_path)
    save_baseline("main", current(ledger), ledger)
    rewrite(changed, seal=True, final_loss=0.1)
    (gone.folder / "record.json").unlink()
    side = select("main", ledger)
    by_id = {stored.record.id: stored for stored in side.records}
    assert set(by_id) == {changed.record.id, gone.record.id, kept.record.id}
    assert by_id[changed.record.id].record == changed.record
    assert by_id[kept.record.id].folder == kept.folder, "the ledger's own record is used where it is the same"
    assert by_id[gone.record.id].scores["ids"] == kept.scores["ids"]
    assert side.messages == ()


def test_a_list_of_records_without_the_records_names_those_that_are_gone(tmp_path: Path) -> None:
    """As the first versions of this program saved them."""
    stored = make_record(tmp_path, "gpt2")
    make_record(tmp_path, "phi-1.5")
    ledger = Ledger(tmp_path)
    file, _ = save_baseline("main", current(ledger), ledger)
    body = json.loads(file.read_text())
    body = {**body, "format": 1}
    del body["records"]
    file.write_text(json.dumps(body))
    rewrite(stored, seal=True, final_loss=0.1)
    side = select("main", ledger)
    assert len(side.records) == 1
    assert any("is not the record that baseline 'main'" in text for text in side.messages)


def test_a_baseline_whose_records_were_edited_is_refused(tmp_path: Path) -> None:
    """A packed record is checked as any other; one file of it more or less is noticed."""
    make_record(tmp_path, "gpt2")
    stored = make_record(tmp_path, "phi-1.5")
    ledger = Ledger(tmp_path)
    file, _ = save_baseline("main", current(ledger), ledger)
    for folder in ledger.runs.iterdir():
        shutil.rmtree(folder)
    body = json.loads(file.read_text())
    packed = baselines_module._unpacked(body["records"])
    packed[stored.record.id]["record.json"] = packed[stored.record.id]["record.json"].replace("mini", "full")
    raw = lzma.compress(json.dumps(packed).encode())
    file.write_text(json.dumps({**body, "records": base64.b64encode(raw).decode()}))
    side = select("main", ledger)
    assert [record.record.run.name for record in side.records] == ["gpt2"]
    assert len(side.messages) == 1
    packed[stored.record.id]["../evil"] = "x"
    raw = lzma.compress(json.dumps(packed).encode())
    file.write_text(json.dumps({**body, "records": base64.b64encode(raw).decode()}))
    assert "which no record has" in select("main", ledger).messages[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a baseline"),
        ('{"format": 1, "runs": [{"id": "../../x", "digest": ""}]}', "is no run id"),
        ('{"format": 9, "runs": []}', "baseline format 9"),
        ('{"format": 2, "runs": [], "records": "AAAA"}', "is not a baseline"),
    ],
)
def test_a_broken_baseline_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    """Cut short, pointing elsewhere, or from a later program."""
    file = tmp_path / "baselines" / "main.json"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=rf"main\.json.*{message}"):
        select("main", Ledger(tmp_path))


def test_an_edited_record_is_left_out_with_a_message(tmp_path: Path) -> None:
    """The others stay; where none is left, the reason is the error."""
    edited, kept = make_record(tmp_path, "gpt2"), make_record(tmp_path, "phi-1.5")
    rewrite(edited, seal=False, final_loss=0.1)
    ledger = Ledger(tmp_path)
    side = current(ledger)
    assert ids(side) == {kept.record.id}
    assert "edited or cut short" in side.messages[0]
    with pytest.raises(Incomparable, match="edited or cut short"):
        select(edited.record.id, ledger)


def test_a_record_of_a_later_program_is_refused_by_name(tmp_path: Path) -> None:
    """And tells to upgrade."""
    one = make_record(tmp_path)
    rewrite(one, seal=True, format=99)
    with pytest.raises(Incomparable, match="record format 99, this program reads up to"):
        select(one.record.id, Ledger(tmp_path))


def test_a_record_of_an_older_format_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version has a named function to the next; a version without one is refused."""
    one = make_record(tmp_path)
    rewrite(one, seal=True, format=0, final_loss=None)
    with pytest.raises(Incomparable, match="record format 0 is no longer read"):
        select(one.record.id, Ledger(tmp_path))
    monkeypatch.setitem(records_module.UPGRADES, 0, lambda body: {**body, "format": 1, "final_loss": 7.0})
    assert select(one.record.id, Ledger(tmp_path)).records[0].record.final_loss == 7.0


def test_a_name_of_nothing_says_what_can_be_named(tmp_path: Path) -> None:
    """In one line; a near miss is suggested instead."""
    ledger = Ledger(tmp_path)
    make_record(tmp_path)
    save_baseline("nightly", current(ledger), ledger)
    with pytest.raises(
        UnknownName, match=r"a run id .* a saved baseline, an environment .* a folder"
    ) as error:
        select("what-is-this", ledger)
    assert "\n" not in str(error.value)
    with pytest.raises(UnknownName, match="did you mean 'nightly'"):
        select("nightli", ledger)


def test_current_is_the_newest_of_every_run(tmp_path: Path) -> None:
    """Another version of a run replaces it, another contract does not, and a newer failure does."""
    make_record(tmp_path, "gpt2", finished="2026-11-18T00:00:00Z")
    newer = make_record(tmp_path, "gpt2", finished="2026-11-19T00:00:00Z", versions={"trl": "1.15.0"})
    other = make_record(tmp_path, "gpt2", contract=make_contract(steps=30))
    make_record(tmp_path, "phi-1.5", finished="2026-11-19T00:00:00Z", versions={"trl": "1.12.0"})
    make_failure(tmp_path, "phi-1.5")  # on the 20th
    side = current(Ledger(tmp_path))
    assert ids(side) == {newer.record.id, other.record.id}
    assert [failure.run.name for failure in side.failures] == ["phi-1.5"]


def test_both_sides_read_a_ledger_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of records are not read again for the second name."""
    make_record(tmp_path, versions={"trl": "1.14.2"})
    make_record(tmp_path, versions={"trl": "1.15.0"})
    reads = []
    load = Ledger.load
    monkeypatch.setattr(Ledger, "load", lambda self, names=None: reads.append(1) or load(self, names))
    a, b = select_both("trl==1.14.2", "trl==1.15.0", Ledger(tmp_path))
    assert len(reads) == 1
    assert len(ids(a)) == len(ids(b)) == 1
    assert ids(a) != ids(b)


def test_a_backend_names_what_trained_through_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that two frameworks of one recipe are compared as two versions are."""
    ours = make_record(tmp_path, "llama-2-7b")
    backend = ours.record.backend.model_copy(update={"name": "unsloth"})
    theirs = make_record(
        tmp_path, "llama-2-7b", versions={"unsloth": "2026.11.1"}, changed=0.2, fields={"backend": backend}
    )
    ledger = Ledger(tmp_path)
    assert ids(select("unsloth", ledger)) == {theirs.record.id}
    assert ids(select("bitsandbytes+peft", ledger)) == {ours.record.id}
    assert run_verb(["compare", "bitsandbytes+peft", "unsloth", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "llama-2-7b" in text
    assert "backend" in text


def test_a_trial_of_other_versions_is_not_current(tmp_path: Path) -> None:
    """What `--with` tried out later is no part of what a gate judges, and has a name of its own."""
    installed = make_record(tmp_path)
    pin = {"trl": "1.14.0"}
    tried = make_record(tmp_path, versions=pin, trial=["trl==1.14.0"], finished="2026-11-22T10:00:00Z")
    ledger = Ledger(tmp_path)
    assert ids(current(ledger)) == {installed.record.id}
    assert ids(select("trl==1.14.0", ledger)) == {tried.record.id}
    assert save_baseline("main", current(ledger), ledger)[1] == [installed.record.id]


def test_the_list_of_runs_says_what_tells_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what differs among the runs of one model and seed is named."""
    make_record(tmp_path)
    make_record(tmp_path, seed=1)
    make_record(tmp_path, versions={"trl": "1.14.0"})
    assert run_verb(["list", "runs", "--json", "--out", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["differs in"] for row in rows) == ["", "trl 1.14.0", "trl 1.14.2"]
