"""One run's whole life, in its own process: load, generate, train, generate, score, save.

Everything it says goes through `emit`; everything it leaves goes into its workspace. It does
not know the ledger: the driver publishes what a finished attempt left.

A fully tuned model answers as base before it is trained. With an adapter the base is the same
model with the adapter off, asked after training, so both rows come from one loaded model in
one state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench import account
from bench.data.prepare import training_order
from bench.encode import encode_all, encode_prompt
from bench.generate import Completion, complete
from bench.job import PENDING, Job, read_selection
from bench.record import Record, Stage
from bench.report.card import model_card
from bench.run import Run
from bench.score.identity import scorer
from bench.score.metrics import load_metric, score_corpus
from bench.score.rows import gains, reference_texts, score_texts, summarised
from bench.spec import Example
from bench.train.fit import fit
from bench.train.load import Loaded, load

Emit = Callable[[dict[str, Any]], None]


def execute(job: Job, emit: Emit) -> None:
    """Run the job; leaves `PENDING` and the record's parts in its workspace.

    Raises what goes wrong; `emit` has then named the stage.
    """
    started = datetime.now(UTC)
    torch.set_num_threads(job.threads)
    run, folder = job.run, Path(job.workspace)
    clock = Clock(emit)
    with clock.stage("prepare"):
        selection = read_selection(Path(job.selection))
        examples = selection.evaluation
        order = training_order(selection.pool, run.contract.budget, run.seed)
    with clock.stage("load"):
        loaded = load(run, Path(job.checkpoint_folder) if job.checkpoint_folder else None)
        encoded = encode_all(
            order, loaded.tokenizer, run.template, run.contract.max_length, run.model.objective
        )
        followed = encode_all(
            selection.followed, loaded.tokenizer, run.template, run.contract.max_length, run.model.objective
        )
        prompts = _prompts(run, loaded, examples)
        parameters = _parameters(loaded.model)
    base: list[Completion] = []
    if not loaded.adapter:
        base = _answers("generate base", run, loaded, prompts, clock)
    with clock.stage("train"):
        fitted = fit(
            run,
            loaded,
            encoded,
            folder / "checkpoints",
            report=lambda step, steps, loss: emit(
                {"event": "step", "step": step, "steps": steps, "loss": loss}
            ),
            checkpoint_every=job.checkpoint_every,
            trackers=job.trackers,
            validation=followed,
        )
    clock.apart("train", "validation loss", fitted.meter.validation_seconds)
    if loaded.adapter:
        with loaded.model.disable_adapter():
            base = _answers("generate base", run, loaded, prompts, clock)
    tuned = _answers("generate tuned", run, loaded, prompts, clock)
    with clock.stage("score"):
        texts = {"tuned": [c.text for c in tuned], "base": [c.text for c in base]}
        texts |= reference_texts(examples, selection.pool)
        rouge = scorer(run.contract.scorer)
        table = score_texts(rouge, examples, texts)
        further = _further(run.contract.metrics, texts, examples)
    with clock.stage("save"):
        artifacts = account.save_weights(loaded, folder)
        files = account.write_parts(folder, examples, table, base, tuned, fitted)
    record = Record(
        id=run.id,
        run=run,
        backend=loaded.backend,
        data=account.data(order, selection),
        spent=account.spent(fitted, encoded, clock.seconds, parameters, run),
        scores=summarised(table),
        gain=gains(table, [example.group for example in examples]),
        further=further,
        written={"tuned": account.written(tuned, examples), "base": account.written(base, examples)},
        final_loss=fitted.final_loss,
        provenance=account.provenance(job, started),
        files=files,
        artifacts=artifacts,
    )
    (folder / account.weights_folder(loaded) / account.CARD).write_text(model_card(record), encoding="utf-8")
    (folder / PENDING).write_text(record.model_dump_json(), encoding="utf-8")


class Clock:
    """Seconds per stage; tells the driver which stage begins."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Time a stage."""
        self.emit({"event": "stage", "stage": name})
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def apart(self, whole: Stage, part: Stage, seconds: float) -> None:
        """Count a part of a timed stage as a stage of its own."""
        self.seconds[whole] -= seconds
        self.seconds[part] = seconds


def _prompts(run: Run, loaded: Loaded, examples: Sequence[Example]) -> list[list[int]]:
    contract = run.contract
    return [
        encode_prompt(
            example,
            loaded.tokenizer,
            run.template,
            contract.max_length,
            contract.decoding,
            run.model.objective,
        )
        for example in examples
    ]


def _answers(
    stage: Stage, run: Run, loaded: Loaded, prompts: list[list[int]], clock: Clock
) -> list[Completion]:
    with clock.stage(stage), _inference(loaded):
        return complete(
            loaded.model,
            loaded.tokenizer,
            prompts,
            run.contract.decoding,
            run.model.objective,
            progress=lambda done, total: clock.emit({"event": "answered", "done": done, "total": total}),
        )


@contextmanager
def _inference(loaded: Loaded) -> Iterator[None]:
    """Unsloth swaps kernels between training and inference; the others need nothing."""
    if loaded.backend.name != "unsloth":
        with nullcontext():
            yield
        return
    from unsloth import FastLanguageModel

    FastLanguageModel.for_inference(loaded.model)
    try:
        yield
    finally:
        FastLanguageModel.for_training(loaded.model)


def _parameters(model: Any) -> tuple[int, int]:
    """Trainable and all parameters; a 4-bit weight counts as the numbers that it stands for."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    everything = sum(_numel(p) for p in model.parameters())
    return trainable, everything


def _numel(parameter: Any) -> int:
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else int(parameter.numel())


def _further(
    names: Sequence[str], texts: dict[str, list[str]], examples: Sequence[Example]
) -> dict[str, dict[str, float]]:
    references = [example.answers[0] for example in examples]
    found: dict[str, dict[str, float]] = {}
    for name in names:
        metric = load_metric(name)
        for row, answers in texts.items():
            found.setdefault(row, {}).update(score_corpus(metric, answers, references))
    return found
