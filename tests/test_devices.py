"""Which device runs use and which GPU each may see, from answers that torch gives on machines with GPUs."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import devices
from bench.devices import Devices, ask_torch, choose, hides_all, share, slots

T4 = ["Tesla T4", 7, 5, 15_835_660_288]
A100 = ["NVIDIA A100-SXM4-40GB", 8, 0, 42_298_834_944]
MIG = "MIG-3c1f6b72-90a8-5d5c-8f0e-2b1ab6a9d3c4"
UUID = "GPU-8f2d3c1a-0f5e-4d9b-b7a3-5f1c2e9d7a60"


def answer(*gpus: list[Any], build: str | None = "13.0", mps: bool = False) -> dict[str, Any]:
    return {"version": "2.13.0", "build": build, "gpus": list(gpus), "mps": mps}


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [
        (None, 2, ("0", "1")),
        ("2,3", 2, ("2", "3")),
        (" 3 , 1 ", 2, ("3", "1")),
        ("1,-1,0", 1, ("1",)),
        ("0,1,9", 2, ("0", "1")),
        (f"{UUID},1", 2, (UUID, "1")),
        (f"{MIG},{MIG[:-1]}5", 1, (MIG, f"{MIG[:-1]}5")),
    ],
)
def test_jobs_get_the_gpus_that_the_user_made_visible(
    visible: str | None, count: int, expected: tuple[str, ...]
) -> None:
    assert slots(visible, count) == expected


@pytest.mark.parametrize(("visible", "hidden"), [("", True), ("-1", True), ("-1,0", True), ("0", False)])
def test_an_empty_list_or_minus_one_hides_every_gpu(visible: str, hidden: bool) -> None:
    assert hides_all(visible) is hidden


def test_an_unset_list_hides_nothing() -> None:
    assert not hides_all(None)


def test_jobs_go_round_the_gpus_and_one_gpu_is_left_as_it_is() -> None:
    given = [share(("2", "3"), slot).get("CUDA_VISIBLE_DEVICES") for slot in range(3)]
    assert given == ["2", "3", "2"]
    assert share(("2",), 0) == {}
    assert share((), 0) == {}


def test_two_gpus_are_cuda_with_a_slot_each() -> None:
    chosen = choose(answer(T4, T4), {"CUDA_VISIBLE_DEVICES": "2,3"})
    assert (chosen.device, chosen.slots) == ("cuda", ("2", "3"))
    assert chosen.gpus[0].capability == (7, 5)


def test_a_build_for_the_cpu_beside_a_gpu_is_the_cpu_with_a_note() -> None:
    chosen = choose(answer(build=None), {})
    assert chosen.device == "cpu"
    assert "a build for the CPU" in chosen.note


def test_a_driver_that_torch_cannot_use_is_the_cpu_with_a_note() -> None:
    assert "no usable GPU" in choose(answer(), {}).note


def test_a_torch_that_does_not_load_is_the_cpu_with_its_reason() -> None:
    chosen = choose({"error": "ImportError: libcudart.so.13"}, {})
    assert chosen.device == "cpu"
    assert "libcudart" in chosen.note


def test_apple_silicon_is_mps() -> None:
    assert choose(answer(build=None, mps=True), {}).device == "mps"


def test_torch_is_asked_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The interpreter stands in for one whose torch sees a GPU; its chatter is no answer."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho 'a warning'\necho '{json.dumps(answer(A100))}'\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    assert choose(ask_torch(str(python)), {}).gpus[0].name == A100[0]


def test_the_question_is_one_that_the_installed_torch_answers() -> None:
    from torch import __version__

    answered = ask_torch()
    assert answered["version"] == __version__
    assert "torch" not in vars(devices), "the driver itself imports no torch"


def test_an_interpreter_without_torch_is_an_error_and_no_crash(tmp_path: Path) -> None:
    assert "FileNotFoundError" in ask_torch(str(tmp_path / "none"))["error"]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    devices.here.cache_clear()
    yield monkeypatch
    devices.here.cache_clear()


def test_wsl2_has_a_gpu_without_the_drivers_folder_in_proc(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dxg").touch()
    fresh.setattr(devices, "HINTS", (f"{tmp_path}/dxg",))
    fresh.setattr(devices, "ask_torch", lambda: answer(A100))
    fresh.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.here().device == "cuda"
    fresh.setattr(devices, "ask_torch", lambda: pytest.fail("asked twice"))
    assert devices.here().slots == ("0",), "the answer is kept for the command"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no device files to look for")
def test_without_a_hint_of_a_gpu_torch_is_not_asked(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh.setattr(devices, "HINTS", (f"{tmp_path}/nvidia*",))
    fresh.setattr(devices, "ask_torch", lambda: pytest.fail("asked"))
    assert devices.here() == Devices("cpu")


def test_hidden_gpus_are_not_asked_for(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    fresh.setattr(devices, "HINTS", (f"{tmp_path}/nvidia0",))
    fresh.setattr(devices, "ask_torch", lambda: pytest.fail("asked"))
    fresh.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "-1")
    assert devices.here().device == "cpu"
