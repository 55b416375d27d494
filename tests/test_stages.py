"""What a run measures of its stages, and the settings that decide whether it repeats to the last digit."""

from __future__ import annotations

import pytest
import torch
from runs import mini_run

from bench.run.account import determinism
from bench.run.clock import Clock
from bench.run.plan import choose_backend


class Gpu:
    """Answers as torch.cuda does: the peak since the last reset."""

    def __init__(self) -> None:
        self.peak = 0

    def allocate(self, size: int) -> None:
        self.peak = max(self.peak, size)

    def reset_peak_memory_stats(self) -> None:
        self.peak = 0

    def max_memory_allocated(self) -> int:
        return self.peak


def test_each_stage_has_its_own_peak_of_gpu_memory() -> None:
    gpu = Gpu()
    clock = Clock(lambda event: None, gpu)
    for stage, size in (("load", 16), ("train", 20), ("generate base", 70), ("score", 3), ("load", 12)):
        with clock.stage(stage):  # type: ignore[arg-type]
            gpu.allocate(size)
    assert clock.gpu_memory == {"load": 16, "train": 20, "generate base": 70, "score": 3}


def test_without_a_gpu_there_is_no_peak_to_record() -> None:
    clock = Clock(lambda event: None)
    with clock.stage("train"):
        pass
    assert clock.gpu_memory == {}
    assert clock.seconds["train"] >= 0


def test_settings_of_determinism_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.use_deterministic_algorithms(True)
        settings = determinism()
    finally:
        torch.use_deterministic_algorithms(before)
    assert settings["deterministic algorithms"] == "True"
    assert settings["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert determinism()["deterministic algorithms"] == str(before)


def test_a_4bit_model_goes_through_unsloth_but_not_on_mps() -> None:
    run, _ = mini_run("llama-3.1-8b")
    versions = {"unsloth": "2026.10.9"}
    assert choose_backend(run.model, run.recipe, versions, device="cuda") == "unsloth"
    assert choose_backend(run.model, run.recipe, versions, device="mps") == "transformers"
