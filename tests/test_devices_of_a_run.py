"""Several processes for one run: the same examples, the same losses, the same weights."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import course, job_for, mini_run
from safetensors.torch import load_file

from bench import registry
from bench.errors import BudgetError, RequestError
from bench.launch.process import Pool
from bench.launch.ranks import spread
from bench.run import plan as planning
from bench.run.answers import shares
from bench.run.answers.generate import Completion
from bench.run.job import PENDING
from bench.spec import Method, Recipe
from bench.store.record import COMPLETIONS, CURVE, Record
from bench.train import distributed

#: Model -> devices and micro-batch of its runs; with accumulation each makes 8 examples to a step.
SHARES = {
    "llama-2-7b": [(1, 8), (2, 4), (2, 2)],
    "bart-large-xsum": [(1, 8), (2, 4), (2, 2)],
    "mistral-7b-v0.3": [(1, 8), (2, 4), (2, 2)],
}
METHODS: dict[str, Method] = {"llama-2-7b": "lora", "bart-large-xsum": "full", "mistral-7b-v0.3": "qlora"}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


def carry_out(pool: Pool, model: str, workspace: Path, **recipe: Any) -> list[dict[str, Any]]:
    """The events of one run of a twin."""
    few = replace(course(), train=course().train[:40], eval=course().eval[:8], followed=course().eval[:4])
    run, folder = mini_run(model, steps=3, new_tokens=2, **recipe)
    pool.submit(job_for(run, folder, few, workspace), {})
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        events += pool.events(0.1)
        if any(event["event"] == "exit" for event in events):
            return events
    raise AssertionError(f"no exit: {events}")


@pytest.fixture(scope="module", params=list(SHARES))
def shared(
    request: pytest.FixtureRequest, pool: Pool, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """The workspaces of one model's runs, one for each of `SHARES`."""
    place = tmp_path_factory.mktemp(request.param)
    places = []
    for devices, micro_batch in SHARES[request.param]:
        places.append(place / f"{devices}x{micro_batch}")
        change = {"devices": devices, "micro_batch": micro_batch, "method": METHODS[request.param]}
        events = carry_out(pool, request.param, places[-1], **change)
        assert events[-1]["status"] == 0, (places[-1] / "log.txt").read_text()[-2000:]
    return places


def curve(workspace: Path, field: str) -> list[float]:
    points = [json.loads(line) for line in (workspace / CURVE).read_text().splitlines()]
    return [point[field] for point in points if field in point]


def record(workspace: Path) -> Record:
    return Record.model_validate_json((workspace / PENDING).read_bytes())


@pytest.mark.slow
def test_shares_of_a_batch_give_the_losses_of_the_whole(shared: list[Path]) -> None:
    """Answers have unequal lengths, so a mean of means would differ in the second digit."""
    whole, *parts = shared
    for field in ("loss", "grad_norm", "eval_loss", "examples"):
        assert len(curve(whole, field)) >= 3
        for part in parts:
            assert curve(part, field) == pytest.approx(curve(whole, field), rel=2e-4), field


@pytest.mark.slow
def test_shares_of_a_batch_give_the_weights_of_the_whole(shared: list[Path]) -> None:
    """Of each matrix as a whole: Adam makes a step of a full learning rate of a gradient that rounds to zero,
    so single elements may differ by more than rounding does. What is kept in bfloat16 has its rounding.
    """
    whole, *parts = [next(place.glob("*/*.safetensors")) for place in shared]
    wanted = load_file(whole)
    for part in parts:
        for name, weight in load_file(part).items():
            apart = torch.linalg.vector_norm(weight.float() - wanted[name].float())
            allowed = max(1e-3, 4 * torch.finfo(weight.dtype).eps)
            assert apart <= allowed * torch.linalg.vector_norm(wanted[name].float()), name


@pytest.mark.slow
def test_shares_of_the_questions_get_the_answers_of_one_process(shared: list[Path]) -> None:
    """Of the tuned model its own weights decide, so those of the same weights are compared."""
    whole, *parts = [(place / COMPLETIONS).read_text().splitlines() for place in shared]
    assert len(whole) == 8
    for part in parts:
        for one, other in zip(whole, part, strict=True):
            assert json.loads(one)["base"] == json.loads(other)["base"]


@pytest.mark.slow
def test_what_all_processes_spent_is_counted_once(shared: list[Path]) -> None:
    whole, *parts = map(record, shared)
    for part in parts:
        assert part.spent.examples == whole.spent.examples == 24
        assert part.spent.supervised_tokens == whole.spent.supervised_tokens
        assert part.data.train_digest == whole.data.train_digest


@pytest.mark.slow
def test_a_failure_of_one_process_ends_the_run_with_its_reason(pool: Pool, tmp_path: Path) -> None:
    events = carry_out(
        pool, "gpt2", tmp_path / "run", devices=2, micro_batch=4, method="freeze", last_blocks=9
    )
    (failed,) = [event for event in events if event["event"] == "failed"]
    assert "the model has 4 blocks" in failed["reason"]
    assert failed["stage"] == "load"
    assert events[-1]["status"] != 0


def test_every_process_knows_its_number(tmp_path: Path) -> None:
    """As `torchrun` tells it; and that all of them end is what counts."""

    def attempt(rank: int) -> None:
        (tmp_path / f"{rank}").write_text(f"{os.environ['RANK']} of {os.environ['WORLD_SIZE']}")

    assert spread(3, tmp_path, attempt) == []
    assert [(tmp_path / str(rank)).read_text() for rank in range(3)] == ["0 of 3", "1 of 3", "2 of 3"]


def test_every_process_answers_its_part_of_the_questions(tmp_path: Path) -> None:
    prompts = [[7] * length for length in (3, 9, 1, 5, 8)]
    run = mini_run("gpt2", devices=2, micro_batch=4)[0]

    def attempt(rank: int) -> None:
        def answer(part: Sequence[list[int]], tuned: bool) -> list[Completion]:
            (tmp_path / f"{rank} {'tuned' if tuned else 'base'}").write_text(repr([len(one) for one in part]))
            return [Completion(f"{len(one)} by {rank}", len(one), truncated=False, batch=4) for one in part]

        distributed.join(run)
        if rank > 0:
            shares.help_out(answer)
            return
        answers = shares.ask(prompts, False, answer) + shares.ask(prompts[:1], True, answer)
        shares.dismiss()
        (tmp_path / "answers").write_text("\n".join(one.text for one in answers))

    assert spread(2, tmp_path, attempt) == []
    answers = (tmp_path / "answers").read_text().splitlines()
    assert answers == ["3 by 1", "9 by 0", "1 by 0", "5 by 0", "8 by 1", "3 by 0"]
    assert (tmp_path / "0 base").read_text() == "[9, 5, 1]"
    assert (tmp_path / "1 tuned").read_text() == "[]"


def test_where_one_process_dies_the_others_are_ended(tmp_path: Path) -> None:
    def attempt(rank: int) -> None:
        if rank == 1:
            raise ValueError("planted")
        time.sleep(60)

    began = time.monotonic()
    assert spread(2, tmp_path, attempt) == [1]
    assert time.monotonic() - began < 30


def test_a_process_that_was_killed_is_told_from_those_that_fell_with_it(tmp_path: Path) -> None:
    """The others fail by a broken connection, and may be seen first."""

    def attempt(rank: int) -> None:
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)
        raise ConnectionError("closed by peer")

    assert -signal.SIGKILL in spread(2, tmp_path, attempt)


def test_devices_share_the_effective_batch() -> None:
    run, _ = mini_run("gpt2", devices=2, micro_batch=2)
    assert run.accumulation == 2
    with pytest.raises(BudgetError, match=r"'recipe.micro_batch' 8 x 'recipe.devices' 2 does not divide"):
        mini_run("gpt2", devices=2, micro_batch=8)


def test_the_number_of_devices_is_part_of_a_shared_run_alone() -> None:
    assert "devices" not in Recipe().model_dump()
    assert Recipe(devices=2).model_dump()["devices"] == 2
    assert mini_run("gpt2", devices=2, micro_batch=4)[0].id != mini_run("gpt2", micro_batch=4)[0].id


def test_several_gpus_for_one_run_are_refused() -> None:
    with pytest.raises(RequestError, match="was tried on CPUs alone"):
        planning.check_devices(registry.find_model("gpt2"), Recipe(devices=2), "cuda")
