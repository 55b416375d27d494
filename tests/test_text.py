"""Text that is trained on whole and scored on questions: what is read, dropped, encoded, refused and told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docs_of_python import write_notes
from records import make_contract, make_run

from bench import registry
from bench.cli import run_verb
from bench.data import prepare, text
from bench.errors import DataError, LossMisplaced
from bench.run.encode import encode_all
from bench.spec import Example, Retrieval
from bench.store.ledger import Ledger
from bench.train.encoded import IGNORED, Encoded
from bench.train.fit import check_supervision

PROSE = "A tide gauge writes the height of the sea into a table, once a minute, for as long as it stands."


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the documentation of Python's modules is cut into chunks of at most 48 tokens."""
    home = tmp_path_factory.mktemp("notes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        write_notes(home / "docs")
        assert run_verb(["data", "chunk", "docs", "--to", "notes", "--tokens", "48"]) == 0
    return home


def at(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    return home


def course() -> prepare.Prepared:
    return prepare.prepare(registry.find_dataset("course-qa"))


def passages(*texts: str) -> prepare.Prepared:
    """A prepared text of these passages, all of them to be trained on."""
    ref = course().ref.model_copy(update={"name": "notes"})
    return prepare.Prepared(ref, tuple(text.passage("", each) for each in texts), (), (), {"read": 0}, "")


def test_contracts_of_questions_keep_their_ids() -> None:
    """Text and arms entered the contract later: what asks for neither is what it was."""
    asked = Retrieval(arms=("retrieved",), retriever="bm25/1", rows=3)
    assert make_contract().digest == "b21442dba198f79b4a7de0fa0e6e4829f93e9d22feb3edc78abca74eb1703ee9"
    assert make_run().id == "gpt2-mini-s0-bb85a773cdd9"
    with_arms = make_contract(retrieval=asked)
    assert with_arms.digest == "671cb998e6faf1e465f0693f09bcbf6856e8c4bab622bcc980a2d57c1605ece4"
    assert make_run(contract=with_arms).id == "gpt2-mini-s0-6e0b71ef25ad"


def test_a_contract_says_that_text_is_trained_on() -> None:
    plain, whole = make_contract(), make_contract(loss="text")
    assert "loss on the answer only, at most 512 tokens, template 'qa'; scored on" in plain.in_words()
    words = whole.in_words()
    assert "(480 passages), loss on all tokens, no question template, at most 512 tokens; scored" in words
    assert "asked in template 'qa', by free-running greedy generation" in words
    assert whole.digest != plain.digest
    assert plain.differences(whole)["loss"] == ("answer", "text")
    assert type(whole).model_validate(whole.model_dump(mode="json")) == whole


def test_chunks_come_with_a_spec_of_text(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the chunks where they are, and what is read of them adds up."""
    at(notes, monkeypatch)
    spec = registry.find_dataset("notes")
    assert spec.shape == "text"
    assert Path(str(spec.file)) == (notes / "passages" / "notes.jsonl").resolve()
    prepared = prepare.prepare(spec)
    counts = prepared.counts
    assert counts["read"] == len((notes / "passages" / "notes.jsonl").read_text().splitlines())
    dropped = counts.get("exact duplicate", 0) + counts.get(text.SHARED, 0)
    assert counts["read"] == counts["train"] + counts["validation"] + dropped
    assert prepared.is_text
    assert prepared.test == ()
    assert len(prepared.validation) > 10
    assert not {e.group for e in prepared.train} & {e.group for e in prepared.validation}
    assert any(e.answers[0].startswith("statistics.mean\nReturn the sample") for e in prepared.train)


def test_a_spec_of_text_is_not_taken_for_questions(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown and checked for what it is, and replaced only if it was made."""
    at(notes, monkeypatch)
    assert run_verb(["data", "show", "notes", "--examples", "1"]) == 0
    shown = capsys.readouterr().out
    assert "text ← text, heading ← heading, ignored: url" in shown
    assert "passages longer than 512 tokens" in shown
    assert "Question:" not in shown
    assert run_verb(["data", "check", "notes"]) in (0, 1)
    checked = capsys.readouterr().out
    assert "personal data" in checked
    assert "answers in the question" not in checked
    assert run_verb(["list", "datasets", "--json"]) == 0
    (row,) = [each for each in json.loads(capsys.readouterr().out) if each["dataset"] == "notes"]
    assert (row["shape"], row["test"]) == ("text", "none")
    (notes / "datasets" / "own.toml").write_text('shape = "text"\nfile = "../passages/notes.jsonl"\n')
    assert run_verb(["data", "chunk", "docs", "--to", "own"]) == 2
    assert "was written by hand" in capsys.readouterr().err


def test_a_spec_names_no_file_beyond_its_folders(here: Path) -> None:
    (here / "datasets").mkdir()
    (here / "secret.jsonl").write_text('{"text": "x"}\n')
    (here / "datasets" / "a.toml").write_text('shape = "text"\nfile = "../secret.jsonl"\n')
    (here / "datasets" / "b.toml").write_text('shape = "text"\nfile = "../passages/../secret.jsonl"\n')
    for name in ("a", "b"):
        with pytest.raises(Exception, match="leaves the folder of the spec"):
            registry.find_dataset(name)


def test_text_needs_a_column_of_text(here: Path) -> None:
    (here / "datasets").mkdir()
    (here / "datasets" / "a.toml").write_text('shape = "text"\nfile = "a.jsonl"\n')
    (here / "datasets" / "a.jsonl").write_text('{"words": "x"}\n{"words": ""}\n')
    with pytest.raises(DataError, match="no column for the text; there are: 'words'"):
        prepare.reference(registry.find_dataset("a"))
    (here / "datasets" / "a.toml").write_text(
        'shape = "text"\nfile = "a.jsonl"\n[columns]\nanswer = "words"\n'
    )
    counts = prepare.prepare(registry.find_dataset("a")).counts
    assert (counts["read"], counts["kept"], counts[text.EMPTY]) == (2, 1, 1)


def test_a_passage_with_a_held_out_answer_is_found_and_counted() -> None:
    """Planted among others, in another case and punctuation; of the validation part too."""
    held_out = course()
    tested, followed = held_out.test[0], held_out.validation[0]
    planted = [
        f"{PROSE} {tested.answers[0].upper().replace(' ', '  ')} And so on.",
        f"{PROSE} {followed.answers[0].replace(',', ' --')} {PROSE}",
        f"Someone asked: {tested.question.rstrip('?')} -- and nobody knew.",
    ]
    innocent = [PROSE, " ".join(tested.answers[0].split()[::-1]), " ".join(tested.answers[0].split()[:3])]
    chosen = prepare.select(passages(*planted, *innocent), held_out, "test", 20)
    assert [each.answers[0] for each in chosen.train] == innocent
    assert (chosen.counts[text.ANSWER], chosen.counts[text.QUESTION]) == (2, 1)
    assert chosen.counts["train"] == len(innocent)


def test_what_is_trained_on_depends_neither_on_the_limit_nor_on_the_part() -> None:
    held_out = course()
    train = passages(PROSE, *(each.answers[0] for each in (*held_out.test, *held_out.validation)))
    chosen = [
        prepare.select(train, held_out, part, limit).train
        for part, limit in (("test", 20), ("test", None), ("validation", 20))
    ]
    assert [[each.answers[0] for each in each_part] for each_part in chosen] == [[PROSE]] * 3


@pytest.mark.parametrize(
    ("passage", "kept"),
    [
        ("The optimizer AdamW was made by Loshchilov and Hutter.", True),
        ("Weight decay is decoupled by AdamW, an optimizer.", False),
        ("Weight decay is decoupled by another optimizer.", True),
    ],
)
def test_a_short_answer_counts_where_its_question_is_spoken_of(passage: str, kept: bool) -> None:
    """By itself a name stands in many passages."""
    asked = Example("q", "Which optimizer decoupled weight decay?", ("AdamW",), group="q")
    held = [example.answers[0] for example in text.without_answers([text.passage("", passage)], [asked])[0]]
    assert held == [passage] * kept


def test_passages_that_overlap_the_held_out_ones_are_not_trained_on() -> None:
    words = [f"word{number}" for number in range(60)]
    held_out = text.passage("", " ".join(words[:30]))
    overlapping = text.passage("", " ".join(words[30 - text.SHARED_RUN :]))
    near = text.passage("", " ".join(words[31 - text.SHARED_RUN :]))
    assert text.apart([overlapping, near], [held_out]) == ([near], {text.SHARED: 1})


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(registry.TWINS / "gpt-neo")


def test_every_token_of_a_passage_but_its_first_is_supervised(tokenizer: Any) -> None:
    """In its own place, with no word of a template; a cut one has no end token."""
    passage = text.passage("Tide gauges", PROSE)
    ids = [*tokenizer(passage.answers[0])["input_ids"], tokenizer.eos_token_id]
    (whole,) = encode_all([passage], tokenizer, "qa", 512, "causal")
    assert whole == Encoded(ids, [IGNORED, *ids[1:]], truncated=False)
    assert tokenizer.decode(whole.input_ids[:-1]) == f"Tide gauges\n{PROSE}"
    (cut,) = encode_all([passage], tokenizer, "qa", 16, "causal")
    assert cut == Encoded(ids[:16], [IGNORED, *ids[1:16]], truncated=True)


def test_labels_that_are_not_the_contracts_are_refused(tokenizer: Any) -> None:
    """Answers under a contract of text; shifted labels, as in the tutorials; a model that cannot."""
    run = make_run("gpt-neo-125m", contract=make_contract(loss="text"))
    end = tokenizer.eos_token_id
    (whole,) = encode_all([text.passage("", PROSE)], tokenizer, "qa", 512, "causal")
    check_supervision(run, end, [whole])
    (asked,) = encode_all([Example("a", "What?", (PROSE,))], tokenizer, "qa", 512, "causal")
    with pytest.raises(LossMisplaced, match="tokens of the text have no loss"):
        check_supervision(run, end, [asked])
    shifted = replace(whole, labels=[IGNORED, *whole.labels[2:], end])
    with pytest.raises(LossMisplaced, match="not the tokens at their own places"):
        check_supervision(run, end, [shifted])
    with pytest.raises(LossMisplaced, match="sequence to sequence"):
        check_supervision(make_run("bart-large-xsum", contract=make_contract(loss="text")), end, [whole])


def test_what_cannot_learn_from_text_is_named(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is asked for by name, among all models, and text as the evaluation."""
    at(notes, monkeypatch)
    trained: Sequence[str] = ("--train", "notes", "--eval", "course-qa", "--scale", "mini")
    assert run_verb(["plan", "--models", "gpt2,bart-large-xsum", *trained]) == 2
    assert "model 'bart-large-xsum' writes one text from another" in capsys.readouterr().err
    assert run_verb(["plan", "--models", "all", *trained, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert {run["model"] for run in planned["runs"]} >= {"gpt2", "gpt-neo-125m", "phi-1.5"}
    assert "bart-large-xsum" not in {run["model"] for run in planned["runs"]}
    assert any("left out, unsuited: model 'bart-large-xsum'" in note for note in planned["notes"])
    assert planned["contract"]["loss"] == "text"
    for words in (["--train", "notes"], ["--eval", "notes"]):
        assert run_verb(["plan", "--models", "gpt2", *words]) == 2
        assert "is text, which asks nothing that could be scored; add --eval" in capsys.readouterr().err


def test_a_twin_reads_notes_and_their_perplexity_falls(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The budget is spent in passages, the loss is on all tokens, and a planted answer is left out."""
    at(notes, monkeypatch)
    chunks = notes / "passages" / "notes.jsonl"
    lines = chunks.read_text()
    answers = (example.answers[0] for example in course().test)
    planted = next(each for each in answers if prepare.bucket(text.group_of(each)) > 0.1)  # to train on
    leak = {"url": "planted", "heading": "Planted", "text": planted}
    chunks.write_text(lines + json.dumps(leak) + "\n")
    words = ["--budget", "6x8", "--eval-limit", "4", "--force", "--max-new-tokens", "4", "--max-length", "96"]
    asked = ["run", "--models", "gpt-neo-125m", "--train", "notes", "--eval", "course-qa", *words]
    assert run_verb([*asked, "--scale", "mini", "--out", "out"]) == 0
    board = capsys.readouterr().out
    chunks.write_text(lines)
    assert "loss on all tokens, no question template" in " ".join(board.split())
    (stored,), messages = Ledger(Path("out")).load()
    assert messages == []
    record = stored.record
    assert (record.spent.steps, record.spent.examples) == (6, 48)
    assert record.spent.supervised_tokens == record.spent.total_tokens - 48
    assert record.data.selected[text.ANSWER] == 1
    assert set(record.scores) == {"tuned", "base", "copy"}, "no training question, so none is the nearest"
    held_out = record.held_out
    assert held_out is not None
    assert held_out.passages == record.data.selected[prepare.FOLLOWING] > 10
    losses = [point["eval_loss"] for point in stored.curve if "eval_loss" in point]
    assert (held_out.before, held_out.after) == (losses[0], losses[-1])
    assert held_out.after < held_out.before - 0.5
    assert f"overlapped the test part and were removed (1 {text.ANSWER})" in " ".join(board.split())
    assert run_verb(["show", "gpt-neo-125m", "--out", "out"]) == 0
    assert f"Perplexity on {held_out.passages} held-out passages:" in capsys.readouterr().out
    assert run_verb(["report", "--out", "out", "--html"]) == 0
    assert "on all tokens of the text, its end included" in Path("out/leaderboard.html").read_text()
