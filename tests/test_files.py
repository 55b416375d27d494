"""What stands in the place of a file that is read: a line that names it, in bounded time, at every verb."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
from conftest import ROOT
from records import make_failure, make_record

from bench import files
from bench.cache import cache_root
from bench.cli import run_verb
from bench.data import sources
from bench.errors import DataError, Unreadable
from bench.recipe_keys import OPTIMIZERS
from bench.store.ledger import Ledger
from benchmarks import publishing

#: Seconds after which a verb hangs.
HANGS = 10
RECORD = "reports/runs/*"


def pipe(place: Path) -> None:
    os.mkfifo(place)


def a_socket(place: Path) -> None:
    here = Path.cwd()
    os.chdir(place.parent)  # the name of a socket may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(place.name)
    finally:
        os.chdir(here)


def sparse(place: Path) -> None:
    with place.open("wb") as handle:
        handle.truncate(files.LARGEST + 1)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "a pipe": pipe,
    "a socket": a_socket,
    "a folder": Path.mkdir,
    "a link to itself": lambda place: place.symlink_to(place.name),
    "a link to nothing": lambda place: place.symlink_to("nothing-at-all"),
    "an endless device": lambda place: place.symlink_to("/dev/zero"),
    "more than memory": sparse,
    "nested deeply": lambda place: place.write_text("x = " * place.match("*.toml") + "[" * 100_000),
    "nested to the limit": lambda place: place.write_text('{"a":' * 900 + "1" + "}" * 900),
    "half a character": lambda place: place.write_text('{"question": "\\ud800", "answer": "b"}\n'),
    "a number of 5,000 digits": lambda place: place.write_text(
        f"x = {'9' * 5000}" if place.match("*.toml") else f'{{"question": {"9" * 5000}, "answer": "b"}}'
    ),
    "no text": lambda place: place.write_bytes(b"\xff\xfe\xfd\x00" * 50),
    "nothing": lambda place: place.write_bytes(b""),
}
#: What is tried at every verb of every place; the others at the first verb of these places.
EVERYWHERE = ("a pipe", "a folder", "nested deeply", "half a character")
#: What is replaced -> the command lines that read it.
PLACES: dict[str, tuple[str, ...]] = {
    "models/x.toml": ("list models", "check", "plan --models x"),
    "datasets/x.toml": ("list datasets", "check", "data x"),
    f"{RECORD}/record.json": (
        "check",
        "report",
        "list runs",
        "show RUN",
        "compare RUN main",
        "gate --baseline main",
        "history gpt2",
        "baseline save again",
        "explain RUN main",
    ),
    f"{RECORD}/scores.json": ("check", "report", "show RUN", "compare RUN main"),
    f"{RECORD}/completions.jsonl": ("check", "report", "show RUN"),
    f"{RECORD}/curve.jsonl": ("check", "report", "show RUN"),
    "reports/failed/x.json": ("report", "list runs", "check"),
    "reports/baselines/main.json": ("gate --baseline main", "compare main current"),
    "reports/leaderboard.md": ("report",),
    "README.md": ("report --readme README.md",),
    "x.jsonl": ("data x --data x=x.jsonl", "plan --models gpt2 --train x.jsonl", "check --data x=x.jsonl"),
    "x.json": ("data x.json",),
    "x.csv": ("data ./x.csv",),
    "x.parquet": ("data x.parquet", "plan --models gpt2 --train x.parquet"),
    "ckpt/config.json": ("plan --models ./ckpt",),
    "ckpt/generation_config.json": ("plan --models ./ckpt",),
    "ckpt/tokenizer_config.json": ("plan --models ./ckpt",),
    "ckpt/tokenizer.json": ("plan --models ./ckpt",),
    "ckpt/model.safetensors": ("plan --models ./ckpt",),
    "m.gguf": ("plan --models ./m.gguf",),
    "CACHE/data/*.json": ("data tiny.csv",),
    "CACHE/verified/*.json": ("report",),
    "CACHE/digests/*.json": ("plan --models ./ckpt",),
}
THOROUGH = (
    "models/x.toml",
    f"{RECORD}/record.json",
    f"{RECORD}/scores.json",
    "reports/failed/x.json",
    "reports/baselines/main.json",
    "x.jsonl",
    "x.parquet",
    "ckpt/config.json",
)
#: Places whose damage costs nothing: what is there is made again, or was never needed.
HEALS = ("CACHE/", "reports/failed/")


@contextmanager
def not_for_ever() -> Iterator[None]:
    """Turn a hang into a failure."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"no answer within {HANGS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a record, a failure, a baseline, a data file and a checkpoint, all whole."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield made(tmp_path_factory.mktemp("home"), monkeypatch)


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    monkeypatch.setenv("BENCH_CACHE", str(home / "CACHE"))
    return home


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "CACHE"))
    make_record(tmp_path / "reports", n=20)
    make_failure(tmp_path / "reports")
    shutil.copytree(ROOT / "models" / "twins" / "gpt2", tmp_path / "ckpt")
    rows = [f"What is the number that follows {n} in row {n}?,It is {n + 1}.\n" for n in range(60)]
    (tmp_path / "tiny.csv").write_text("question,answer\n" + "".join(rows))
    for folder in ("models", "datasets"):
        (tmp_path / folder).mkdir()
    for words in ("baseline save main", "data tiny.csv", "plan --models ./ckpt", "report"):
        assert run_verb(words.split()) == 0
    return tmp_path


def replaced(place: Path, with_what: Callable[[Path], object]) -> Path:
    """Put something else in a file's place; where that was is kept beside it."""
    kept = place.with_name(f".kept-{place.name}")
    if place.exists():
        place.rename(kept)
    with_what(place)
    return kept


def put_back(place: Path, kept: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    if kept.exists():
        kept.rename(place)


@pytest.mark.parametrize("pattern", PLACES)
def test_nothing_in_a_files_place_is_a_hang_or_a_traceback(
    here: Path, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every hostile thing in this place, at every verb that reads it."""
    place = next(iter(here.glob(pattern)), here / pattern)
    run = next((here / "reports" / "runs").iterdir()).name
    wrong = []
    for name, make in HOSTILE.items():
        kept = replaced(place, make)
        for words in PLACES[pattern][: None if name in EVERYWHERE else int(pattern in THOROUGH)]:
            capsys.readouterr()
            try:
                with not_for_ever():
                    code = run_verb(words.replace("RUN", run).split())
            except BaseException as error:
                wrong.append(f"{name}, {words}: {type(error).__name__}: {str(error)[:200]}")
                continue
            shown = capsys.readouterr()
            text = shown.err + shown.out
            if code == 1 or "Traceback" in text:
                wrong.append(f"{name}, {words}: exit {code}: {shown.err[-300:]}")
            if code and max(map(len, text.splitlines())) > 1000:
                wrong.append(f"{name}, {words}: a line of {max(map(len, text.splitlines()))} characters")
            if pattern.startswith(HEALS) and code:
                wrong.append(f"{name}, {words}: exit {code}, but it could be made again: {text[:200]}")
        put_back(place, kept)
        if pattern.startswith("reports/failed"):
            place.with_suffix(".damaged").unlink(missing_ok=True)
    assert not wrong, "\n" + "\n".join(wrong)


def test_a_special_file_is_named_for_what_it_is(tmp_path: Path) -> None:
    for name in ("a pipe", "a socket", "a folder"):
        HOSTILE[name](tmp_path / name)
        with pytest.raises(Unreadable, match=f"is {name}, not a file"):
            files.content(tmp_path / name)


def test_a_file_that_grows_past_its_limit_is_refused(tmp_path: Path) -> None:
    """Under /proc a size of zero says nothing."""
    with pytest.raises(Unreadable, match="larger than 0 MiB"):
        files.content(Path("/proc/self/maps"), largest=10)
    (tmp_path / "ten").write_bytes(b"0123456789")
    assert files.content(tmp_path / "ten", largest=10) == b"0123456789"


def test_a_damaged_prepared_cache_is_made_again(here: Path) -> None:
    """Cut short, and with a field of another name: the same examples as before, and a whole cache after."""
    file = next((cache_root() / "data").glob("tiny-*.json"))
    whole = json.loads(file.read_text())
    for harm in (file.read_text()[:-200], json.dumps({**whole, "test": [{"who": "knows"}]}), "[1, 2]"):
        file.write_text(harm)
        assert run_verb(["data", "tiny.csv"]) == 0
        assert json.loads(file.read_text()) == whole


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", "/dev/null/nowhere")
    assert run_verb(["data", "tiny.csv"]) == 0
    assert run_verb(["plan", "--models", "./ckpt"]) == 0


def test_two_processes_may_write_one_file_at_once(tmp_path: Path) -> None:
    """As drivers that share a plan do: neither takes the other's half-written file away."""
    program = (
        "import sys; from pathlib import Path; from bench.files import put\n"
        "for count in range(400): put(Path(sys.argv[1]), sys.argv[2] * 20000)"
    )
    file = tmp_path / "shared" / "selection.json"
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(file), letter], stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert set(file.read_text(encoding="utf-8")) in ({"a"}, {"b"})
    assert list(file.parent.iterdir()) == [file]


def test_the_optimizers_that_are_offered_are_known_to_transformers() -> None:
    from transformers.training_args import OptimizerNames

    assert set(OPTIMIZERS) <= {optimizer.value for optimizer in OptimizerNames}


@pytest.mark.parametrize("checksums", [True, False], ids=["with checksums", "without"])
def test_no_damage_to_a_parquet_file_is_a_traceback(tmp_path: Path, checksums: bool) -> None:
    """80 seeded changes of a byte: the rows as they were, other rows, or one line that names the file."""
    rows = [{"question": f"What is {n}?", "answer": f"It is {n * 7}."} for n in range(300)]
    whole, file = tmp_path / "whole.parquet", tmp_path / "harmed.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), whole, write_page_checksum=checksums)
    generator = random.Random(5)
    spec, refused = sources.spec_for_file("harmed", file), []
    for _ in range(80):
        content = bytearray(whole.read_bytes())
        for _ in range(generator.choice([1, 1, 8])):
            content[generator.randrange(4, len(content) - 8)] ^= 1 << generator.randrange(8)
        file.write_bytes(content)
        try:
            read = list(sources.rows(spec))
        except DataError as error:
            refused.append(str(error))
        else:
            assert not checksums or read == rows or len(read) == len(rows)
    assert len(refused) > 20
    assert all("harmed.parquet" in line and "\n" not in line for line in refused)


def test_a_link_in_a_workspace_is_one_rows_failure(tmp_path: Path) -> None:
    """What a stranger's folder puts in a log's place is neither waited for nor written through."""
    (run,) = publishing.finished(tmp_path)
    target = tmp_path / "precious"
    target.write_text("mine")
    workspace = Ledger(tmp_path).work / run.id
    (workspace / "pending.json").unlink()
    (workspace / "log.txt").unlink(missing_ok=True)
    (workspace / "log.txt").symlink_to(target)
    assert publishing.publish([run], tmp_path, verbs=()) == 1
    (failure,) = Ledger(tmp_path).failed()
    assert failure.reason == f"{workspace / 'log.txt'}: is a link, not a file; remove it"
    assert target.read_text() == "mine"


def test_every_test_that_the_threat_model_names_exists() -> None:
    """A claim of the page is held by a test, or it goes."""
    tests, file = ROOT / "tests", ""
    names = re.findall(r"`([a-z_]*\.py)?(?:::)?(test_\w+)?`", (ROOT / "docs" / "threat-model.md").read_text())
    claims = [(file := name or file, test) for name, test in names if name or test]
    assert len(claims) > 20
    for file, test in claims:
        assert (tests / file).is_file(), file
        assert f"def {test}" in (tests / file).read_text(), f"{file}::{test}"
