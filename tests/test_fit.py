"""Training on the twins, through the real trainers, in 4 bit and in full."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import course, encoded, mini_run, prompts, trained

from bench.errors import BudgetMismatch, NotFinite
from bench.run.answers.generate import complete
from bench.train.encoded import Encoded
from bench.train.fit import Fitted, fit
from bench.train.load import Loaded, load
from bench.train.meter import affordable
from bench.verbs.options import parse_budget


@pytest.mark.slow
def test_equal_spending_gives_equal_training(tmp_path: Path) -> None:
    """8x1, 4x2 and 1x8 with unequal answer lengths; a mean of means would differ."""
    for model in ("gpt2", "gpt-neo-125m", "bart-large-xsum"):
        curves = []
        for micro_batch in (8, 4, 1):
            run, folder = mini_run(model, steps=3, micro_batch=micro_batch, dropout=0.0, method="full")
            loaded = load(run, folder)
            for module in loaded.model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            if hasattr(loaded.model.config, "dropout"):
                silence_dropout(loaded.model)
            fitted = fit(
                run, loaded, encoded(run, loaded), tmp_path / f"{model}{micro_batch}", lambda *_: None
            )
            curves.append([point["loss"] for point in fitted.meter.curve])
        assert curves[1] == pytest.approx(curves[0], rel=2e-4), model
        assert curves[2] == pytest.approx(curves[0], rel=2e-4), model


def silence_dropout(model: torch.nn.Module) -> None:
    """BART keeps its dropout as plain numbers."""
    for module in model.modules():
        for name in ("dropout", "activation_dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def test_what_was_spent_is_counted_from_the_batches(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2", steps=2, micro_batch=2)
    loaded = load(run, folder)
    examples = encoded(run, loaded)
    meter = fit(run, loaded, examples, tmp_path, lambda *_: None).meter
    assert (meter.examples, meter.steps) == (16, 2)
    assert meter.supervised_tokens == sum(label != -100 for e in examples for label in e.labels)
    assert meter.total_tokens == sum(len(e.input_ids) for e in examples)


def test_the_loss_on_validation_examples_is_followed_and_changes_nothing(tmp_path: Path) -> None:
    held_out = list(course().followed[:5])
    for model in ("gpt2", "bart-large-xsum"):
        run, folder = mini_run(model, steps=6, micro_batch=4)
        fits = []
        for name, followed in (("with", held_out), ("without", [])):
            loaded = load(run, folder)
            validation = encoded(run, loaded, followed) if followed else []
            fits.append(
                fit(run, loaded, encoded(run, loaded), tmp_path / model / name, lambda *_: None,
                    validation=validation)
            )  # fmt: skip
            if followed:
                one_by_one = _mean_loss_by_hand(loaded.model, validation)
        curve, plain = (fitted.meter.curve for fitted in fits)
        assert [point["loss"] for point in curve if "loss" in point] == [point["loss"] for point in plain]
        evaluations = [point for point in curve if "eval_loss" in point]
        assert [point["examples"] for point in evaluations] == [0, 8, 16, 24, 32, 40, 48]
        assert evaluations[-1]["eval_loss"] == pytest.approx(one_by_one, rel=1e-4), "over tokens, not batches"
        assert fits[0].meter.total_tokens == fits[1].meter.total_tokens


def test_a_small_budget_follows_the_loss_on_fewer_examples() -> None:
    """Six in a hundred of those trained on, over all looks together; never fewer than four."""
    follows = {text: affordable(parse_budget(text)) for text in ("smoke", "short", "long")}
    assert follows == {"smoke": 4, "short": 4, "long": 41}


def _mean_loss_by_hand(model: torch.nn.Module, examples: list[Encoded]) -> float:
    model.eval()
    total, tokens = 0.0, 0
    for example in examples:
        inputs = {name: torch.tensor([value]) for name, value in example.features.items()}
        supervised = sum(label != -100 for label in example.labels)
        with torch.no_grad():
            total += float(model(**inputs).loss) * supervised
        tokens += supervised
    return total / tokens


def test_a_run_that_saw_fewer_examples_than_its_budget_is_refused(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2", steps=3)
    loaded = load(run, folder)
    with pytest.raises(BudgetMismatch, match="examples where the budget 3x8"):
        fit(run, loaded, encoded(run, loaded)[:20], tmp_path, lambda *_: None)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2", steps=8, method="full", learning_rate=1e30, max_grad_norm=0.0)
    with pytest.raises(NotFinite, match="at step"):
        trained(run, folder, tmp_path)


def test_one_seed_gives_one_adapter_and_another_seed_another() -> None:
    def first_weights(seed: int) -> torch.Tensor:
        run, folder = mini_run("gpt2", seed=seed)
        named = load(run, folder).model.named_parameters()
        return next(p for name, p in named if "lora_A" in name).detach().clone()

    torch.manual_seed(1)
    first = first_weights(0)
    torch.manual_seed(2)
    assert torch.equal(first_weights(0), first)
    assert not torch.equal(first_weights(1), first)


def test_qlora_weights_are_stored_in_four_bits_and_only_the_adapter_learns(tmp_path: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    run, folder = mini_run("llama-3.1-8b", steps=2)
    loaded, _ = trained(run, folder, tmp_path)
    quantised = [module for module in loaded.model.modules() if isinstance(module, Linear4bit)]
    assert quantised
    assert all(module.quant_state.quant_type == "nf4" and module.quant_state.nested for module in quantised)
    learning = [name for name, p in loaded.model.named_parameters() if p.requires_grad]
    assert learning
    assert all("lora_" in name for name in learning)


@pytest.mark.parametrize("installed", [True, False])
def test_plain_bitsandbytes_is_a_fallback_only_where_unsloth_is_missing(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.train.load._has_unsloth", lambda: installed)
    backend = load(*mini_run("llama-3.1-8b", steps=2)).backend
    assert any("Unsloth: not installed" in reason for reason in backend.fallbacks) is not installed
    assert ("--backend transformers" in backend.reason) is installed


def test_generating_training_and_generating_again_is_right_in_four_bits(tmp_path: Path) -> None:
    """On the CPU bitsandbytes would repack weights for inference, and they would lose their gradient."""
    run, folder = mini_run("llama-3.1-8b", steps=4)
    loaded = load(run, folder)
    examples = course().eval[:6]
    batch = {
        "input_ids": torch.tensor([encoded(run, loaded)[0].input_ids]),
        "labels": torch.tensor([encoded(run, loaded)[0].labels]),
    }

    def gradients() -> list[torch.Tensor]:
        loaded.model.train()
        loaded.model.zero_grad()
        loaded.model(**batch).loss.backward()
        return [p.grad.clone() for p in loaded.model.parameters() if p.grad is not None]

    def answers() -> list[str]:
        written = complete(
            loaded.model, loaded.tokenizer, prompts(run, loaded, examples), run.contract.decoding, "causal"
        )
        return [completion.text for completion in written]

    expected = gradients()
    before = answers()
    for now, then in zip(gradients(), expected, strict=True):
        assert torch.allclose(now, then, rtol=1e-3, atol=1e-6)
    loaded.model.zero_grad()
    fit(run, loaded, encoded(run, loaded), tmp_path / "train", lambda *_: None)
    assert answers() != before, "the adapter has learnt"
    with loaded.model.disable_adapter():
        assert answers() == before, "and without it the base is what it was"


def test_gradient_checkpointing_costs_time_and_changes_nothing(tmp_path: Path) -> None:
    """The published 4-bit recipes train with it, to save memory."""
    curves = []
    for checkpointing in (False, True):
        run, folder = mini_run(
            "llama-3.1-8b", steps=2, micro_batch=4, dropout=0.0, gradient_checkpointing=checkpointing
        )
        _, fitted = trained(run, folder, tmp_path / str(checkpointing))
        curves.append([point["loss"] for point in fitted.meter.curve])
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


def test_the_published_4bit_recipes_use_gradient_checkpointing_and_their_twins_do_not() -> None:
    from bench import registry

    specs = [spec for spec in registry.models().values() if spec.recipe.method == "qlora"]
    assert len(specs) == 3
    assert all(spec.recipe.gradient_checkpointing for spec in specs)
    assert not any(spec.recipe_at("mini").gradient_checkpointing for spec in specs)


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    run, folder = mini_run("gpt2", steps=6)
    whole = load(run, folder)
    held_out = encoded(run, whole, list(course().followed[:3]))

    def fitted(loaded: Loaded, where: str, report: Callable[[int, int, float], None]) -> Fitted:
        return fit(
            run, loaded, encoded(run, loaded), tmp_path / where, report, checkpoint_every=3,
            validation=held_out,
        )  # fmt: skip

    undisturbed = fitted(whole, "whole", lambda *_: None)

    class Stop(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 5:
            raise Stop

    cut = load(run, folder)
    with pytest.raises(Stop):
        fitted(cut, "cut", stop)
    fresh = load(run, folder)
    resumed = fitted(fresh, "cut", lambda *_: None)
    assert resumed.meter.examples == undisturbed.meter.examples == 48
    assert len(resumed.meter.curve) == 6 + 7
    for point, same in zip(resumed.meter.curve, undisturbed.meter.curve, strict=True):
        assert point == pytest.approx(same)
    for (name, one), (_, other) in zip(
        whole.model.named_parameters(), fresh.model.named_parameters(), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-6), name


def test_a_saved_adapter_loads_with_peft_alone(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run, folder = mini_run("gpt2", steps=2)
    loaded, _ = trained(run, folder, tmp_path / "train")
    loaded.model.save_pretrained(tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    again = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    ids = torch.tensor([prompts(run, loaded, course().eval[:1])[0]])
    with torch.no_grad():
        assert torch.allclose(again(ids).logits, loaded.model.eval()(ids).logits, atol=1e-4)


def test_unsloth_trains_and_scores_on_the_cpu(tmp_path: Path) -> None:
    """The real `FastLanguageModel`, in a process of its own because it patches what it touches."""
    try:
        importlib.metadata.version("unsloth")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the unsloth extra is not installed (make unsloth)")
    words = (
        "run --models llama-3.1-8b --backend unsloth --budget 2x8 --eval-limit 20 --max-new-tokens 8 --jobs 2"
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", *words.split(), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    from bench.store.ledger import Ledger

    (stored,), _ = Ledger(tmp_path).load()
    assert stored.record.backend.name == "unsloth"
    assert stored.record.backend.fallbacks == ()
    assert stored.record.spent.steps == 2
    assert "unsloth" in stored.record.run.versions
