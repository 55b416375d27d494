"""An engine answers as the run did, one side or the other, in batches or in pieces."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from served import FULL, LORA, QLORA, QUESTION, finished, folder

from bench.cli import run_verb
from bench.digest import file_digest
from bench.errors import Incomparable, RequestError, UnknownName
from bench.run.reload import ADAPTER_WEIGHTS
from bench.serve.decode import Ask
from bench.serve.engine import SIDES, Engine
from bench.serve.pieces import GrowingText
from bench.serve.stops import cut, stops_of
from bench.serve.verify import Questions, verify
from bench.store.ledger import Ledger, Stored
from bench.store.lookup import find, find_newest
from bench.store.record import COMPLETIONS

METHODS = {"lora": LORA, "qlora": QLORA, "full": FULL}


EACH = ["lora", *(pytest.param(method, marks=pytest.mark.slow) for method in ("full", "qlora"))]


@pytest.fixture(scope="module", params=EACH)
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine of a run, for each way of tuning."""
    return Engine.load(finished(METHODS[request.param]), threads=1)


def asks(engine: Engine, count: int = 6, **more: object) -> list[Ask]:
    limit = engine.run.contract.decoding.max_new_tokens
    rows = engine.stored.completions[:count]
    return [Ask(engine.prompt(row["question"]), limit, **more) for row in rows]  # type: ignore[arg-type]


def test_answers_are_the_records_on_both_sides(engine: Engine) -> None:
    """Full, LoRA and QLoRA; the sides are asked in turn, so none is left over from the other."""
    rows = engine.stored.completions
    for side in (*SIDES, *SIDES):
        texts = [answer.text for answer in engine.answer([(row["question"], "") for row in rows], side)]
        assert texts == [row[side] for row in rows]


def test_a_stream_in_pieces_is_the_records_answer(engine: Engine) -> None:
    for row in engine.stored.completions[:3]:
        for side in SIDES:
            pieces = list(engine.stream(row["question"], side=side))
            assert "".join(pieces) == row[side]
            assert len(pieces) > 1 or len(row[side]) < 12


def test_a_batch_of_asks_is_the_records_answers(engine: Engine) -> None:
    answers = engine.decode(asks(engine))
    assert [answer.text for answer in answers] == [row["tuned"] for row in engine.stored.completions[:6]]
    assert {answer.finish for answer in answers} <= {"stop", "length"}


def test_a_row_that_is_given_up_leaves_the_others_as_they_are(engine: Engine) -> None:
    first, second, *_ = asks(engine)
    taken = iter([False, True, True])
    gone = Ask(first.prompt, 16, cancelled=lambda: next(taken))
    cancelled, other = engine.decode([gone, second])
    assert cancelled.finish == "cancelled"
    assert cancelled.tokens == 2
    assert other.text == engine.stored.completions[1]["tuned"]


def test_an_answer_ends_at_its_own_limit(engine: Engine) -> None:
    short, long = engine.decode([Ask(asks(engine)[0].prompt, 3), asks(engine)[1]])
    assert (short.tokens, short.finish) == (3, "length")
    assert long.text == engine.stored.completions[1]["tuned"]


def test_a_seed_makes_the_same_sample_whatever_else_is_asked(engine: Engine) -> None:
    rows = [Ask(ask.prompt, 12, temperature=1.5, seed=seed) for seed, ask in enumerate(asks(engine))]
    together = [answer.text for answer in engine.decode(rows)]
    assert [engine.decode([row])[0].text for row in rows[:3]] == together[:3]
    other = engine.decode([Ask(rows[0].prompt, 12, temperature=1.5, seed=99)])[0].text
    assert other != together[0]


def test_a_tiny_nucleus_is_greedy() -> None:
    engine = Engine.load(finished(LORA), threads=1)
    sampled = [Ask(ask.prompt, 16, temperature=2.0, top_p=1e-6) for ask in asks(engine)]
    assert [a.text for a in engine.decode(sampled)] == [a.text for a in engine.decode(asks(engine))]


def test_samples_follow_the_softmax() -> None:
    """The first token of 400 samples at temperature 1 against its probabilities, by chi-squared."""
    import torch
    from scipy.stats import chisquare

    engine = Engine.load(finished(LORA), threads=1)
    prompt = asks(engine)[0].prompt
    with engine.on("tuned") as loaded, torch.inference_mode():
        likely = loaded.model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    top = likely.topk(4).indices.tolist()
    tokenizer = loaded.tokenizer
    texts = [tokenizer.decode([id]).strip() for id in top]
    drawn = engine.decode([Ask(prompt, 1, temperature=1.0, seed=seed) for seed in range(400)])
    counts = [sum(answer.text == text for answer in drawn) for text in texts]
    expected = [400 * float(likely[id]) for id in top]
    counts.append(400 - sum(counts))
    expected.append(400 - sum(expected))
    assert chisquare(counts, expected).pvalue > 1e-4


def test_runs_of_one_base_share_its_weights() -> None:
    first = Engine.load(finished(LORA), threads=1)
    second = first.beside(finished(LORA, seed=1))
    with first.on("tuned") as a, second.on("tuned") as b:
        assert a is b
    for engine in (first, second, first):
        texts = [answer.text for answer in engine.decode(asks(engine))]
        assert texts == [row["tuned"] for row in engine.stored.completions[:6]]
        base = [answer.text for answer in engine.decode(asks(engine), "base")]
        assert base == [row["base"] for row in engine.stored.completions[:6]]


@pytest.mark.slow
def test_runs_of_other_bases_do_not() -> None:
    first = Engine.load(finished(LORA), threads=1)
    other = first.beside(finished(FULL))
    assert [a.text for a in other.decode(asks(other))] == [r["tuned"] for r in other.stored.completions[:6]]


def test_an_iterator_that_is_closed_ends_the_decoding(engine: Engine) -> None:
    pieces = engine.stream(QUESTION)
    next(pieces)
    pieces.close()
    assert engine.decode(asks(engine, 1))[0].text == engine.stored.completions[0]["tuned"]


class Letters:
    """A tokenizer whose tokens are bytes of UTF-8."""

    def decode(self, ids: list[int], **_: object) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


@pytest.mark.parametrize(
    "text",
    ["na\u00efve \U0001d6fc\u2013\u03b2", "  led by blanks and ended by them \n", "a\nQuestion", "\ufffd"],
)
def test_pieces_together_are_the_text_and_none_is_taken_back(text: str) -> None:
    pieces = GrowingText(Letters(), ["\nQuestion:"])
    parts = [pieces.add(byte) for byte in text.encode()]
    assert "".join([*parts, pieces.end()]) == text.strip()
    assert all("\ufffd" not in part for part in parts)


def test_pieces_end_before_a_stop_text_and_give_out_nothing_of_it() -> None:
    pieces = GrowingText(Letters(), ["\nQuestion:"])
    parts = []
    for byte in b"A mean.\nQuestion: And?":
        parts.append(pieces.add(byte))
        if pieces.stopped:
            break
    assert "".join(parts) == "A mean."


def test_a_blank_before_what_may_be_a_stop_text_is_held_back() -> None:
    pieces = GrowingText(Letters(), ["is"])
    parts = []
    for byte in b"A curve is":
        parts.append(pieces.add(byte))
    assert "".join(parts) == "A curve"


def test_the_stop_rule_ends_an_answer_where_the_template_begins_again() -> None:
    run_on = "A mean.\nQuestion: And a median?\nAnswer:\nIn the middle."
    assert cut(run_on, stops_of("qa")) == "A mean."
    assert cut("Is it a Question: of taste?", stops_of("qa")) == "Is it a Question: of taste?"


def test_a_model_is_its_newest_finished_run(tmp_path: Path) -> None:
    from records import make_record

    make_record(tmp_path, seed=0, finished="2026-11-21T10:00:00Z")
    late = make_record(tmp_path, seed=1, finished="2026-11-23T10:00:00Z")
    make_record(tmp_path, seed=2, finished="2026-11-24T10:00:00Z", trial=("trl==1.13.0",))
    assert find_newest("gpt2", Ledger(tmp_path)).record.id == late.record.id
    assert find(str(late.folder), Ledger(tmp_path / "elsewhere")) == late.folder
    for name, meant in (("gtp2-mini-s1", "gpt2-mini-s1"), ("gtp2", "gpt2'")):
        with pytest.raises(UnknownName, match=f"did you mean '{meant}"):
            find_newest(name, Ledger(tmp_path))


def test_weights_that_were_deleted_are_named(tmp_path: Path) -> None:
    stored = copied(finished(LORA), tmp_path)
    (stored.folder / "adapter" / ADAPTER_WEIGHTS).unlink()
    with pytest.raises(Incomparable, match=r"adapter_model.safetensors was deleted"):
        Engine.load(stored)


def test_a_record_tuned_from_a_folder_asks_where_it_is() -> None:
    stored = finished(LORA)
    run = stored.record.run
    checkpoint = run.checkpoint.model_copy(update={"kind": "gguf", "source": "model.gguf"})
    record = stored.record.model_copy(update={"run": run.model_copy(update={"checkpoint": checkpoint})})
    with pytest.raises(RequestError, match="say where it is by --base PATH"):
        Engine.load(Stored(record, stored.folder))


def test_another_checkpoint_is_refused() -> None:
    other = folder().parent / "x"
    with pytest.raises(RequestError, match="holds no checkpoint"):
        Engine.load(finished(LORA), base=other)
    from bench.registry import TWINS

    with pytest.raises(Incomparable, match="no longer the one"):
        Engine.load(finished(LORA), base=TWINS / "phi")


def copied(stored: Stored, out: Path) -> Stored:
    """The same record under another folder, to be damaged."""
    place = Ledger(out).runs / stored.record.id
    shutil.copytree(stored.folder, place)
    return Stored(stored.record, place)


@pytest.mark.parametrize("method", EACH)
def test_a_row_reproduces_word_for_word(method: str) -> None:
    result = verify(finished(METHODS[method]))
    assert result.reproduces
    assert [(row.side, row.equal, row.answers) for row in result.reanswered] == [
        ("tuned", 40, 40),
        ("base", 40, 40),
    ]
    assert {row.row: (row.scores, row.differing) for row in result.rescored} == dict.fromkeys(
        ("tuned", "base", "copy"), (40 * 12, 0)
    )


def test_weights_of_another_run_do_not_reproduce(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The adapter of another seed in place of the record's own."""
    stored = copied(finished(LORA), tmp_path)
    other = finished(LORA, seed=1).folder / "adapter" / ADAPTER_WEIGHTS
    shutil.copyfile(other, stored.folder / "adapter" / ADAPTER_WEIGHTS)
    assert run_verb(["verify", stored.record.id, "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "does not reproduce" in shown
    assert "is not what the run saved" in shown


def test_an_edited_answer_does_not_reproduce(tmp_path: Path) -> None:
    stored = copied(finished(LORA), tmp_path)
    file = stored.folder / COMPLETIONS
    lines = file.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0])
    lines[0] = json.dumps({**row, "tuned": row["references"][0]})
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = {**stored.record.files, COMPLETIONS: file_digest(file)}
    forged = Stored(stored.record.model_copy(update={"files": files}), stored.folder)
    result = verify(forged)
    assert not result.reproduces
    assert next(row for row in result.rescored if row.row == "tuned").differing == 12
    assert result.reanswered[0].equal == 39


def test_a_sample_is_the_same_every_time_and_in_order() -> None:
    stored = finished(LORA)
    places = Questions.of(stored, 7).places
    assert places == Questions.of(stored, 7).places == tuple(sorted(places))
    assert len(set(places)) == 7
    assert set(places) <= set(Questions.of(stored, 9).places)


def test_verify_tells_its_verdict_and_exits_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run_verb(["verify", finished(LORA).record.id, "--out", str(folder()), "--sample", "5", "--json"]) == 0
    )
    data = json.loads(capsys.readouterr().out)
    assert data["verdict"] == "reproduces word for word"
    assert data["reanswered"][0]["answers"] == 5


def test_ask_shows_both_sides_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    row = finished(LORA).completions[0]
    assert run_verb(["ask", finished(LORA).record.id, row["question"], "--out", str(folder())]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"base:\s+" + re.escape(row["base"]), shown)
    assert re.search(r"tuned:\s+" + re.escape(row["tuned"]), shown)


def test_ask_reads_a_question_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = finished(LORA).completions[:2]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(row["question"] for row in rows) + "\n\n"))
    words = ["ask", finished(LORA).record.id, "--side", "tuned", "--json", "--out", str(folder())]
    assert run_verb(words) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["tuned"] for answer in answers] == [row["tuned"] for row in rows]


@pytest.mark.parametrize(("words", "why"), [([" "], "is empty"), (["x" * 100_001], "at most 100,000")])
def test_ask_refuses_what_is_no_question(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["ask", "gpt2", *words, "--out", str(folder())]) == 2
    assert why in capsys.readouterr().err
