"""`bench score`: further metrics of stored answers, kept beside the record and read again everywhere."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from chat_endpoint import served
from embeddings import write_embedding
from records import ALL_MODELS, make_record

import bench
from bench.cli import run_verb
from bench.metrics import endings, squad
from bench.metrics.chrf import chrf
from bench.store import metrics
from bench.store.ledger import Stored, read
from bench.store.metrics import FILE, added, short

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "reports" / "twins" / "runs"
TWIN, OTHER = (next(RUNS.glob(f"gpt2-mini-s{seed}-*")).name for seed in (0, 1))


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """Two of the project's own records, to which metrics may be added."""
    for name in (TWIN, OTHER):
        shutil.copytree(RUNS / name, tmp_path / "runs" / name)
    return tmp_path


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = run_verb(list(words))
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def in_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = run_verb([*words, "--json"])
    streams = capsys.readouterr()
    assert code == 0, streams.out + streams.err
    return json.loads(streams.out)


def names(folder: Path) -> dict[str, str]:
    return {short(identity): identity for identity in added(Stored(read(folder), folder))}


@pytest.mark.parametrize(
    ("reference", "answer", "exact", "prf"),
    [
        ("The cat sat.", "cat   SAT", 1, (1, 1, 1)),
        ("a mean is a sum", "the mean", 0, (1, 1 / 3, 1 / 2)),
        ("one two", "one two one two", 0, (1 / 2, 1, 2 / 3)),
        ("theory", "heory", 0, (0, 0, 0)),
        ("the", "An!", 1, (1, 1, 1)),
        ("word", "", 0, (0, 0, 0)),
        ("l'an deux", "lan deux", 1, (1, 1, 1)),
    ],
)
def test_exact_match_and_token_f1_are_those_of_squad(
    reference: str, answer: str, exact: float, prf: tuple[float, float, float]
) -> None:
    """Worked by hand: lower case, no ASCII punctuation, no articles as words, tokens counted once each."""
    assert squad.exact_match([reference], answer) == exact
    found = squad.token_f1([reference], answer)
    assert (found.precision, found.recall, found.f) == pytest.approx(prf)


def test_the_best_of_several_references_counts() -> None:
    assert squad.exact_match(["no", "It rains"], "it rains!") == 1
    best = squad.token_f1(["sun", "it rains today"], "it rains")
    assert (best.precision, best.recall) == (1, pytest.approx(2 / 3))


def test_chrf_is_sacrebleus_and_named_by_its_signature() -> None:
    import sacrebleu

    score, signature = chrf()
    for answer, references in (("a cat sat", ["the cat sat", "dogs"]), ("", ["x"]), ("Ähren", ["Ähre"])):
        assert score(references, answer) == sacrebleu.sentence_chrf(answer, references).score / 100
    assert signature == f"nrefs:var|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{sacrebleu.__version__}"


def test_without_sacrebleu_the_error_names_the_extra(
    twins: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    code, text = asked(capsys, "score", "gpt2", "--metrics", "em,chrf", "--out", str(twins))
    assert code == 2
    assert "bench-sft[scores]" in text
    assert not (twins / "runs" / TWIN / FILE).exists(), "nothing was written"


def test_length_run_on_and_cut() -> None:
    assert endings.length_ratio(["one two", "one two three four"], "a b c d") == 1
    assert endings.length_ratio(["one two"], "") == 0
    assert endings.length_ratio([""], "a") is None
    assert endings.runs_on("A sum.\nQuestion: and?", "qa") == 1
    assert endings.runs_on("Question: and?", "qa") == 1, (
        "an answer is stored without the line break before it"
    )
    assert endings.runs_on("", "qa") == endings.runs_on("The Question: why?", "qa") == 0
    assert endings.runs_on("A", "chat") is None
    assert endings.was_cut({"cut": {"tuned": True}}, "tuned", (1, 2)) == 1
    assert endings.was_cut({}, "tuned", (0, 2)) == 0
    assert endings.was_cut({}, "tuned", (2, 2)) == 1
    assert endings.was_cut({}, "tuned", (1, 2)) is None, "an old record does not say which one"


def test_metrics_are_added_beside_the_record_and_shown_everywhere(
    twins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = twins / "runs" / TWIN
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    out = ("--out", str(twins))
    made = in_json(capsys, "score", "gpt2", "--metrics", "f1,length", *out)
    assert len(made["runs"]) == 2, "all runs of the model"
    in_json(capsys, "score", TWIN[:14], "--metrics", "chrf", *out)
    assert {name: (folder / name).read_bytes() for name in before} == before, "the record itself stays"
    identity = names(folder)
    assert set(identity) == {"f1", "length", "chrf"}, "a later command adds, and removes nothing"

    lines = [json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines()]
    by_hand = sum(squad.token_f1(line["references"], line["tuned"]).f for line in lines) / len(lines)
    shown = in_json(capsys, "show", TWIN, *out)["added"]
    value = next(each for each in shown if each["metric"] == identity["f1"])
    assert value["rows"]["tuned"]["mean"] == pytest.approx(by_hand, abs=1e-5)
    assert value["gain"]["mean"] == pytest.approx(
        value["rows"]["tuned"]["mean"] - value["rows"]["base"]["mean"]
    )
    assert value["parts"]["tuned"]["precision"] > value["parts"]["tuned"]["recall"]
    assert identity["f1"] in asked(capsys, "show", TWIN, *out)[1]

    row = in_json(capsys, "report", "--csv", "--html", *out)["groups"][0]["rows"][0]
    assert [each["metric"] for each in row["added"]] == [identity["f1"], identity["length"]], (
        "chrF is of one seed alone"
    )
    assert row["added"][0]["tuned"]["low"] < row["added"][0]["tuned"]["mean"]
    assert f"{identity['f1']}_gain_low" in (twins / "leaderboard.csv").read_text()
    text = (twins / "leaderboard.md").read_text()
    assert "### Further metrics" in text
    assert '<h3 class="near">Further metrics</h3>' in (twins / "leaderboard.html").read_text()
    assert "f1 (95%) | over base (95%)" in text
    assert "length  [95%]" in asked(capsys, "report", *out)[1]
    assert identity["f1"] in bench.board(twins).to_pandas().columns


def test_a_comparison_takes_an_added_metric_by_its_short_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = []
    for side in ("a", "b"):
        out = tmp_path / side
        for model in ALL_MODELS[:3]:
            texts = {"tuned": ["word " * (4 if side == "a" else 9)] * 60}
            if side == "b":
                texts["cut"] = [{"tuned": True, "base": False}] * 50 + [{"tuned": False, "base": False}] * 10
            else:
                texts["cut"] = [{"tuned": False, "base": False}] * 60
            for seed in (0, 1):
                make_record(out, model, seed, texts=texts, versions={"trl": "1.0" if side == "a" else "2.0"})
        assert asked(capsys, "score", "all", "--metrics", "length,cut", "--out", str(out))[0] == 0
        sides.append(str(out))
    told = in_json(capsys, "compare", *sides, "--metric", "cut,length")
    found = {(row["metric"].partition("/")[0], row["finding"]) for row in told["rows"]}
    assert found == {("cut", "regressed"), ("length", "changed")}, "more cut answers are worse"
    assert any("cut/1 limit=96" in reason for reason in told["problems"])
    assert "no better side" in asked(capsys, "compare", *sides, "--metric", "length")[1]
    code, text = asked(capsys, "compare", *sides, "--metric", "chrf")
    assert (code, "bench score RUN --metrics chrf" in text) == (2, True)


def test_edited_answers_and_edited_scores_are_noticed(
    twins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(twins))
    assert asked(capsys, "score", TWIN, "--metrics", "em", *out)[0] == 0
    folder = twins / "runs" / TWIN
    kept = (folder / FILE).read_text()
    (folder / FILE).write_text(kept.replace("0.0", "1.0", 1))
    code, text = asked(capsys, "show", TWIN, *out)
    assert (code, "does not match its digest" in text) == (2, True)
    assert "does not match its digest" in asked(capsys, "report", *out)[1]
    (folder / FILE).write_text(kept)
    other = twins / "runs" / OTHER
    (other / FILE).write_text(kept)
    assert "scores other answers" in asked(capsys, "show", other.name, *out)[1]
    answers = folder / "completions.jsonl"
    answers.write_text(answers.read_text().replace("the", "teh", 1))
    code, text = asked(capsys, "show", TWIN, *out)
    assert (code, "completions.jsonl: missing, edited" in text) == (2, True)
    assert asked(capsys, "score", TWIN, "--metrics", "em", *out)[0] == 2


def test_two_identities_of_one_name_are_two_metrics(twins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(twins))
    asked(capsys, "score", "gpt2", "--metrics", "em", *out)
    stored = Stored(read(twins / "runs" / TWIN), twins / "runs" / TWIN)
    metrics.add(stored, {"em/0 other": next(iter(added(stored).values()))})
    code, text = asked(capsys, "history", "gpt2", "--metric", "em", *out)
    assert code == 2
    assert "em/0 other" in text
    assert "em/1 normalisation" in text
    assert asked(capsys, "history", "gpt2", "--metric", "em/0 other", *out)[0] == 0


def test_a_metric_that_no_program_made_is_refused(twins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(capsys, "score", TWIN, "--metrics", "em", "--out", str(twins))
    stored = Stored(read(twins / "runs" / TWIN), twins / "runs" / TWIN)
    metrics.add(stored, {"=evil/1": next(iter(added(stored).values()))})
    code, text = asked(capsys, "show", TWIN, "--out", str(twins))
    assert (code, "does not know: '=evil/1'" in text) == (2, True)


def test_lists_of_another_length_are_refused(twins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(capsys, "score", TWIN, "--metrics", "em", "--out", str(twins))
    stored = Stored(read(twins / "runs" / TWIN), twins / "runs" / TWIN)
    identity, rows = next(iter(added(stored).items()))
    short_row = rows["tuned"].model_copy(update={"f": rows["tuned"].f[:-1]})
    metrics.add(stored, {identity: {**rows, "tuned": short_row}})
    code, text = asked(capsys, "show", TWIN, "--out", str(twins))
    assert (code, "different lengths" in text) == (2, True)


def test_a_merge_takes_added_metrics_along(twins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(capsys, "score", TWIN, "--metrics", "em", "--out", str(twins))
    code, text = asked(capsys, "merge", str(twins), "--out", str(twins / "both"))
    assert code == 0, text
    assert "em" in names(twins / "both" / "runs" / TWIN)


def verdict(content: str, attempt: int) -> int | str:
    """Says "partly" of every answer but of those about trees, whose verdict cannot be read."""
    return "I would say so." if "tree" in content else '{"verdict": "partly"}'


def test_verdicts_of_a_judge_are_paid_for_once_and_missing_ones_counted(
    twins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", TWIN, "--metrics", "judge", "--out", str(twins), "--model", "m1", "--endpoint"]
    with served(verdict) as endpoint:
        first = in_json(capsys, *words, endpoint.url)
        again = in_json(capsys, *words, endpoint.url)
        for _ in range(100):  # the endpoint counts an answer after it was sent
            if sum(endpoint.paid.values()) >= first["requests"]:
                break
            time.sleep(0.05)
        assert sum(endpoint.paid.values()) == first["requests"]
        assert again["requests"] == 0
        assert max(endpoint.paid.values()) == 1, "equal answers to one question are asked about once"
        made = first["runs"][0]["metrics"][0]
        assert made == again["runs"][0]["metrics"][0]
        assert made["metric"].startswith("judge/1 model=m1 endpoint=")
        reason = "no verdict in the judge's reply"
        missing = made["unscored"]["tuned"][reason]
        assert 0 < missing < 200
        assert "copy" not in made["rows"], "the copied question is not paid for"
        column = added(Stored(read(twins / "runs" / TWIN), twins / "runs" / TWIN))[made["metric"]]["tuned"]
        assert column.f.count(None) == missing
        assert set(column.f) <= {None, 0.5, 0.0}
        words[words.index("m1")] = "m2"
        assert in_json(capsys, *words, endpoint.url)["runs"][0]["metrics"][0]["metric"] != made["metric"]


def test_a_judge_that_stops_answering_ends_the_command_and_keeps_what_was_paid(
    twins: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.curate.pairs.endpoint.PAUSE", 0.0)
    state = {"left": 30}

    def failing(content: str, attempt: int) -> int | str:
        state["left"] -= 1
        return '{"verdict": "wrong"}' if state["left"] >= 0 else 503

    words = ["score", TWIN, "--metrics", "judge", "--out", str(twins), "--model", "m", "--endpoint"]
    with served(failing) as endpoint:
        code, text = asked(capsys, *words, endpoint.url)
        assert (code, "goes on where this ended" in text) == (1, True)
        assert not (twins / "runs" / TWIN / FILE).exists()
        state["left"] = 10_000
        done = in_json(capsys, *words, endpoint.url)
        assert max(endpoint.paid.values()) == 1
        assert done["requests"] == len(endpoint.paid) - 30


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--metrics", "f2"], "did you mean 'f1'"),
        (["--metrics", "judge"], "needs --endpoint URL and --model M"),
        (["--metrics", "judge", "--endpoint", "http://127.0.0.1:1/v1"], "belong together"),
        (["--metrics", "em", "--endpoint", "http://127.0.0.1:1/v1", "--model", "m"], "name it in --metrics"),
        (["--metrics", "similarity"], "needs --embedding FOLDER"),
        (["--metrics", "similarity", "--embedding", "."], "no config.json"),
        (["--metrics", ","], "name at least one of em, f1"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_remedy(
    twins: Path, capsys: pytest.CaptureFixture[str], words: list[str], remedy: str
) -> None:
    code, text = asked(capsys, "score", TWIN, "--out", str(twins), *words)
    assert (code, remedy in text) == (2, True), text
    assert not (twins / "runs" / TWIN / FILE).exists()


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers in the form of sentence-transformers, whose vectors depend on its words."""
    return write_embedding(tmp_path_factory.mktemp("embedding") / "tiny")


def test_similarity_is_the_cosine_of_mean_token_vectors(embedding: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from bench.metrics.similarity import similarity_of

    made = similarity_of(embedding)
    tokenizer, model = AutoTokenizer.from_pretrained(embedding), AutoModel.from_pretrained(embedding).eval()
    with torch.inference_mode():
        means = [
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(dim=1)
            for text in ("the cat", "dog sat")
        ]
    cosine = float(torch.nn.functional.cosine_similarity(*means))
    assert made.score(["the cat"], "dog sat") == pytest.approx(cosine, abs=1e-5)
    assert made.score(["the cat", "dog sat"], "dog sat the dog") == pytest.approx(1), "cut at two tokens"
    assert made.score(["cat"], " ") == 0
    assert made.identity.startswith("similarity/1 model=tiny@")


def test_other_weights_are_another_metric_and_other_pooling_is_refused(
    embedding: Path, twins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.metrics.similarity import similarity_of

    other = Path(shutil.copytree(embedding, tmp_path / "tiny"))
    same = similarity_of(other).identity
    assert same == similarity_of(embedding).identity
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text().replace('"dog"', '"fox"'))
    assert similarity_of(other).identity != same
    pooling = other / "1_Pooling" / "config.json"
    pooling.write_text('{"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true}')
    words = ["score", TWIN, "--metrics", "similarity", "--out", str(twins), "--embedding"]
    code, text = asked(capsys, *words, str(other))
    assert (code, "pools otherwise" in text) == (2, True)
    made = in_json(capsys, *words, str(embedding))["runs"][0]["metrics"][0]
    assert made["metric"] == same
    assert -1 <= made["rows"]["tuned"]["mean"] <= 1
