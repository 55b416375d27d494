"""Wrong input: one line that names file, key and remedy, exit 2, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import registry
from bench.cli import run_verb

SPEC = (
    'checkpoint = "example/m"\nlicence = "MIT"\nfamily = "gpt2"\narchitecture = "GPT2LMHeadModel"\n'
    'objective = "causal"\nparameters = 1\ntwin = "gpt2"\n'
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What `bench run` says when it refuses; that it exits 2 and writes nothing."""
    code = run_verb(["run", *words])
    said = capsys.readouterr()
    assert code == 2, said
    assert said.out == ""
    assert not Path("reports").exists()
    return said.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--models", "gtp2"], "unknown model 'gtp2'; did you mean 'gpt2'?"),
        (["--models", "gpt2", "--train", "doly"], "unknown data set 'doly'; did you mean 'dolly'?"),
        (["--models", ","], "names no model"),
        (["--models", "../../etc"], "there is no such checkpoint"),
        (["--models", "gpt2", "--budget", "60"], "expected STEPSxBATCH (60x8), examples=N or one of smoke"),
        (
            ["--models", "gpt2", "--budget", "examples=30"],
            "not a multiple of the effective batch 8; use examples=24",
        ),
        (["--models", "gpt2", "--budget", "8x0"], "must be at least 1"),
        (
            ["--models", "gpt2", "--budget", "10x6"],
            "'recipe.micro_batch' = 8 does not divide the effective batch 6",
        ),
        (["--models", "gpt2", "--seeds", "a"], "expected whole numbers"),
        (["--models", "gpt2", "--seeds", "1,1"], "each seed once"),
        (["--models", "gpt2", "--template", "q"], "unknown prompt template 'q'"),
        (["--models", "gpt2", "--data", "dolly"], "expected NAME=FILE"),
        (["--models", "gpt2", "--data", "dolly=nowhere.jsonl"], "nowhere.jsonl is no file"),
        (["--models", "gpt2", "--data", "../x=a.jsonl"], "expected NAME=FILE"),
        (["--models", "llama-3.1-8b", "--scale", "full"], "8.0B parameters and there is no CUDA GPU"),
        (["--models", "gpt2", "--metrics", "nosuchmetric"], "nosuchmetric"),
    ],
)
def test_a_wrong_option_is_named_with_its_remedy(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert expected in refused(capsys, *words)


def test_every_mistake_of_a_spec_is_reported_at_once(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "models").mkdir()
    (here / "models" / "mine.toml").write_text(
        SPEC.replace("parameters = 1", 'parameters = "many"')
        + 'trust_remote_code = true\nlisence = "MIT"\n[recipe]\nepochs = 3\nlerning_rate = 1e-4\nrank = 0\n'
        + "[recipe.mini]\nbatch_size = 4\n"
    )
    said = refused(capsys, "--models", "mine")
    assert said.count("models/mine.toml: ") == 7
    for expected in (
        "'parameters' should be a valid integer, is 'many'",
        "'trust_remote_code' is refused: it would run code from the repository; remove it",
        "'lisence' is not a key of this file; did you mean 'licence'?",
        "'recipe.epochs' belongs to the contract, which is equal for all models; move it to --budget",
        "'recipe.lerning_rate' is not a key of this file; did you mean 'learning_rate'?",
        "'recipe.rank' should be greater than or equal to 1, is 0",
        "'recipe.mini.batch_size' belongs to the contract",
    ):
        assert expected in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checkpoint = ", "is not TOML"),
        (SPEC.replace('"example/m"', '"../../secret"'), "'../../secret' is not there; correct it"),
        (SPEC.replace('"example/m"', '"./"'), "'./' holds no checkpoint; correct it"),
        (SPEC + 'name = "other"\n', "but the file is called 'mine.toml'"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused(
    capsys: pytest.CaptureFixture[str], here: Path, text: str, expected: str
) -> None:
    (here / "models").mkdir()
    (here / "models" / "mine.toml").write_text(text)
    assert expected in refused(capsys, "--models", "mine")
    assert expected in refused(capsys, "--models", "all")


@pytest.mark.parametrize("kind", ["models", "datasets"])
def test_a_broken_spec_stops_only_what_uses_it(
    capsys: pytest.CaptureFixture[str], here: Path, kind: str
) -> None:
    """Other commands go on, with one line about it."""
    (here / kind).mkdir()
    (here / kind / "mine.toml").write_text("checkpoint = \n")
    for words in (["plan", "--models", "gpt2"], ["list", kind]):
        assert run_verb(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert sum("left out: " in line and f"{kind}/mine.toml: is not TOML" in line for line in lines) == 1
    assert run_verb(["data", "course-qa"]) == 0
    capsys.readouterr()
    used = ["--models", "mine"] if kind == "models" else ["--models", "gpt2", "--train", "mine"]
    assert run_verb(["plan", *used]) == 2
    assert f"{kind}/mine.toml: is not TOML" in capsys.readouterr().err


def test_a_packaged_name_cannot_be_taken(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "models").mkdir()
    (here / "models" / "gpt2.toml").write_text(SPEC)
    assert "'gpt2' is already registered; choose another name" in refused(capsys, "--models", "gpt2")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("d.jsonl", b"", "is empty"),
        ("d.jsonl", b'{"question": "a"\n', "line 1 is not JSON"),
        (
            "d.jsonl",
            b'{"question": "\xc3\xa9", "answer": "b"}\n{"question": "caf\xe9", "answer": "b"}\n',
            "line 2 is not utf-8",
        ),
        ("d.jsonl", b'{"q1": "a", "answer": "b"}\n', "no column for the question; there are: 'q1', 'answer'"),
        ("d.jsonl", b"[1, 2]\n", "row 1 is list"),
        ("d.csv", b"Q,A\na,\n,b\n", "no usable example (2 read, 1 empty answer, 1 empty question)"),
        ("d.csv", b"Q,A\nwhat,that\n", "only 0 test examples"),
        ("d.parquet", b"no parquet at all", "is not Parquet"),
        ("d.txt", b"hello", "d.txt: plain text holds no question"),
        ("d.docx", b"hello", "unknown kind of file '.docx'"),
    ],
)
def test_a_data_file_that_cannot_be_used_is_refused(
    capsys: pytest.CaptureFixture[str], here: Path, name: str, content: bytes, expected: str
) -> None:
    (here / name).write_bytes(content)
    said = refused(capsys, "--models", "gpt2", "--train", "mine", "--data", f"mine={name}")
    assert expected in said


def test_pickled_weights_are_refused(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "old").mkdir()
    (here / "old" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (here / "old" / "pytorch_model.bin").write_bytes(b"pickle")
    assert "pickled weights can run code" in refused(capsys, "--models", "./old")


def test_a_checkpoint_that_brings_code_is_refused(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "odd").mkdir()
    (here / "odd" / "config.json").write_text(
        json.dumps({"model_type": "x", "auto_map": {"AutoModel": "x.Y"}})
    )
    (here / "odd" / "model.safetensors").write_bytes(b"0" * 16)
    assert "asks to run code" in refused(capsys, "--models", "./odd")


def test_a_hub_model_out_of_reach_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = refused(capsys, "--models", "gpt2", "--scale", "full")
    assert "openai-community/gpt2@607a30d783df is not in the cache" in said
    assert "--scale mini" in said


def test_as_json_an_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["run", "--models", "gtp2", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"] == "UnknownName"


def test_check_holds_the_architecture_of_a_spec_against_its_twin(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "models").mkdir(exist_ok=True)
    spec = (registry.ROOT / "models" / "gpt2.toml").read_text()
    (here / "models" / "mine.toml").write_text(spec.replace("GPT2LMHeadModel", "PhiForCausalLM"))
    assert run_verb(["check"]) == 2
    assert (
        "models/mine.toml: 'architecture' is PhiForCausalLM, but gpt2/config.json says GPT2LMHeadModel"
        in capsys.readouterr().out
    )
    (here / "models" / "mine.toml").write_text(spec)
    assert run_verb(["check"]) == 0
