"""Other harnesses' samples: read in their true format, paired by document, judged as every comparison is."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import stats
from bench.cli import run_verb
from bench.store.samples import Key, read_samples

N = 120
DRAW = np.random.default_rng(7)
BASE = (DRAW.random(N) < 0.5).astype(float)
#: A quarter of the wrong answers put right, and none the other way round.
BETTER = np.where((BASE == 0) & (DRAW.random(N) < 0.5), 1.0, BASE)
DATE = "2026-10-05T09-12-44.318211"


def lm_eval(
    folder: Path,
    values: Sequence[float],
    task: str = "arc_easy",
    metrics: Sequence[str] = ("acc",),
    filtered: str = "none",
    ids: Sequence[int] | None = None,
    date: str = DATE,
    texts: Callable[[int], str] = "question {}".format,
) -> Path:
    """A file as `lm_eval --log_samples` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"samples_{task}_{date}.jsonl"
    with file.open("a", encoding="utf-8") as handle:
        for id, value in zip(ids or range(len(values)), values, strict=True):
            text = texts(id)
            row = {
                "doc_id": id,
                "doc": {"question": text, "choices": ["a", "b"]},
                "target": "1",
                "arguments": {"gen_args_0": {"arg_0": text, "arg_1": " a"}},
                "resps": [[["-1.5", "False"]]],
                "filtered_resps": [["-1.5", "False"]],
                "filter": filtered,
                "metrics": list(metrics),
                "doc_hash": f"{abs(hash(text)):064x}",
                "prompt_hash": "0" * 64,
                "target_hash": "1" * 64,
            }
            handle.write(json.dumps(row | dict.fromkeys(metrics, value)) + "\n")
    return file


def sample(id: int | str, value: Any, epoch: int = 1, text: str | None = None) -> dict[str, Any]:
    asked = [{"id": f"message-{value}-{epoch}", "role": "user", "content": text or f"question {id}"}]
    return {
        "id": id,
        "epoch": epoch,
        "input": asked,
        "target": "Paris",
        "messages": [],
        "output": {"model": "mockllm/model", "choices": []},
        "scores": {"match": {"value": value, "answer": "Paris", "history": []}},
        "metadata": {},
        "store": {},
    }


def inspect(
    file: Path, samples: list[dict[str, Any]], status: str = "success", task: str = "capitals"
) -> Path:
    """A log as inspect_ai writes it, by the file's suffix."""
    head = {
        "version": 2,
        "status": status,
        "eval": {
            "task": task,
            "task_id": "x",
            "model": "mockllm/model",
            "dataset": {"samples": len(samples)},
        },
        "plan": {"name": "plan", "steps": []},
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": []},
    }
    if file.suffix == ".json":
        file.write_text(json.dumps({**head, "samples": samples}))
        return file
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": head["eval"], "plan": {}}))
        for each in samples:
            archive.writestr(f"samples/{each['id']}_epoch_{each['epoch']}.json", json.dumps(each))
        archive.writestr("summaries.json", "[]")
        archive.writestr("header.json", json.dumps(head))
    return file


def letters(values: Sequence[float]) -> list[dict[str, Any]]:
    return [sample(id, "C" if value else "I") for id, value in enumerate(values, 1)]


def compared(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    code = run_verb(["compare", "--samples", "--json", *map(str, words)])
    output = capsys.readouterr()
    assert code == 0, output.err
    data: dict[str, Any] = json.loads(output.out)
    return data


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert run_verb(["compare", "--samples", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_two_files_of_lm_eval_get_the_statistics_of_every_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = lm_eval(tmp_path / "a", BASE), lm_eval(tmp_path / "b", BETTER)
    (row,) = compared(capsys, a, b)["rows"]
    expected = stats.compare(BASE, BETTER)
    assert (row["task"], row["metric"], row["pairs"]) == ("arc_easy", "acc", N)
    assert row["difference"]["mean"] == pytest.approx(BETTER.mean() - BASE.mean())
    assert row["difference"]["low"] == pytest.approx(expected.interval.low)
    assert row["p"] == pytest.approx(expected.p)
    assert row["finding"] == "improved"
    assert compared(capsys, b, a)["rows"][0]["finding"] == "regressed"
    assert compared(capsys, a, a)["rows"][0]["finding"] == "unchanged"


@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_two_logs_of_inspect_get_the_same(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = inspect(tmp_path / f"a{suffix}", letters(BASE))
    b = inspect(tmp_path / f"b{suffix}", letters(BETTER))
    (row,) = compared(capsys, a, b)["rows"]
    assert (row["task"], row["metric"], row["pairs"]) == ("capitals", "match", N)
    assert row["p"] == pytest.approx(stats.compare(BASE, BETTER).p)
    assert row["finding"] == "improved"


def test_samples_pair_by_id_whatever_their_order_and_the_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = lm_eval(tmp_path / "a", BASE)
    order = list(reversed(range(10, N + 5)))
    values = [BETTER[id] if id < N else 1.0 for id in order]
    b = lm_eval(tmp_path / "b", values, ids=order)
    (row,) = compared(capsys, a, b)["rows"]
    assert (row["pairs"], row["only_a"], row["only_b"]) == (N - 10, 10, 5)
    assert row["difference"]["mean"] == pytest.approx((BETTER[10:] - BASE[10:]).mean())
    assert run_verb(["compare", "--samples", str(a), str(b)]) == 0
    assert "110 documents paired; left out 10 only in A, 5 only in B." in capsys.readouterr().out


@pytest.mark.parametrize("harness", ["lm_eval", "inspect"])
def test_an_id_that_stands_for_another_document_is_no_pair(
    harness: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if harness == "lm_eval":
        a = lm_eval(tmp_path / "a", BASE)
        b = lm_eval(tmp_path / "b", BETTER, texts=lambda id: f"question {id}{'!' if id < 7 else ''}")
    else:
        a = inspect(tmp_path / "a.json", letters(BASE))
        changed = [
            sample(id, "C" if value else "I", text="another" if id < 8 else None)
            for id, value in enumerate(BETTER, 1)
        ]
        b = inspect(tmp_path / "b.json", changed)
    (row,) = compared(capsys, a, b)["rows"]
    assert (row["pairs"], row["other_document"]) == (N - 7, 7)


def test_a_folder_of_lm_eval_holds_tasks_and_filters_and_the_newest_file_of_a_task_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, values in (("a", BASE), ("b", BETTER)):
        folder = tmp_path / side / "org__model"
        lm_eval(folder, 1 - values, date="2026-01-01T00-00-00.000001")
        lm_eval(folder, values, metrics=("acc", "acc_norm"))
        lm_eval(folder, values, task="gsm8k_cot", metrics=("exact_match",), filtered="strict-match")
        lm_eval(folder, BASE, task="gsm8k_cot", metrics=("exact_match",), filtered="flexible-extract")
    data = compared(capsys, tmp_path / "a", tmp_path / "b")
    found = {(row["task"], row["metric"]): row["finding"] for row in data["rows"]}
    assert found == {
        ("arc_easy", "acc"): "improved",
        ("arc_easy", "acc_norm"): "improved",
        ("gsm8k_cot", "exact_match,strict-match"): "improved",
        ("gsm8k_cot", "exact_match,flexible-extract"): "unchanged",
    }
    assert data["rows"][0]["p_adjusted"] > data["rows"][0]["p"]  # Holm over the table
    some = compared(capsys, tmp_path / "a", tmp_path / "b", "--metric", "exact_match")
    assert {row["metric"].partition(",")[0] for row in some["rows"]} == {"exact_match"}


def test_where_lower_is_better_a_fall_is_an_improvement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (
        lm_eval(tmp_path / side, values, metrics=("ter",)) for side, values in (("a", BETTER), ("b", BASE))
    )
    assert compared(capsys, a, b)["rows"][0]["finding"] == "regressed"
    results = {"results": {}, "higher_is_better": {"arc_easy": {"ter": False}}}
    (a.parent / f"results_{DATE}.json").write_text(json.dumps(results))
    (row,) = compared(capsys, a, b)["rows"]
    assert row["finding"] == "improved"
    assert row["difference"]["mean"] == pytest.approx(BASE.mean() - BETTER.mean())
    assert row["difference"]["low"] < row["difference"]["high"] < 0


def test_epochs_are_averaged_and_a_value_in_parts_is_several_metrics(tmp_path: Path) -> None:
    logged = [sample(1, {"form": 1, "fact": 0.5}, 1), sample(1, {"form": 0, "fact": 0.5}, 2)]
    samples = read_samples(str(inspect(tmp_path / "a.eval", logged)))
    assert {key.metric: table["1"].value for key, table in samples.tables.items()} == {
        "match/form": 0.5,
        "match/fact": 0.5,
    }


@pytest.mark.parametrize(
    ("value", "number"),
    [("C", 1.0), ("I", 0.0), ("P", 0.5), ("N", 0.0), (True, 1.0), ("yes", 1.0), ("0.25", 0.25)],
)
def test_values_count_as_inspect_counts_them(value: Any, number: float, tmp_path: Path) -> None:
    samples = read_samples(str(inspect(tmp_path / "a.json", [sample(1, value)])))
    assert samples.tables[Key("capitals", "match")]["1"].value == number


def test_what_has_no_score_is_left_out_and_told_and_never_taken_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    died = {**sample(3, 0), "scores": None, "error": {"message": "out of memory", "traceback": ""}}
    log = inspect(tmp_path / "a.json", [sample(1, "C"), sample(2, float("nan")), died], status="error")
    assert "NaN" in log.read_text()
    samples = read_samples(str(log))
    assert set(samples.tables[Key("capitals", "match")]) == {"1"}
    assert any("1 samples of capitals without a score for match" in line for line in samples.messages)
    assert any("1 samples without any score" in line for line in samples.messages)
    assert any("its status is 'error'" in line for line in samples.messages)
    assert "its status is 'error'" in json.dumps(compared(capsys, log, log))


def test_a_log_in_zstandard_and_in_chunks_is_read(tmp_path: Path) -> None:
    """As inspect_ai writes them today."""
    pytest.importorskip("zipfile_zstd", reason="zipfile-zstd is not installed")
    file = inspect(tmp_path / "a.eval", [])
    with zipfile.ZipFile(file, "a", 93) as archive:
        archive.writestr("samples/1_epoch_1/sample.json", json.dumps(sample(1, "C")))
        archive.writestr("samples/1_epoch_1/messages/0.json", "[]")
        archive.writestr("samples/a/b_epoch_1.json", json.dumps(sample("a/b", "I")))
    values = read_samples(str(file)).tables[Key("capitals", "match")]
    assert {id: held.value for id, held in values.items()} == {"1": 1.0, "a/b": 0.0}


def test_exit_code_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = lm_eval(tmp_path / "a", BETTER), lm_eval(tmp_path / "b", BASE)
    words = ["compare", "--samples", str(a), str(b), "--markdown", str(tmp_path / "it.md")]
    assert run_verb(words) == 0
    assert run_verb([*words, "--fail-on-regression"]) == 1
    assert "regressed" in capsys.readouterr().out
    assert "| arc\\_easy | acc | 120 |" in (tmp_path / "it.md").read_text()


def test_wrong_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, log = lm_eval(tmp_path / "a", BASE), inspect(tmp_path / "b.eval", letters(BASE))

    def made(name: str, content: str | bytes) -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    line = good.read_text().splitlines()[0]
    twice = made("samples_twice.jsonl", f"{line}\n{line}\n")
    (tmp_path / "empty").mkdir()
    lm_eval(tmp_path / "two" / "one", BASE)
    lm_eval(tmp_path / "two" / "other", BASE)
    for file, said in {
        tmp_path / "none.jsonl": "none.jsonl: is not there",
        tmp_path / "it.parquet": "holds no samples that are known; expected samples_*.jsonl",
        tmp_path / "empty": "holds no samples_*.jsonl; was lm_eval run with --log_samples?",
        tmp_path / "two": "holds samples of 2 models; name one: one, other",
        twice: "line 2 is a second sample of document 0",
        made("cut.jsonl", f"{line}\n{line[:50]}"): "line 2 is not JSON; cut short?",
        made(
            "rows.jsonl", '{"question": "x", "answer": "y"}\n'
        ): "line 1 is no sample of lm-evaluation-harness",
        made("list.jsonl", "[1]\n"): "line 1 is no JSON object",
        made("nothing.jsonl", ""): "holds no score of any sample",
        made("cut.json", '{"eval": {'): "is not JSON; cut short?",
        made("other.json", "{}"): "is no log of inspect_ai: it names no task",
        made("plain.eval", "no zip"): "is no .eval archive",
        made("cut.eval", log.read_bytes()[:-200]): "is no .eval archive",
        made("deep.json", "[" * 100_000): "is not JSON",
        log: "their ids do not name the same documents",
        lm_eval(
            tmp_path / "c", BASE, task="hellaswag"
        ): "share no task and metric: arc_easy acc | hellaswag acc",
        lm_eval(tmp_path / "d", BASE, ids=range(500, 500 + N)): "share no document of any task and metric",
    }.items():
        assert said in refused(capsys, good, file), file
    assert "did you mean 'acc'?" in refused(capsys, good, good, "--metric", "ac")
    assert "--html: not with --samples" in refused(capsys, good, good, "--html", tmp_path / "x.html")


def test_a_damaged_sample_of_an_archive_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = inspect(tmp_path / "b.eval", letters(BASE[:4]))
    raw = bytearray(log.read_bytes())
    place = raw.find(b"samples/2_epoch_1.json") + 40
    raw[place : place + 8] = b"\x00" * 8
    log.write_bytes(raw)
    assert "samples/2_epoch_1.json" in refused(capsys, log, log)


def test_one_document_is_too_uncertain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = lm_eval(tmp_path / "a", [0.0]), lm_eval(tmp_path / "b", [1.0])
    assert compared(capsys, a, b)["rows"][0]["finding"] == "too uncertain to tell"
