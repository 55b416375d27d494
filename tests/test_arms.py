"""To tune or to retrieve: what an index finds, prompts made of it, and the arms of a run side by side."""

from __future__ import annotations

import json
import re
from importlib import metadata
from math import log
from pathlib import Path
from typing import Any

import pytest
from records import make_contract, make_record, make_run

from bench.cli import run_verb
from bench.errors import DataError
from bench.harness import PACKAGE, harness
from bench.prompt import render
from bench.retrieval.arms import Arms, arms_of, check_apart, indexed_rows
from bench.retrieval.contexts import filled, row_text
from bench.retrieval.index import IDENTITY, RowIndex
from bench.retrieval.recall import Overlap, recall
from bench.run.identity import Run
from bench.spec import Example, Retrieval
from bench.store.ledger import Ledger, Stored

ARMS = Retrieval(arms=("retrieved", "both"), retriever=IDENTITY, rows=3)


def example(id: str, question: str, *answers: str, context: str = "") -> Example:
    return Example(id=id, question=question, answers=answers or ("It is.",), context=context, group=id)


ROWS = [
    example("tree", "What is a decision tree?", "A model that asks questions in turn."),
    example("rate", "What is the learning rate?", "The size of a step of the optimizer."),
    example("prune", "Why are trees pruned?", "Pruned trees overfit less."),
    example("дом", "Где дом?", "Дом там."),
    example("twin", "What is the learning rate?", "The size of a step of the optimizer."),
]


def words_of(example: Example) -> int:
    return len(render(example, "qa").split())


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("How does pruning a tree work?", ["prune", "tree"]),
        ("optimizer", ["rate", "twin"]),
        ("дом", ["дом"]),
        ("zebra?", []),
        ("", []),
    ],
)
def test_the_index_finds_rows_by_the_stems_of_question_and_answer(question: str, found: list[str]) -> None:
    """Equally good rows come in their order, and a row without a word of the question never comes."""
    index = RowIndex(ROWS)
    assert [index.rows[place].id for place in index.search(question, 2)] == found


def test_overlap_weighs_words_by_their_rarity() -> None:
    rows = [example("a", "?", "red house"), example("b", "?", "red tree"), example("c", "?", "red red")]
    red, house = log(4 / 4), log(4 / 2)
    assert red == 0, "a word of all answers says nothing"
    values = Overlap(RowIndex(rows)).of(["house boat"])
    most = log(4)  # a word of no answer
    assert values.tolist() == pytest.approx([2 * house / (house + house + most), 0, 0])
    assert Overlap(RowIndex(rows)).of(["none", "red house"])[0] == 1, "the best reference counts"


def test_recall_is_of_the_questions_that_a_training_answer_would_help() -> None:
    index = RowIndex(ROWS)
    tests = [
        example("1", "x", "the size of a step"),
        example("2", "x", "Pruned trees overfit less."),
        example("3", "x", "wholly unrelated zebra words"),
    ]
    found = recall(index, tests, [[4], [0], [0, 1, 2]])
    assert (found.value, found.questions) == (0.5, 2), "either of two equal rows will do; the third has none"
    assert recall(index, tests[2:], [[0]]).value is None


def test_whole_rows_fill_a_context_as_long_as_they_fit() -> None:
    asked = example("q", "What is a tree?", context="My notes.")
    everything = filled(asked, ROWS[:3], 10_000, words_of)
    assert everything.rows == ("tree", "rate", "prune")
    assert everything.example.context == "\n\n".join(["My notes.", *map(row_text, ROWS[:3])])
    assert not everything.short
    two = words_of(filled(asked, ROWS[:2], 10_000, words_of).example)
    some = filled(asked, ROWS[:3], two, words_of)
    assert (some.rows, some.short) == (("tree", "rate"), True)


@pytest.mark.parametrize("room", range(1, 26))
def test_a_context_is_cut_and_never_the_question(room: int) -> None:
    asked = example("q", "What is a tree?")
    least = words_of(asked)
    made = filled(asked, ROWS[:3], room, words_of)
    assert made.example.question == asked.question
    assert words_of(made.example) <= max(room, least)
    if room > least + 1:
        assert made.rows == ("tree",)
        assert row_text(ROWS[0]).startswith(made.example.context)


def test_no_test_example_and_no_paraphrase_of_one_is_ever_indexed() -> None:
    check_apart(ROWS[:2], ROWS[2:4])
    with pytest.raises(DataError, match="'tree' is, or paraphrases, a test example"):
        check_apart(ROWS, [example("other", "?", "?"), ROWS[0]])
    paraphrase = Example(id="new", question="Trees?", answers=("x",), group="tree")
    with pytest.raises(DataError, match="'tree'"):
        check_apart(ROWS, [paraphrase])


@pytest.fixture(scope="module")
def arms() -> tuple[Arms, Run, Any]:
    """The arms of a twin on 30 test questions of course-qa, in prompts of 192 tokens."""
    from runs import course, mini_run, prompts
    from transformers import AutoTokenizer

    run, folder = mini_run("gpt2")
    contract = run.contract.model_copy(update={"retrieval": ARMS, "max_length": 192})
    run = run.model_copy(update={"contract": contract})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    selection = course(limit=30)

    class Only:
        pass

    loaded = Only()
    loaded.tokenizer = tokenizer  # type: ignore[attr-defined]
    made = arms_of(run, tokenizer, selection, prompts(run, loaded, selection.eval))  # type: ignore[arg-type]
    assert made is not None
    return made, run, tokenizer


def test_a_test_question_among_the_training_rows_stops_the_arms(arms: tuple[Arms, Run, Any]) -> None:
    from dataclasses import replace

    from runs import course

    _, run, tokenizer = arms
    sound = course(limit=30)
    leaking = replace(sound, train=(*sound.train, sound.eval[0]))
    with pytest.raises(DataError, match=f"'{sound.eval[0].id}' is, or paraphrases, a test example"):
        arms_of(run, tokenizer, leaking, [[0]] * 30)


def test_prompts_of_arms_hold_training_rows_and_the_whole_question(arms: tuple[Arms, Run, Any]) -> None:
    from runs import course

    made, run, tokenizer = arms
    selection = course(limit=30)
    train = {each.id for each in selection.train}
    room = run.contract.max_length - run.contract.decoding.max_new_tokens
    assert made.facts.index_rows == len(train)
    assert made.facts.short > 0, "192 tokens do not hold three rows"
    for asked, context, ids in zip(selection.eval, made.contexts, made.prompts, strict=True):
        assert len(ids) <= room
        text = tokenizer.decode(ids)
        assert text.endswith(render(asked, "qa")), "the question and the cue stand at the end, uncut"
        assert text.startswith("Context:" if context.rows else "Question:")
        assert set(context.rows) <= train
        assert not any(answer in context.example.context for answer in asked.answers)
    assert made.facts.context_tokens > 20


def test_the_contract_names_arms_only_where_they_are_asked_for() -> None:
    plain, asked = make_contract(), make_contract(retrieval=ARMS)
    assert "retrieval" not in plain.model_dump(mode="json"), "so that earlier runs keep their ids"
    assert plain.digest != asked.digest
    assert make_run(contract=plain).id != make_run(contract=asked).id
    assert plain.differences(asked)["retrieval"] == ("no arms", f"retrieved and both, 3 rows by {IDENTITY}")
    assert "arms with training rows" in asked.in_words()
    assert "arms" not in plain.in_words()
    assert type(asked).model_validate(asked.model_dump(mode="json")) == asked
    assert (
        make_run(contract=asked).digest
        != make_run(contract=make_contract(retrieval=ARMS.model_copy(update={"rows": 2}))).digest
    )


def test_code_that_retrieves_counts_only_for_runs_that_do(tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(PACKAGE, tmp_path / "bench", ignore=shutil.ignore_patterns("_registry")))
    file = copy / "retrieval" / "index.py"
    file.write_text(file.read_text().replace("K1, B = 1.5", "K1, B = 1.2"))
    assert harness(copy) == harness()
    assert harness(copy, retrieval=True) != harness(retrieval=True)


def planned(capsys: pytest.CaptureFixture[str], out: Path, *words: str) -> Any:
    code = run_verb(["plan", "--models", "gpt2", "--out", str(out), *words, "--json"])
    streams = capsys.readouterr()
    return code, json.loads(streams.out)


def test_a_plan_knows_arms_and_the_default_is_as_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, default = planned(capsys, tmp_path)
    assert planned(capsys, tmp_path, "--arms", "tuned")[1]["runs"] == default["runs"]
    code, asked = planned(capsys, tmp_path, "--arms", "both,tuned,retrieved", "--rows", "5")
    assert code == 0
    assert asked["contract"]["retrieval"] == {"arms": ["retrieved", "both"], "retriever": IDENTITY, "rows": 5}
    assert asked["runs"][0]["id"] != default["runs"][0]["id"]
    for words, remedy in (
        (("--arms", "retrieve"), "did you mean 'retrieved'?"),
        (("--arms", "both", "--embedding", "."), "add --retriever dense"),
        (("--arms", "both", "--retriever", "dense", "--embedding", "."), "has no config.json"),
        (("--retriever", "dense"), "add --arms retrieved"),
    ):
        code, told = planned(capsys, tmp_path, *words)
        assert (code, remedy in told["message"]) == (2, True), told

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("bench.retrieval.index.metadata.version", absent)
    code, told = planned(capsys, tmp_path, "--arms", "retrieved")
    assert (code, "pip install 'bench-sft[retrieval]'" in told["message"]) == (2, True)


def test_a_difference_in_arms_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_record(tmp_path / "a")
    make_record(tmp_path / "b", contract=make_contract(retrieval=ARMS))
    sides = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert run_verb(["compare", *sides]) == 2
    assert "retrieval: no arms | retrieved and both, 3 rows by bm25" in capsys.readouterr().err
    assert run_verb(["explain", *sides, "--records-only"]) == 0
    assert "retrieval no arms" in " ".join(capsys.readouterr().out.split())
    other = make_record(tmp_path / "c", versions={"trl": "9.0"})
    assert other.record.retrieved is None
    assert run_verb(["compare", sides[0], str(tmp_path / "c"), "--arm", "both"]) == 2
    assert "has no arm 'both'; bench run --arms both" in capsys.readouterr().err


OPTIONS = ["--budget", "1x8", "--eval-limit", "8", "--force", "--max-new-tokens", "8"]


@pytest.fixture(scope="module")
def run_with_arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("arms")
    words = ["run", "--models", "gpt2", *OPTIONS, "--arms", "retrieved,both", "--out", str(out)]
    assert run_verb(words) == 0
    return out


def only(out: Path) -> Stored:
    (stored,), messages = Ledger(out).load()
    assert messages == []
    return stored


def test_a_run_leaves_answers_and_scores_of_every_arm(run_with_arms: Path) -> None:
    stored = only(run_with_arms)
    record = stored.record
    assert set(record.scores) == {"tuned", "base", "retrieved", "both", "copy", "nearest"}
    assert set(record.written) == {"tuned", "base", "retrieved", "both"}
    assert record.run.versions["bm25s"] == metadata.version("bm25s")
    assert {"retrieve", "generate retrieved", "generate both"} <= set(record.spent.seconds)
    assert record.retrieved is not None
    assert record.retrieved.index_rows == record.data.selected["train"]
    texts = {row: [line[row] for line in stored.completions] for row in record.written}
    assert texts["retrieved"] != texts["base"]
    assert texts["both"] != texts["tuned"]
    assert all(len(line["retrieved_rows"]) <= 3 for line in stored.completions)
    assert any(line["retrieved_rows"] for line in stored.completions)
    for row, written in record.written.items():
        assert sum(line["cut"][row] for line in stored.completions) == written.truncated
    assert len(list((run_with_arms / ".untuned").glob("*.json"))) == 2, "a further seed takes both from here"


def test_board_and_page_show_the_arms_side_by_side(
    run_with_arms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = only(run_with_arms).record
    assert run_verb(["report", "--out", str(run_with_arms), "--html", "--json"]) == 0
    arms = json.loads(capsys.readouterr().out)["groups"][0]["rows"][0]["arms"]
    gap = record.scores["tuned"]["rougeL"].mean - record.scores["retrieved"]["rougeL"].mean
    assert arms["differences"]["tuned over retrieved"]["mean"] == pytest.approx(gap)
    assert arms["retrieved"]["mean"] == pytest.approx(record.scores["retrieved"]["rougeL"].mean)
    assert set(arms["differences"]) == {
        "tuned over retrieved",
        "both over tuned",
        "both over retrieved",
        "retrieved over base",
    }
    text = (run_with_arms / "leaderboard.md").read_text()
    assert "### To tune or to retrieve" in text
    assert "tuning over retrieval" in text
    assert "recall@3" in text
    assert "tokens more in a prompt" in text
    page = (run_with_arms / "leaderboard.html").read_text()
    assert '<h3 class="near">To tune or to retrieve</h3>' in page
    assert "tuning over retrieval (95%)" in page
    for verb in (["report"], ["show", "gpt2"]):
        assert run_verb([*verb, "--out", str(run_with_arms)]) == 0
        told = capsys.readouterr().out
        assert "To tune or to retrieve" in told
        assert re.search(r"index \d+\.\d", told)
        assert max(map(len, told.splitlines())) <= 100 or "written" in told


def test_an_arm_is_compared_and_scored_further(
    run_with_arms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    side = str(run_with_arms)
    assert run_verb(["compare", side, side, "--arm", "both", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["a"] == pytest.approx(only(run_with_arms).record.scores["both"]["rougeL"].mean)
    assert run_verb(["score", "gpt2", "--metrics", "f1,cut", "--out", side, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["runs"][0]["metrics"]
    assert set(made[0]["rows"]) == {"tuned", "base", "retrieved", "both", "copy"}
    written = only(run_with_arms).record.written
    for row, value in made[1]["rows"].items():
        assert value["mean"] == pytest.approx(written[row].truncated / 8)
    assert made[1]["unscored"] == {}


@pytest.mark.slow
def test_the_untuned_arm_is_of_the_untuned_model_whatever_is_trained(tmp_path: Path) -> None:
    """A fully tuned model answers it before training, one with an adapter after it: to the same letter."""
    words = ["run", "--models", "gpt2", "--methods", "full,lora", *OPTIONS, "--arms", "retrieved"]
    assert run_verb([*words, "--out", str(tmp_path), "--jobs", "1"]) == 0
    stored, _ = Ledger(tmp_path).load()
    assert {each.record.run.recipe.method for each in stored} == {"full", "lora"}
    texts = [[line["retrieved"] for line in each.completions] for each in stored]
    assert texts[0] == texts[1]
    assert all("both" not in each.record.scores for each in stored)


def passage_of(row: Example, text_of: str) -> Example:
    return Example(id=f"p-{row.id}", question="", answers=(text_of,), group=row.group)


def test_recall_counts_the_passage_that_a_question_was_made_from() -> None:
    """By its group; the other questions are judged by what their references say, as ever."""
    asked = [example("a", "How long is the river?", "Nine miles."), example("b", "x", "the size of a step")]
    index = RowIndex([*ROWS, passage_of(asked[0], "The river is long."), passage_of(ROWS[0], "Trees ask.")])
    own = len(ROWS)
    quality = recall(index, asked, [[0, own], [1]])
    assert (quality.value, quality.questions, quality.by_passage) == (1.0, 2, 1)
    missed = recall(index, asked, [[0, own + 1], [1]])
    assert (missed.value, missed.questions) == (0.5, 2)


def test_passages_are_indexed_beside_the_rows_and_instead_of_text() -> None:
    from dataclasses import replace

    from runs import course

    held = course(limit=30)
    passages = (passage_of(held.eval[0], "A passage that answers a test question."),)
    assert indexed_rows(held) == held.train
    assert indexed_rows(replace(held, passages=passages)) == (*held.train, *passages)
    assert indexed_rows(replace(held, train=passages, passages=passages)) == passages
    assert row_text(passages[0]) == "A passage that answers a test question."


RIVERS = [
    f"River number {n * 7919} is a stream in the hills of province {n * 31 + 5}, which drives {n + 3} mills."
    for n in range(60)
]


@pytest.fixture
def rivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set that `bench data make` made of notes, one passage a river."""
    monkeypatch.chdir(tmp_path)
    notes = "\n\n".join(f"## River {place}\n\n{text}" for place, text in enumerate(RIVERS))
    Path("notes.md").write_text(notes)
    assert run_verb(["data", "make", "rivers", "--from", "notes.md"]) == 0
    return tmp_path


def test_made_data_names_its_passages_and_arms_retrieve_them(
    rivers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are part of the contract of arms, and of no other; what is trained on never holds a test row."""
    from bench import registry
    from bench.data import prepare
    from bench.run.job import read_selection

    spec = registry.find_dataset("rivers")
    assert Path(str(spec.passages)) == (rivers / "passages" / "rivers.source.jsonl").resolve()
    words = ["--train", "rivers", "--eval-limit", "12"]
    _, plain = planned(capsys, rivers / "out", *words)
    _, asked = planned(capsys, rivers / "out", *words, "--arms", "retrieved")
    searched = prepare.passages(spec)
    assert searched is not None
    assert asked["contract"]["retrieval"]["passages"] == prepare.reference(searched).digest
    text = (rivers / "datasets" / "rivers.toml").read_text()
    (rivers / "datasets" / "rivers.toml").write_text(
        "".join(line for line in text.splitlines(keepends=True) if not line.startswith("passages"))
    )
    assert planned(capsys, rivers / "out", *words)[1]["runs"] == plain["runs"]
    _, without = planned(capsys, rivers / "out", *words, "--arms", "both")
    assert "passages" not in without["contract"]["retrieval"]
    (rivers / "datasets" / "rivers.toml").write_text(text)
    run = ["run", "--models", "gpt2", *words, *OPTIONS[:2], *OPTIONS[4:], "--force", "--budget", "0x8"]
    assert run_verb([*run, "--scale", "mini", "--arms", "retrieved", "--out", "out"]) == 0
    board = " ".join(capsys.readouterr().out.split())
    stored = only(Path("out"))
    facts = stored.record.retrieved
    assert facts is not None
    assert (facts.index_passages, facts.recall_passages, facts.recall_questions) == (60, 12, 12)
    assert facts.index_rows == stored.record.data.selected["train"]
    assert facts.recall is not None
    assert facts.recall > 0.9, "every river has a number of its own"
    assert f"{facts.index_rows} training rows and 60 passages: recall@3" in board
    chosen = read_selection(next((Path("out") / ".work").glob("selection-*.json")))
    passages = {each.id for each in chosen.passages}
    trained = {each.id for each in chosen.train}
    tested = {each.id for each in chosen.eval}
    found = [set(line["retrieved_rows"]) for line in stored.completions]
    assert all(rows <= passages | trained and not rows & tested for rows in found)
    assert any(rows & passages for rows in found)
