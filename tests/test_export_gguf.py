"""`bench export --gguf`: the user's llama.cpp converts, and the file answers the test questions again."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from huggingface_hub import ModelCard
from served import finished, folder, in_this_process

from bench.cli import run_verb
from bench.errors import ConversionFailed
from bench.registry import find_model
from bench.serve import plain
from bench.serve.engine import Engine
from bench.serve.exported import convert, manifest
from bench.serve.exported.convert import Conversion
from bench.serve.origin import Origin, origin
from bench.train import gguf

LLAMA, SCALED, PHI = "llama-2-7b", "llama-3.1-8b", "phi-1.5"
#: What `convert_hf_to_gguf.py` does with a Llama-class model, by the real package and the same words.
CONVERTER = f"""\
import argparse, sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from gguf_files import write_gguf
parser = argparse.ArgumentParser()
parser.add_argument("model", type=Path)
parser.add_argument("--outfile", type=Path)
parser.add_argument("--outtype")
args = parser.parse_args()
def write(**changes):
    write_gguf(args.outfile, **{{"stored": args.outtype.upper(), "folder": args.model, **changes}})
"""


def llama_cpp(place: Path, *lines: str) -> Path:
    """A checkout of llama.cpp whose converter ends with these lines."""
    place.mkdir(exist_ok=True)
    (place / convert.SCRIPT).write_text("\n".join([CONVERTER, *lines]))
    return place


@pytest.fixture
def true(tmp_path: Path) -> Path:
    """A checkout whose converter converts."""
    return llama_cpp(tmp_path / "llama.cpp", "write()")


@pytest.fixture(autouse=True)
def _elsewhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No converter of this machine takes part."""
    if "fresh_process" not in request.node.name:
        monkeypatch.setattr(plain, "answers", in_this_process)
    monkeypatch.delenv(convert.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)


def exported(to: Path, checkout: Path, *words: str, model: str = LLAMA) -> int:
    named = ["--to", str(to), "--llama-cpp", str(checkout), "--out", str(folder())]
    return run_verb(["export", finished(model).record.id, *named, *(words or ("--gguf",))])


def test_the_file_answers_as_was_scored_in_a_fresh_process(
    tmp_path: Path, true: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the type that the run computed in; then once more by `bench verify` of the folder alone."""
    assert exported(tmp_path / "out", true) == 0
    shown = capsys.readouterr().out
    assert "40 of 40 answers equal" in shown
    assert "read back from GGUF by transformers" in shown
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        *("README.md", "bench.json", "model-F32.gguf", "record")
    ]
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    assert gguf.facts(tmp_path / "out" / "model-F32.gguf").stored_type == "F32"
    assert (manifest.manifest(tmp_path / "out").kind, manifest.manifest(tmp_path / "out").stored_type) == (
        *("gguf", "F32"),
    )
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "verified: 40 of 40 answers equal" in card
    assert "`model-F32.gguf` holds the tuned weights, tokenizer and chat template" in card
    assert "llama-cli -m path/to/model-F32.gguf" in card
    assert ModelCard(card).data.library_name == "gguf"
    assert str(tmp_path) not in card
    assert run_verb(["verify", str(tmp_path / "out")]) == 0
    assert "40 of 40 answers equal" in capsys.readouterr().out


def test_a_models_own_answers_are_its_first_choice() -> None:
    """SentencePiece's tokens of an answer are those behind a prompt, not those of a text of its own."""
    stored = finished(LLAMA)
    questions = [(row["question"], row["context"]) for row in stored.completions]
    assert Engine.load(stored).agreement(questions, [row["tuned"] for row in stored.completions]) > 0.98


@pytest.mark.slow
def test_a_quantised_file_states_its_drift(
    tmp_path: Path, true: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(LLAMA)
    capsys.readouterr()
    code = exported(tmp_path / "out", true, "--gguf", "q8_0", "--json")
    data = json.loads(capsys.readouterr().out)
    (row,) = data["reanswered"]
    assert code == (0 if data["reproduces"] else 1)
    assert row["equal"] < row["answers"]  # 8 bits move some texts of a model this small
    assert row["agreement"] > 0.9
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"{row['equal']} of 40 answers equal, {row['agreement']:.1%} of their tokens" in card
    assert gguf.facts(tmp_path / "out" / "model-Q8_0.gguf").quantisation == "Q8_0"


def test_the_file_is_a_model_for_bench_run(
    tmp_path: Path, true: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(tmp_path / "out", true, "--gguf", "f16", "--sample", "2") == 0
    spec = find_model(str(tmp_path / "out" / "model-F16.gguf"))
    assert (spec.name, spec.architecture) == ("model-F16", "LlamaForCausalLM")


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (['write(stored="F16")'], "the weights are F16, exported were F32"),
        (['args.outfile.write_text("version https://git-lfs")'], "model-F32.gguf: is no GGUF file"),
        (['write(family="phi2")'], "model-F32.gguf: holds a 'phi2' model"),
        (
            ["write()", "os = __import__('os')", "os.truncate(args.outfile, 500_000)"],
            "is cut short or damaged",
        ),
    ],
)
def test_a_converter_that_writes_another_file_is_caught(
    lines: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = llama_cpp(tmp_path / "llama.cpp", *lines)
    assert exported(tmp_path / "out", checkout, "--gguf", "--push", "team/model", "--sample", "2") == 1
    shown = capsys.readouterr().out
    assert fault in shown
    assert "not pushed to team/model" in shown
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "NOT verified" in card
    assert fault in card
    assert "**verified" not in card
    assert str(tmp_path) not in card


WRONG_WEIGHTS = """
from safetensors.torch import load_file, save_file
weights = load_file(args.model / "model.safetensors")
{change}
save_file(weights, args.model / "model.safetensors")
write()
"""


@pytest.mark.parametrize(
    "change",
    [
        'name = "model.layers.1.mlp.down_proj.weight"; weights[name] = weights[name] * 0.5',
        'name = "model.layers.0.self_attn.q_proj.weight"; weights[name] = weights[name].flip(0).contiguous()',
    ],
)
def test_wrong_weights_in_a_whole_file_are_caught(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The type, the size and every digest are right; only the answers tell."""
    checkout = llama_cpp(tmp_path / "llama.cpp", WRONG_WEIGHTS.format(change=change))
    assert exported(tmp_path / "out", checkout) == 1
    shown = capsys.readouterr().out
    assert "does not reproduce" in shown
    assert "fault" not in shown
    assert "NOT verified" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_a_file_changed_after_its_export_is_caught(
    tmp_path: Path, true: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(tmp_path / "out", true, "--gguf", "--sample", "2") == 0
    with (tmp_path / "out" / "model-F32.gguf").open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\x3f" * 1024)
    assert run_verb(["verify", str(tmp_path / "out"), "--sample", "2"]) == 1
    assert "model-F32.gguf is not what was exported" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["sys.exit('ERROR:hf-to-gguf:Model Odd\\x1b[2J is not supported')"], "exit status 1: ERROR"),
        (["raise KeyError('n_ctx')"], "exit status 1: KeyError: 'n_ctx'"),
        (["sys.exit(3)"], "exit status 3: it said nothing"),
        (["pass"], "ended without an error and wrote no file"),
    ],
)
def test_a_converter_that_fails_is_one_line_and_leaves_nothing(
    lines: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(tmp_path / "out", llama_cpp(tmp_path / "llama.cpp", *lines)) == 1
    shown = capsys.readouterr().err.strip().splitlines()[-1]
    assert shown.startswith(f"bench: {convert.SCRIPT}: {why}")
    assert "\x1b" not in shown
    assert [each.name for each in tmp_path.iterdir()] == ["llama.cpp"]


def test_a_converter_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    (checkout := tmp_path / "llama.cpp").mkdir()
    lines = [
        "import subprocess, time",
        "from pathlib import Path",
        "child = subprocess.Popen(['sleep', '600'])",
    ]
    lines += [f"Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))", "time.sleep(600)"]
    (checkout / convert.SCRIPT).write_text("\n".join(lines))
    (tmp_path / "config.json").write_text("{}")
    begin = time.monotonic()
    with pytest.raises(ConversionFailed, match="was ended after 6 s"):
        Conversion((sys.executable, str(checkout / convert.SCRIPT)), seconds=6).write(
            tmp_path, tmp_path, place(LLAMA), "float32"
        )
    assert time.monotonic() - begin < 60
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 10
    while _runs(child) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        os.kill(process, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def place(model: str) -> Origin:
    return origin(finished(model))


@pytest.mark.parametrize(
    ("named", "variable", "error"),
    [
        (False, False, "--gguf: llama.cpp's convert_hf_to_gguf.py is not on this machine's PATH"),
        (True, False, "empty: holds no convert_hf_to_gguf.py"),
        (False, True, "LLAMA_CPP empty: holds no convert_hf_to_gguf.py"),
    ],
)
def test_without_a_converter_it_says_where_to_get_one_and_loads_nothing(
    named: bool,
    variable: bool,
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("loaded")

    (tmp_path / "empty").mkdir()
    (tmp_path / convert.SCRIPT).write_text("raise SystemExit('of the current folder')")
    monkeypatch.setattr(Engine, "load", load)
    if variable:
        monkeypatch.setenv(convert.VARIABLE, "empty")
    words = ["--to", "out", "--gguf", "--out", str(folder()), *(["--llama-cpp", "empty"] if named else [])]
    assert run_verb(["export", finished(LLAMA).record.id, *words]) == 2
    shown = capsys.readouterr().err
    assert error in shown
    assert "git clone --depth 1 https://github.com/ggml-org/llama.cpp, then --llama-cpp DIR" in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_option_goes_before_the_variable_and_that_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkouts = [llama_cpp(tmp_path / name) / convert.SCRIPT for name in ("option", "variable", "path")]
    checkouts[2].chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert convert.find(None) == (str(checkouts[2]),)
    monkeypatch.setenv(convert.VARIABLE, str(tmp_path / "variable"))
    assert convert.find(None) == (sys.executable, str(checkouts[1]))
    assert convert.find(tmp_path / "option") == (sys.executable, str(checkouts[0]))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (SCALED, "its rotary positions are scaled, which transformers does not read from GGUF"),
        (PHI, "transformers does not read a PhiForCausalLM from GGUF"),
    ],
)
def test_what_cannot_be_read_back_is_refused(
    model: str, why: str, tmp_path: Path, true: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(tmp_path / "out", true, model=model) == 2
    shown = capsys.readouterr().err
    assert f"--gguf: {why}, so its answers could not be held against the record; --force" in shown
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_back_is_written_by_force_and_never_called_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The converter puts factors of the positions into the file, as llama.cpp's does for Llama 3.1."""
    checkout = llama_cpp(tmp_path / "llama.cpp", "write(scaled=True)")
    assert exported(tmp_path / "out", checkout, "--gguf", "--force", model=SCALED) == 1
    assert "its rotary positions are scaled" in capsys.readouterr().out
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "**NOT verified: model-F32.gguf: its rotary positions are scaled" in card
    assert "**verified" not in card


def test_a_space_and_a_file_are_two_commands(tmp_path: Path, true: Path) -> None:
    assert exported(tmp_path / "out", true, "--gguf", "--space", str(tmp_path / "space")) == 2
    assert not (tmp_path / "space").exists()
