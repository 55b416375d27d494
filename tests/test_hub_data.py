"""`bench data import ORG/NAME`: data sets of the hub in their true shapes, streamed from the stand-in hub."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import published
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from conftest import ROOT
from hub import Hub

from bench.curate.files import hub as importing
from bench.errors import DataError
from benchmarks import rows

TOKENS = {"hf_reader": "reader"}
ORCA, GUANACO = "Open-Orca/OpenOrca", "timdettmers/openassistant-guanaco"
#: Runs the command and tells, as the last line of its messages, how much memory it held at most.
COMMAND = """
import sys
from bench.cli import run_verb
from benchmarks.data import peak
code = run_verb(sys.argv[1:])
print(peak(), file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Bench:
    """The command before a stand-in hub, in a folder of its own."""

    hub: Hub
    folder: Path
    done: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    def __call__(self, *words: str, token: str | None = None) -> str:
        """Import as `made`; what is printed, messages included, but for the peak."""
        settings = {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "BENCH_CACHE": str(self.folder / "cache"),
        }
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "data", "import", *words, "--to", "made"],
            env=self.hub.environment(self.folder / "home", token, **settings),
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        self.done.append(done)
        return done.stdout + "".join(done.stderr.splitlines(keepends=True)[:-1])

    @property
    def status(self) -> int:
        return self.done[-1].returncode

    @property
    def peak(self) -> float:
        """Megabytes that the last import held at most."""
        return float(self.done[-1].stderr.splitlines()[-1])

    def made(self, suffix: str) -> str:
        return (self.folder / "datasets" / f"made.{suffix}").read_text(encoding="utf-8")

    def examples(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.made("jsonl").splitlines()]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(TOKENS) as serving:
        yield serving


@pytest.fixture
def bench(hub: Hub, tmp_path: Path) -> Bench:
    return Bench(hub, tmp_path)


@pytest.fixture(scope="module")
def dolly(shared: Path) -> Path:
    return shared / "data" / "dolly" / "databricks-dolly-15k.jsonl"


def test_guanaco_is_read_turn_by_turn_and_its_commit_recorded(bench: Bench, dolly: Path) -> None:
    """Of a conversation the first exchange, unless all are asked for; later ones are counted."""
    repository = published.publish_dataset(bench.hub, "guanaco", dolly)
    out = bench(GUANACO)
    assert bench.status == 0, out
    commit = repository.branches["main"]
    first = json.loads(dolly.open().readline())
    texts = [
        json.loads(line)["text"]
        for line in repository.at("main").files["openassistant_best_replies_train.jsonl"].read().splitlines()
    ]
    assert f"{GUANACO}@{commit[:12]}: {len(texts)} rows, ### Human / ### Assistant text, split train" in out
    later = sum(text.count("### Human:") > 1 for text in texts)
    assert f"{later} times: later exchange left out" in out
    examples = bench.examples()
    assert len(examples) == len(texts)
    asked = texts[0].removeprefix("### Human: ").split("### Assistant: ")[0]
    assert " ".join(examples[0]["question"].split()) == " ".join(asked.split())
    assert first["instruction"] not in [example["question"] for example in examples], "held out by its file"
    for kind in ("md", "toml"):
        assert f"{GUANACO} on the hub, commit {commit}, split train" in bench.made(kind)
    bench(GUANACO, "--turns", "all")
    assert len(bench.examples()) == len(texts) + later


def test_openorca_keeps_its_system_prompt_as_context_and_its_licence(bench: Bench, dolly: Path) -> None:
    published.publish_dataset(bench.hub, "openorca", dolly)
    out = bench(ORCA)
    assert bench.status == 0, out
    assert "question ← question, answer ← response, context ← system_prompt, id ← id" in out
    assert tomllib.loads(bench.made("toml"))["licence"] == "mit"
    rows = [json.loads(line) for line in dolly.read_text().splitlines()[:160]]
    examples = bench.examples()
    assert [example["id"] for example in examples][:3] == ["niv.0", "flan.1", "t0.2"]
    assert [bool(example["context"]) for example in examples][:4] == [False, True, False, True]
    assert len(examples) == len(rows)
    bench(ORCA, "--licence", "mine")
    assert tomllib.loads(bench.made("toml"))["licence"] == "mine"


def large(file: Path, count: int) -> Path:
    """Rows in OpenOrca's shape, in row groups as large as the true file's."""
    names = ("id", "system_prompt", "question", "response")
    schema = arrow.schema([(name, arrow.string()) for name in names])
    texts = [(row["question"], row["answer"]) for row in rows.rows(2000)]
    with parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, count, 1000):
            numbers = range(start, start + 1000)
            columns = [
                [f"flan.{number}" for number in numbers],
                ["" if number % 2 else "Answer at length." for number in numbers],
                [f"{texts[number % 2000][0]} ({number})" for number in numbers],
                [f"{texts[number % 1999][1]} {number}" for number in numbers],
            ]
            writer.write_table(arrow.table(columns, schema=schema))
    return file


def test_a_sample_of_a_large_data_set_is_drawn_in_constant_memory(bench: Bench, tmp_path: Path) -> None:
    """10,000 of 200,000 rows take hardly more than 10,000 of 20,000; they are those of the rule."""
    peaks = {}
    for count in (20_000, 200_000):
        file = large(tmp_path / f"{count}.parquet", count)
        repository = bench.hub.create(f"team/orca-{count}", {"data.parquet": file}, kind="datasets")
        out = bench(f"team/orca-{count}", "--sample", "10000")
        assert bench.status == 0, out
        assert f"a sample of 10,000 of {count:,} rows, by the hashes of their numbers" in out
        peaks[count] = bench.peak
    sample = bench.made("jsonl")
    numbers = sorted(range(200_000), key=lambda n: hashlib.sha256(f"bench sample:{n}".encode()).digest()[:8])
    assert [e["id"] for e in bench.examples()] == [f"flan.{n}" for n in sorted(numbers[:10_000])]
    bench(f"team/orca-200000@{repository.branches['main']}", "--sample", "10000")
    assert bench.made("jsonl") == sample
    size = (tmp_path / "200000.parquet").stat().st_size / 1e6
    assert peaks[200_000] < peaks[20_000] + 40 < peaks[20_000] + size


def test_a_commit_is_read_although_its_branch_has_moved(bench: Bench) -> None:
    repository = bench.hub.create(
        "team/moving", {"train.jsonl": '{"question": "Old?", "answer": "Yes."}\n'}, kind="datasets"
    )
    old = repository.branches["main"]
    new = repository.commit({"train.jsonl": '{"question": "New?", "answer": "Yes."}\n'})
    for revision, question, commit in ((f"@{old}", "Old?", old), ("", "New?", new), ("@main", "New?", new)):
        out = bench(f"team/moving{revision}")
        assert bench.status == 0, out
        assert [example["question"] for example in bench.examples()] == [question]
        assert commit in bench.made("toml")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("team/nowhere",),
            "team/nowhere@main: no such file or folder here, and no such data set on the hub",
        ),
        (("team/gated",), "team/gated@main is gated; accept its licence on the hub"),
        (("team/plain@v9",), "team/plain@v9: the data set has no such revision; name another"),
        (("team/plain", "--split", "dev"), "choose by --split or --configuration"),
        (("team/plain", "team/plain"), "team/plain: a data set of the hub is imported by itself"),
        (("team/plain", "--encoding", "utf-16"), "--encoding: is for files of text"),
        (("team/shapeless",), "no column for the question; there are: 'x', 'y'"),
        (("mine.csv", "--sample", "3"), "--sample: is for a data set of the hub, ORG/NAME; leave it out"),
        (("data/mine.csv",), "data/mine.csv: no such file or folder"),
        (("team/plain", "--sample", "0"), "--sample"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line(
    bench: Bench, words: tuple[str, ...], expected: str
) -> None:
    rows = {"train.jsonl": '{"question": "Who?", "answer": "I."}\n'}
    bench.hub.create("team/plain", rows, kind="datasets")
    bench.hub.create("team/gated", rows, kind="datasets", gated="manual", readers=("reader",))
    bench.hub.create("team/shapeless", {"train.jsonl": '{"x": "Who?", "y": "I."}\n'}, kind="datasets")
    (bench.folder / "mine.csv").write_text("question,answer\nWho?,I.\n")
    out = bench(*words)
    assert bench.status == 2
    assert expected in out
    assert out.count("\n") == 1
    assert not (bench.folder / "datasets").exists()


def test_a_gated_data_set_is_read_by_those_who_may(bench: Bench) -> None:
    rows = {"train.jsonl": '{"question": "Who?", "answer": "I."}\n'}
    bench.hub.create("team/members", rows, kind="datasets", gated="manual", readers=("reader",))
    assert "1  examples" in bench("team/members", token="hf_reader")


def test_a_hub_that_is_away_is_told_in_one_line(bench: Bench) -> None:
    with bench.hub.down():
        out = bench("team/plain")
    assert bench.status == 2
    assert "team/plain@main: cannot be read from the hub" in out
    assert "or download its files and import those" in out
    assert out.count("\n") == 1


def test_a_data_set_that_does_not_fit_is_to_be_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MOST_ROWS", 3)
    wanted = importing.Wanted("team/large")
    assert importing._rows(({"n": n} for n in range(3)), wanted, "team/large")[0] == 3
    with pytest.raises(DataError, match="holds more than 3 rows; take some of them by --sample N"):
        importing._rows(({"n": n} for n in range(9)), wanted, "team/large")


def test_a_file_or_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert importing.is_hub_id("team/notes")
    (tmp_path / "team" / "notes").mkdir(parents=True)
    assert not importing.is_hub_id("team/notes")
    assert not importing.is_hub_id("team/notes.csv")
    assert not importing.is_hub_id("notes")
