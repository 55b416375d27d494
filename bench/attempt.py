"""One run's whole life, in its own process: load, generate, train, generate, score, save.

Everything it says goes through `emit`; everything it leaves goes into its workspace. It does
not know the ledger: the driver publishes what a finished attempt left.

A fully tuned model answers as base before it is trained. With an adapter the base is the same
model with the adapter off, asked after training, so both rows come from one loaded model in
one state.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench import provenance
from bench.data.prepare import training_order
from bench.digest import digest, file_digest
from bench.encode import encode_all, encode_prompt
from bench.generate import Completion, complete
from bench.job import PENDING, Job, Selected, read_selection
from bench.record import (
    COMPLETIONS,
    CURVE,
    SCORES,
    Data,
    Provenance,
    Record,
    Spent,
    Stage,
    Written,
)
from bench.run import Run
from bench.score.metrics import load_metric, score_corpus
from bench.score.rouge import Rouge
from bench.score.rows import gains, reference_texts, score_texts, summarised
from bench.spec import Example
from bench.train.fit import Fitted, fit
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
        )
    if loaded.adapter:
        with loaded.model.disable_adapter():
            base = _answers("generate base", run, loaded, prompts, clock)
    tuned = _answers("generate tuned", run, loaded, prompts, clock)
    with clock.stage("score"):
        texts = {"tuned": [c.text for c in tuned], "base": [c.text for c in base]}
        texts |= reference_texts(examples, selection.pool)
        rouge = Rouge(stemmer=True)
        table = score_texts(rouge, examples, texts)
        further = _further(run.contract.metrics, texts, examples)
    with clock.stage("save"):
        artifacts = _save_weights(run, loaded, folder)
        files = _write_parts(folder, examples, table, base, tuned, fitted)
    record = Record(
        id=run.id,
        run=run,
        backend=loaded.backend,
        data=_data(order, selection),
        spent=_spent(fitted, encoded, clock, parameters, run),
        scores=summarised(table),
        gain=gains(table, [example.group for example in examples]),
        further=further,
        written={"tuned": _written(tuned, examples), "base": _written(base, examples)},
        final_loss=fitted.final_loss,
        provenance=_provenance(job, started),
        files=files,
        artifacts=artifacts,
    )
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


def _save_weights(run: Run, loaded: Loaded, folder: Path) -> dict[str, str]:
    target = folder / ("adapter" if loaded.adapter else "model")
    loaded.model.save_pretrained(target, safe_serialization=True)
    loaded.tokenizer.save_pretrained(target)
    return {
        str(file.relative_to(folder)): file_digest(file)
        for file in sorted(target.rglob("*"))
        if file.is_file()
    }


def _write_parts(
    folder: Path,
    examples: Sequence[Example],
    table: Any,
    base: Sequence[Completion],
    tuned: Sequence[Completion],
    fitted: Fitted,
) -> dict[str, str]:
    scores = {
        "ids": [example.id for example in examples],
        "groups": [example.group for example in examples],
        "categories": [example.category for example in examples],
        "rows": table,
    }
    (folder / SCORES).write_text(json.dumps(scores, ensure_ascii=False), encoding="utf-8")
    with (folder / COMPLETIONS).open("w", encoding="utf-8", newline="\n") as handle:
        for example, untuned, answer in zip(examples, base, tuned, strict=True):
            line = {
                "id": example.id,
                "question": example.question,
                "context": example.context,
                "references": list(example.answers),
                "category": example.category,
                "base": untuned.text,
                "tuned": answer.text,
            }
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
    with (folder / CURVE).open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(point) + "\n" for point in fitted.meter.curve)
    return {name: file_digest(folder / name) for name in (SCORES, COMPLETIONS, CURVE)}


def _data(order: Sequence[Example], selection: Selected) -> Data:
    examples = selection.evaluation
    words = [len(example.answers[0].split()) for example in examples]
    return Data(
        prepared=selection.prepared,
        selected={**selection.selected, "distinct training examples seen": len({e.id for e in order})},
        train_digest=digest([example.id for example in order]),
        eval_digest=digest([[e.id, e.question, e.context, e.answers] for e in examples]),
        reference_words=sum(words) / len(words),
    )


def _spent(
    fitted: Fitted, encoded: Sequence[Any], clock: Clock, parameters: tuple[int, int], run: Run
) -> Spent:
    meter = fitted.meter
    scale = 1 if sys.platform == "darwin" else 1024
    return Spent(
        examples=meter.examples,
        steps=meter.steps,
        effective_batch=meter.examples // meter.steps,
        supervised_tokens=meter.supervised_tokens,
        total_tokens=meter.total_tokens,
        flops=fitted.flops,
        seconds={name: round(seconds, 3) for name, seconds in clock.seconds.items()},
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
        peak_gpu_memory=torch.cuda.max_memory_allocated() if run.device == "cuda" else None,
        trainable_parameters=parameters[0],
        parameters=parameters[1],
        truncated=sum(example.truncated for example in encoded),
    )


def _written(completions: Sequence[Completion], examples: Sequence[Example]) -> Written:
    count = len(completions)
    return Written(
        examples=count,
        mean_tokens=sum(c.tokens for c in completions) / count,
        mean_words=sum(len(c.text.split()) for c in completions) / count,
        empty=sum(not c.text for c in completions),
        truncated=sum(c.truncated for c in completions),
        echoed=sum(
            c.text.lower().startswith(example.question.lower())
            for c, example in zip(completions, examples, strict=True)
        ),
        distinct=len({c.text for c in completions}),
    )


def _provenance(job: Job, started: datetime) -> Provenance:
    return Provenance(
        versions=provenance.versions(),
        commit=job.commit,
        dirty=job.dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        hardware=provenance.hardware(),
        gpu=torch.cuda.get_device_name() if job.run.device == "cuda" else None,
        threads=job.threads,
        command=job.command,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
