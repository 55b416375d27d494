"""A GGUF file is a checkpoint: known by its digest, dequantised once, stated on the row."""

from __future__ import annotations

import json
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from bench import registry
from bench.cli import run_verb
from bench.digest import digest, file_digest
from bench.errors import RequestError
from bench.judge.doubts import row_doubts
from bench.launch import preflight
from bench.render.card import model_card
from bench.render.doubts import badge
from bench.run.identity import Checkpoint
from bench.store.ledger import Ledger
from bench.train import gguf
from tests.gguf_files import TWIN, write_gguf
from tests.records import make_record


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for tests about what appears in it."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("plain") / "small.gguf")


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("q4") / "small-Q4_1.gguf", stored="Q4_1")


def expanded(file: Path) -> Path:
    return gguf.loadable(file, file_digest(file))


def logits(folder: Path) -> torch.Tensor:
    """What the model computes with positions that are not scaled: a GGUF file cannot say otherwise here."""
    config = AutoConfig.from_pretrained(folder)
    config.rope_parameters = {"rope_type": "default", "rope_theta": config.rope_parameters["rope_theta"]}
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)
    with torch.inference_mode():
        return model(torch.arange(40, 72).reshape(1, -1)).logits  # type: ignore[no-any-return]


def test_a_file_says_what_it_holds(quantised: Path) -> None:
    facts = gguf.facts(quantised)
    twin = AutoModelForCausalLM.from_pretrained(TWIN)
    assert facts == gguf.Facts(
        digest=file_digest(quantised),
        family="llama",
        architecture="LlamaForCausalLM",
        licence="apache-2.0",
        parameters=twin.num_parameters(),
        quantisation="Q4_1",
        stored_type="Q4_1",
    )


def test_a_mixture_is_called_by_its_name(here: Path) -> None:
    Q4_K_M = 15  # noqa: N806  (llama.cpp's name and number)
    file = write_gguf(here / "small.gguf", stored="Q4_1", file_type=Q4_K_M)
    assert gguf.facts(file).quantisation == "Q4_K_M"


def test_a_type_newer_than_the_package_is_called_by_its_commonest_tensor(here: Path) -> None:
    assert gguf.facts(write_gguf(here / "a.gguf", stored="Q8_0", file_type=999)).quantisation == "Q8_0"


def test_weights_that_were_never_quantised_are_not_called_dequantised(plain: Path) -> None:
    assert gguf.facts(plain).quantisation is None


def test_expanded_weights_compute_what_the_model_computes(plain: Path) -> None:
    torch.testing.assert_close(logits(expanded(plain)), logits(TWIN), rtol=1e-5, atol=1e-4)


def test_dequantised_weights_are_near_the_model_and_not_equal(quantised: Path) -> None:
    ours, true = logits(expanded(quantised)), logits(TWIN)
    error = (ours - true).norm() / true.norm()
    assert 0.001 < error < 0.3


def test_expanded_weights_are_float32_safetensors_without_a_quantisation(quantised: Path) -> None:
    folder = expanded(quantised)
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config
    assert (folder / "model.safetensors").is_file()


def test_a_tokenizer_that_splits_digits_splits_them(here: Path) -> None:
    folder = expanded(write_gguf(here / "digits.gguf", splits="smollm"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("at 2048")] == [
        *("at", "Ġ", "2", "0", "4", "8")
    ]


def test_the_tokenizer_reads_as_the_models(plain: Path) -> None:
    text = "Question: What is a p-value of 0.05, or 12345?\nAnswer:\n"
    ours, true = AutoTokenizer.from_pretrained(expanded(plain)), AutoTokenizer.from_pretrained(TWIN)
    assert ours.decode(ours(text)["input_ids"], skip_special_tokens=True) == text
    assert (
        ours(text, add_special_tokens=False)["input_ids"] == true(text, add_special_tokens=False)["input_ids"]
    )


@pytest.mark.parametrize(
    ("twin", "begins", "expected"),
    [
        ("llama-2", None, True),
        ("llama-2", False, False),
        ("llama-3.1", None, True),
        ("llama-3.1", False, False),
    ],
)
def test_a_text_begins_as_the_file_says(twin: str, begins: bool | None, expected: bool, here: Path) -> None:
    """transformers reads the tokens and not the rule, so a model would be asked as it never was."""
    folder = registry.TWINS / twin
    file = write_gguf(here / "small.gguf", splits="llama-bpe", folder=folder, begins=begins)
    ours, true = AutoTokenizer.from_pretrained(expanded(file)), AutoTokenizer.from_pretrained(folder)
    for text in ("Question: What is a p-value of 0.05?\nAnswer:\n", "a"):
        ids = true(text)["input_ids"]
        assert ids[0] == true.bos_token_id
        assert ours(text)["input_ids"] == (ids if expected else ids[1:])


def test_a_rule_of_splitting_without_a_beginning_leaves_it_out(here: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(expanded(write_gguf(here / "a.gguf", splits="smollm")))
    assert tokenizer("a")["input_ids"][0] != tokenizer.bos_token_id


def test_a_file_is_expanded_once(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = expanded(plain)

    def again(*_: Any) -> None:
        raise AssertionError("expanded a second time")

    monkeypatch.setattr(gguf, "_expand", again)
    assert expanded(plain) == folder


def test_an_expansion_that_dies_leaves_nothing_that_is_taken_for_whole(
    plain: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(gguf, "_expand", half)
        with pytest.raises(KeyboardInterrupt):
            expanded(plain)
    assert [entry for entry in (cache / "gguf").iterdir() if entry.is_dir()] == []
    assert (expanded(plain) / "model.safetensors").is_file()


def test_two_processes_may_expand_the_same_file(
    plain: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=30)

    def slowly(file: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        both.wait()  # neither is done before the other has begun

    monkeypatch.setattr(gguf, "_expand", slowly)
    gguf.facts(plain)
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(expanded(plain))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 2
    assert folders[0] == folders[1]
    assert [entry for entry in (cache / "gguf").iterdir() if entry.is_dir()] == [folders[0]]


def test_a_file_that_changed_after_planning_is_refused(here: Path) -> None:
    file = write_gguf(here / "small.gguf")
    planned = file_digest(file)
    write_gguf(file, stored="Q8_0")
    with pytest.raises(RequestError, match="has changed since the run was planned"):
        gguf.loadable(file, planned)


def test_the_files_digest_is_the_checkpoints_identity(quantised: Path) -> None:
    origin, folder = preflight.checkpoint(registry.find_model(str(quantised)), "full", "cpu")
    assert folder == quantised
    assert origin == Checkpoint(
        source="small-Q4_1.gguf", revision=file_digest(quantised), kind="gguf", dequantised_from="Q4_1"
    )


def test_every_known_family_can_be_read_by_transformers() -> None:
    import transformers
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    assert set(gguf.CLASSES) <= set(GGUF_SUPPORTED_ARCHITECTURES)
    assert all(hasattr(transformers, name) for name in gguf.CLASSES.values())


def refused(capsys: pytest.CaptureFixture[str], model: str) -> str:
    assert run_verb(["run", "--models", model]) == 2
    assert not Path("reports").exists()
    return capsys.readouterr().err


def test_a_missing_package_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str], plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = metadata.version

    def without(name: str) -> str:
        if name == "gguf":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", without)
    error = refused(capsys, str(plain))
    assert "needs the package gguf; pip install 'bench-sft[gguf]'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"family": "clip"}, "holds a 'clip' model, which cannot be tuned from GGUF here; known: bloom"),
        ({"scaled": True}, "its rotary positions are scaled, which transformers does not read from GGUF"),
        ({"parts": 3}, "is one of 3 parts; join them by llama-gguf-split --merge"),
    ],
)
def test_a_file_that_cannot_be_tuned_is_refused(
    capsys: pytest.CaptureFixture[str], here: Path, changes: dict[str, Any], expected: str
) -> None:
    write_gguf(here / "odd.gguf", **changes)
    assert expected in refused(capsys, "./odd.gguf")


def test_a_file_cut_short_is_refused(capsys: pytest.CaptureFixture[str], here: Path, plain: Path) -> None:
    (here / "cut.gguf").write_bytes(plain.read_bytes()[:2_000_000])
    assert "cut.gguf: is cut short or damaged" in refused(capsys, "./cut.gguf")


def test_a_file_of_another_kind_is_refused(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "text.gguf").write_text("version https://git-lfs.github.com/spec/v1")
    assert "text.gguf: is no GGUF file" in refused(capsys, "./text.gguf")


def test_a_registered_model_runs_from_given_weights(here: Path, plain: Path) -> None:
    (here / "models").mkdir()
    (here / "models" / "mine.toml").write_text(
        'checkpoint = "example/mine"\nlicence = "MIT"\nfamily = "llama"\narchitecture = "LlamaForCausalLM"\n'
        f'objective = "causal"\nparameters = {gguf.facts(plain).parameters}\n[recipe]\nlearning_rate = 7e-4\n'
    )
    spec = registry.find_model(f"mine={plain}")
    assert (spec.name, spec.recipe.learning_rate, spec.checkpoint) == ("mine", 7e-4, str(plain))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt2", "holds a LlamaForCausalLM, but 'gpt2' is a GPT2LMHeadModel; give the path alone"),
        ("smollm2-135m", "parameters, but 'smollm2-135m' has 134,515,008; give the path alone"),
    ],
)
def test_another_models_weights_are_not_taken_for_it(
    capsys: pytest.CaptureFixture[str], plain: Path, name: str, expected: str
) -> None:
    assert expected in refused(capsys, f"{name}={plain}")


def test_dequantised_weights_are_a_badge(tmp_path: Path) -> None:
    record = make_record(tmp_path).record
    checkpoint = Checkpoint(source="m.gguf", revision="0", kind="gguf", dequantised_from="Q4_1")
    run = record.run.model_copy(update={"checkpoint": checkpoint})
    badges = [badge(doubt) for doubt in row_doubts([record.model_copy(update={"run": run})])]
    reasons = {shown.name: shown.reason for shown in badges}
    assert reasons["dequantised"] == "weights dequantised from Q4_1, not the published ones"


def test_a_card_says_how_to_load_the_base_of_an_adapter(tmp_path: Path) -> None:
    record = make_record(tmp_path, "gpt2").record
    checkpoint = Checkpoint(source="m.gguf", revision="0", kind="gguf", dequantised_from="Q4_1")
    run = record.run.model_copy(update={"checkpoint": checkpoint})
    text = model_card(record.model_copy(update={"run": run}))
    assert 'AutoModelForCausalLM.from_pretrained("path/to/folder", gguf_file="m.gguf")' in text
    assert "- Weights dequantised from Q4_1\n" in text


def test_smollm2_has_no_miniature_and_is_left_out_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["plan", "--models", "all", "--scale", "mini"]) == 0
    output = capsys.readouterr().out
    assert "left out at scale mini, no twin: smollm2-135m" in output
    assert "smollm2-135m  " not in output


def test_old_records_keep_their_identity() -> None:
    """A field with a default is no part of what identified a run before there was one."""
    stored, messages = Ledger(registry.ROOT / "reports" / "twins").load()
    assert stored
    assert messages == []
    assert all(item.record.run.id == item.record.id for item in stored)
    origin = {"source": "example/m", "revision": "1" * 40, "kind": "hub"}
    changes = {"checkpoint": Checkpoint.model_validate(origin), "harness": None}
    run = stored[0].record.run.model_copy(update=changes)
    kept = {"recipe", "contract", "scale", "seed", "device", "backend", "versions"}
    assert run.digest == digest(
        {
            "model": [run.model.name, run.model.objective, origin],
            "template": run.template,
            **run.model_dump(mode="json", include=kept),
        }
    )


@pytest.mark.slow
def test_a_gguf_file_is_tuned_and_says_so(here: Path, quantised: Path) -> None:
    words = ["--budget", "2x8", "--eval-limit", "20", "--max-new-tokens", "4", "--jobs", "1"]
    assert run_verb(["run", "--models", str(quantised), *words]) == 0
    stored, messages = Ledger(Path("reports")).load()
    assert messages == []
    (record,) = [item.record for item in stored]
    assert record.run.checkpoint.revision == file_digest(quantised)
    assert record.run.model.checkpoint == "small-Q4_1.gguf"
    assert record.run.versions["gguf"] == metadata.version("gguf")
    assert record.backend.end_token is not None
    assert "'<|begin_of_text|>'" in record.backend.end_token
    assert "'<|end_of_text|>' (id 4087), used instead" in record.backend.end_token
    assert {"dequantised", "end token"} <= {badge(doubt).name for doubt in row_doubts([record])}
    assert str(here) not in record.run.model_dump_json()


def test_a_folders_parameters_are_counted_whatever_they_are_stored_as(plain: Path) -> None:
    """The twin is stored in bfloat16, its expansion in float32."""
    counts = {registry.local_model(folder).parameters for folder in (TWIN, expanded(plain))}
    assert counts == {gguf.facts(plain).parameters}


def test_a_safetensors_file_cut_short_is_refused(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "cut").mkdir()
    (here / "cut" / "config.json").write_text((TWIN / "config.json").read_text())
    (here / "cut" / "model.safetensors").write_bytes((TWIN / "model.safetensors").read_bytes()[:500])
    assert "model.safetensors: is no whole safetensors file; fetch it again" in refused(capsys, "./cut")
