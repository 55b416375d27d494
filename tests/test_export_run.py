"""What `bench export` writes is what was scored, and verifying catches what is not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hub import Hub
from huggingface_hub import HfApi, ModelCard
from safetensors.torch import load_file, save_file
from served import FULL, LORA, QLORA, finished, folder, in_this_process
from transformers import AutoTokenizer

from bench.cli import run_verb
from bench.errors import RequestError
from bench.prompt import render
from bench.run.reload import ADAPTER_WEIGHTS
from bench.serve import plain
from bench.serve.chat import chat_template
from bench.serve.export import Exported, export, push
from bench.serve.exported import artifact, manifest, merge
from bench.spec import Example
from bench.store.ledger import Stored

METHODS = {"qlora": QLORA, "full": FULL}


@pytest.fixture(autouse=True)
def _here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "fresh_process" not in request.node.name:
        monkeypatch.setattr(plain, "answers", in_this_process)


def run() -> Stored:
    """A LoRA run whose adapter matters."""
    return finished(LORA)


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A LoRA run merged in float32."""
    original, plain.answers = plain.answers, in_this_process
    try:
        return export(run(), tmp_path_factory.mktemp("export") / "merged", "fp32")
    finally:
        plain.answers = original


@pytest.fixture
def copy(merged: Exported, tmp_path: Path) -> Path:
    """The merged folder, to be damaged."""
    return Path(shutil.copytree(merged.folder, tmp_path / "copy"))


def again(place: Path) -> artifact.Verification:
    return artifact.verify(place, None, None, lambda *_: None)


def test_merged_weights_answer_as_the_run_did(merged: Exported) -> None:
    (row,) = merged.verification.reanswered
    assert merged.verification.reproduces
    assert (row.equal, row.answers) == (40, 40)
    assert merged.verification.subject == str(merged.folder)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_four_bit_and_full_runs_merge_without_a_changed_answer(method: str, tmp_path: Path) -> None:
    """QLoRA is added to the base that it was trained on, dequantised, not to another."""
    done = export(finished(METHODS[method]), tmp_path / "out", "fp32")
    assert manifest.manifest(done.folder).kind == "merged"
    assert done.verification.reanswered[0].equal == 40
    assert not (tmp_path / "out" / plain.ADAPTER_CONFIG).exists()


def test_an_adapter_travels_as_it_is_and_names_no_path(tmp_path: Path) -> None:
    done = export(run(), tmp_path / "out")
    assert done.verification.reanswered[0].equal == 40
    weights = done.folder / ADAPTER_WEIGHTS
    assert weights.read_bytes() == (run().folder / "adapter" / ADAPTER_WEIGHTS).read_bytes()
    for file in done.folder.rglob("*.json"):
        assert str(Path.cwd()) not in file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_fully_tuned_model_travels_as_it_is(tmp_path: Path) -> None:
    done = export(finished(FULL), tmp_path / "out")
    assert done.verification.reanswered[0].equal == 40
    saved = finished(FULL).folder / "model" / "model.safetensors"
    assert (done.folder / "model.safetensors").read_bytes() == saved.read_bytes()


@pytest.mark.slow
def test_a_shorter_type_is_stored_and_its_drift_is_told(tmp_path: Path) -> None:
    done = export(run(), tmp_path / "out", "bf16")
    assert manifest.manifest(done.folder).stored_type == "BF16"
    (row,) = done.verification.reanswered
    assert row.agreement is None or row.agreement > 0.98
    assert done.verification.reproduces
    assert "of 40 answers equal" in (done.folder / "README.md").read_text(encoding="utf-8")


def test_the_card_says_what_verifying_showed(merged: Exported) -> None:
    text = (merged.folder / "README.md").read_text(encoding="utf-8")
    assert "verified: 40 of 40 answers equal" in text
    assert ModelCard(text).data.library_name == "transformers"


def test_the_chat_template_is_the_prompt_of_the_record(merged: Exported) -> None:
    """To the token, with a context and without, also where the tokenizer begins a text by itself."""
    for model in (LORA, QLORA):
        from bench.registry import TWINS, find_model

        tokenizer = AutoTokenizer.from_pretrained(TWINS / str(find_model(model).twin))
        for template in ("qa", "instruct"):
            tokenizer.chat_template = chat_template(template, tokenizer)
            for context in ("", 'Some "facts"\nand {braces}.'):
                messages = [{"role": "system", "content": context}] if context else []
                messages.append({"role": "user", "content": "What's {{ this }}?"})
                text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                ids = tokenizer(text, add_special_tokens=False)["input_ids"]
                rendered = render(Example("", "What's {{ this }}?", (), context), template)
                assert ids == tokenizer(rendered)["input_ids"]


def weights_changed(change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Any:
    """A fault in merging: every sum of base and adapter is changed."""
    real = merge.sums

    def faulty(loaded: Any, adapter: str) -> Any:
        tuned = loaded.model.base_model.model
        for name, weight in real(loaded, adapter):
            base = tuned.get_submodule(name).get_base_layer().weight.detach().float()
            yield name, change(base, weight - base)

    return faulty


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("half of alpha", lambda base, adapter: base + adapter / 2),
        ("applied twice", lambda base, adapter: base + 2 * adapter),
        ("not applied", lambda base, adapter: base),
        (
            "rounded to a type of 8 bits",
            lambda base, adapter: (base + adapter).to(torch.float8_e4m3fn).float(),
        ),
    ],
)
def test_a_fault_in_merging_is_caught_and_not_pushed(
    fault: str,
    change: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(merge, "sums", weights_changed(change))
    words = ["--merge", "fp32", "--to", str(tmp_path / "out"), "--push", "team/model", "--out", str(folder())]
    assert run_verb(["export", run().record.id, *words]) == 1
    shown = capsys.readouterr().out
    assert "does not reproduce" in shown
    assert "not pushed to team/model" in shown
    assert "NOT verified" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_another_type_than_was_exported_is_caught(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, copy / "model.safetensors")
    assert "the weights are F16, exported were F32" in again(copy).faults


def test_a_missing_tokenizer_file_is_caught(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    result = again(copy)
    assert "tokenizer.json is missing" in result.faults
    assert not result.reproduces


def test_another_template_is_caught_even_where_no_digest_tells(copy: Path) -> None:
    """A program that writes the folder anew writes the digests anew as well."""
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.chat_template = chat_template("instruct", tokenizer)
    tokenizer.save_pretrained(copy)
    manifest.write(copy, manifest.record_in(copy), "merged", "F32")
    result = again(copy)
    assert result.faults == ()
    assert not result.reproduces
    assert result.reanswered[0].equal < 20


def test_a_wrong_alpha_in_an_adapters_configuration_is_caught(tmp_path: Path) -> None:
    place = export(run(), tmp_path / "out").folder
    config = json.loads((place / plain.ADAPTER_CONFIG).read_text())
    config["lora_alpha"] *= 3
    (place / plain.ADAPTER_CONFIG).write_text(json.dumps(config))
    manifest.write(place, manifest.record_in(place), "adapter", "F32")
    result = again(place)
    assert result.faults == ()
    assert not result.reproduces


def test_a_folder_of_somebody_else_is_held_against_a_run(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a manifest and without a record, by `--against`."""
    (copy / manifest.MANIFEST).unlink()
    shutil.rmtree(copy / manifest.RECORDS)
    words = ["verify", str(copy), "--against", run().record.id, "--out", str(folder())]
    assert run_verb(words) == 0
    assert "40 of 40 answers equal" in capsys.readouterr().out


def test_a_folder_with_pickled_weights_is_refused(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert run_verb(["verify", str(copy), "--against", run().record.id, "--out", str(folder())]) == 2
    assert "pickled weights run code: refused" in capsys.readouterr().err


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RequestError, match="exists; name a new folder"):
        export(run(), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "write", full)
    with pytest.raises(OSError):
        export(run(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_pushed_leaves_the_test_questions_at_home(merged: Exported) -> None:
    with Hub({"hf_owner": "team"}) as hub:
        push(merged.folder, "team/model", hub=(client := HfApi(endpoint=hub.url, token="hf_owner")))
        files = set(client.list_repo_files("team/model"))
        assert {"model.safetensors", "README.md", "bench.json", "tokenizer.json"} <= files
        assert not any(name.startswith("record/") for name in files)
        push(merged.folder, "team/model", with_record=True, hub=client)
        assert any(name.endswith("completions.jsonl") for name in client.list_repo_files("team/model"))


@pytest.mark.slow
def test_a_fresh_process_loads_what_was_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line, in the type that the run computed in."""
    id = run().record.id
    assert run_verb(["export", id, "--merge", "--to", str(tmp_path / "out"), "--out", str(folder())]) == 0
    assert "40 of 40 answers equal" in capsys.readouterr().out


def app_of(place: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Space's app as the hub starts it, with a Gradio that only keeps what it is given."""
    from importlib.util import module_from_spec, spec_from_file_location
    from types import SimpleNamespace

    kept = {name: lambda _name=name, **given: (_name, given) for name in ("Interface", "Textbox")}
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(**kept))
    spec = spec_from_file_location("space_app", place / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_space_answers_as_the_run_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is moved first: nothing in it names this machine."""
    stored, place = run(), tmp_path / "space"
    words = ["export", stored.record.id, "--out", str(folder()), "--merge", "fp32", "--sample", "4"]
    assert run_verb([*words, "--to", str(tmp_path / "merged"), "--space", str(place)]) == 0
    shutil.rmtree(tmp_path / "merged")
    place = place.rename(tmp_path / "elsewhere")
    app = app_of(place, monkeypatch)
    rows = stored.completions[:6]
    assert [app.answer(row["question"]) for row in rows] == [row["tuned"] for row in rows]
    assert len({row["tuned"] for row in rows}) > 1
    kind, given = app.page()
    assert (kind, given["fn"]) == ("Interface", app.answer)
    assert f"{stored.record.scores['tuned']['rougeL'].mean:.3f}" in given["description"]
    text = "".join(
        file.read_text() for file in (place / name for name in ("README.md", "space.json", "app.py"))
    )
    assert str(tmp_path) not in text
    assert rows[0]["question"] not in text
    head = yaml.safe_load(text.split("---")[1])
    assert (head["sdk"], head["app_file"]) == ("gradio", "app.py")
    assert "4 of 4 answers equal" in text
    assert not list(place.rglob("record.json"))


def test_a_space_needs_weights_that_load_by_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", run().record.id, "--out", str(folder()), "--to", str(tmp_path / "to")]
    assert run_verb([*words, "--space", str(tmp_path / "space")]) == 2
    assert "add --merge" in capsys.readouterr().err
    assert run_verb([*words, "--merge", "--space", str(folder())]) == 2
    assert "exists; name a new folder" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()
