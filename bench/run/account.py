"""What an attempt leaves: the parts of a record on disk, and the record with its accounts."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench import provenance as machine
from bench.data.prepare import FOLLOWING, Selection
from bench.digest import digest, file_digest
from bench.prompt import CHAT, render
from bench.retrieval.arms import Arms
from bench.run.answers.generate import Completion
from bench.run.job import Job
from bench.score.rows import Scores
from bench.spec import Budget, Example
from bench.stats import Interval
from bench.store.record import (
    BASE_CHAT,
    CARD,
    COMPLETIONS,
    CURVE,
    SCORES,
    Data,
    Estimate,
    HeldOutLoss,
    Provenance,
    Record,
    Spent,
    Written,
    weights_folder,
)
from bench.train import distributed
from bench.train.encoded import Encoded
from bench.train.fit import Fitted
from bench.train.load import Loaded

#: Words from which on an answer that is the beginning of its prompt is an echo, cut by its length.
LONG_START = 8


@dataclass(frozen=True)
class Outcome:
    """All that a run gave: what it saw, wrote, scored and spent."""

    #: The training examples in the order in which they were seen, and the same as token ids.
    order: Sequence[Example]
    encoded: Sequence[Encoded]
    #: Validation examples that the loss was followed on.
    followed: int
    selection: Selection
    fitted: Fitted
    #: Row ("tuned", those of the untuned model, arms that retrieve) -> what was written.
    answers: Mapping[str, Sequence[Completion]]
    scores: Scores
    #: Trainable parameters, and all.
    parameters: tuple[int, int]
    #: Evaluation prompts that were cut to the contract's length.
    cut_prompts: int
    #: The run whose untuned model gave the base's answers; none where this one's did.
    base_from: str | None = None
    #: What the arms read that retrieve; none where the contract asks for none.
    arms: Arms | None = None


def save(outcome: Outcome, loaded: Loaded, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Write the weights, if any were trained, and the record's long lists; file -> digest of each."""
    artifacts = _save_weights(loaded, folder) if outcome.order else {}
    (folder / SCORES).write_text(json.dumps(_scores(outcome), ensure_ascii=False), encoding="utf-8")
    _write_lines(folder / COMPLETIONS, _completions(outcome))
    _write_lines(folder / CURVE, outcome.fitted.meter.curve)
    return artifacts, {name: file_digest(folder / name) for name in (SCORES, COMPLETIONS, CURVE)}


def _save_weights(loaded: Loaded, folder: Path) -> dict[str, str]:
    weights = folder / weights_folder(loaded.adapter)
    # An adapter's base is not changed; left to itself, PEFT looks at the base's branch to decide that.
    beside = {"save_embedding_layers": False} if loaded.adapter else {}
    loaded.model.save_pretrained(weights, safe_serialization=True, **beside)
    loaded.tokenizer.save_pretrained(weights)
    return {
        str(file.relative_to(folder)): file_digest(file)
        for file in sorted(weights.rglob("*"))
        if file.is_file() and file.name != CARD
    }


def record_of(
    outcome: Outcome,
    job: Job,
    loaded: Loaded,
    saved: tuple[dict[str, str], dict[str, str]],
    seconds: Mapping[str, float],
    gpu_memory: Mapping[str, int],
    started: datetime,
) -> Record:
    """The record of a run whose parts are `saved`; `seconds` and `gpu_memory` (peak bytes) are by stage."""
    artifacts, files = saved
    examples = outcome.selection.eval
    return Record(
        id=job.run.id,
        run=job.run,
        backend=loaded.backend,
        data=_data(outcome),
        spent=_spent(outcome, job.run.contract.budget, seconds, gpu_memory),
        scores={
            row: {metric: _estimate(value) for metric, value in values.items()}
            for row, values in outcome.scores.means.items()
        },
        gain={metric: _estimate(value) for metric, value in outcome.scores.gain.items()},
        further=outcome.scores.further,
        gain_over=outcome.scores.gain_over,
        written={
            row: written(given, examples, CHAT if row == BASE_CHAT else job.run.template)
            for row, given in outcome.answers.items()
        },
        retrieved=outcome.arms.facts if outcome.arms else None,
        base_from=outcome.base_from,
        final_loss=outcome.fitted.final_loss,
        held_out=_held_out(outcome) if job.run.contract.loss == "text" else None,
        provenance=_provenance(job, started),
        files=files,
        artifacts=artifacts,
    )


def _held_out(outcome: Outcome) -> HeldOutLoss | None:
    """The first and the last point of the validation loss; none where none was taken."""
    losses = [point["eval_loss"] for point in outcome.fitted.meter.curve if "eval_loss" in point]
    if not losses:
        return None
    return HeldOutLoss(passages=outcome.followed, before=losses[0], after=losses[-1])


def _estimate(value: Interval) -> Estimate:
    return Estimate(mean=value.mean, low=value.low, high=value.high)


def _scores(outcome: Outcome) -> dict[str, object]:
    examples = outcome.selection.eval
    return {
        "ids": [example.id for example in examples],
        "groups": [example.group for example in examples],
        "categories": [example.category for example in examples],
        "rows": outcome.scores.table,
    }


def _completions(outcome: Outcome) -> list[dict[str, object]]:
    answers = outcome.answers
    contexts = (
        [{"retrieved_rows": list(each.rows)} for each in outcome.arms.contexts] if outcome.arms else None
    )
    return [
        {
            "id": example.id,
            "question": example.question,
            "context": example.context,
            "references": list(example.answers),
            "category": example.category,
            **{row: given[place].text for row, given in sorted(answers.items())},
            "cut": {row: given[place].truncated for row, given in sorted(answers.items())},
            **(contexts[place] if contexts else {}),
        }
        for place, example in enumerate(outcome.selection.eval)
    ]


def _write_lines(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _data(outcome: Outcome) -> Data:
    examples, order = outcome.selection.eval, outcome.order
    words = [len(example.answers[0].split()) for example in examples]
    selected = {**outcome.selection.counts, "distinct training examples seen": len({e.id for e in order})}
    if FOLLOWING in selected:
        selected[FOLLOWING] = outcome.followed
    return Data(
        prepared=outcome.selection.prepared,
        selected=selected,
        train_digest=digest([example.id for example in order]),
        eval_digest=digest([[e.id, e.question, e.context, e.answers] for e in examples]),
        reference_words=sum(words) / len(words),
        cut_prompts=outcome.cut_prompts,
    )


def _spent(
    outcome: Outcome, budget: Budget, seconds: Mapping[str, float], gpu_memory: Mapping[str, int]
) -> Spent:
    meter = outcome.fitted.meter
    trainable, everything = outcome.parameters
    return Spent(
        examples=meter.examples,
        steps=meter.steps,
        effective_batch=meter.examples // meter.steps if meter.steps else budget.effective_batch,
        supervised_tokens=meter.supervised_tokens,
        total_tokens=meter.total_tokens,
        flops=outcome.fitted.flops,
        seconds={name: round(took, 3) for name, took in seconds.items()},
        peak_memory=sum(distributed.collected(peak_memory())),
        peak_gpu_memory=max(gpu_memory.values(), default=None),
        gpu_memory=dict(gpu_memory),
        trainable_parameters=trainable,
        parameters=everything,
        truncated=sum(example.truncated for example in outcome.encoded),
    )


def peak_memory() -> int:
    """Bytes of this process at its highest point."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def written(completions: Sequence[Completion], examples: Sequence[Example], template: str) -> Written:
    """What a row's completions look like in numbers."""
    count = len(completions)
    return Written(
        examples=count,
        mean_tokens=sum(c.tokens for c in completions) / count,
        mean_words=sum(len(c.text.split()) for c in completions) / count,
        empty=sum(not c.text for c in completions),
        truncated=sum(c.truncated for c in completions),
        echoed=sum(
            echoes(c.text, example, template) for c, example in zip(completions, examples, strict=True)
        ),
        distinct=len({c.text for c in completions}),
        batch=completions[0].batch or None,
    )


def echoes(text: str, example: Example, template: str) -> bool:
    """Whether an answer begins by repeating the prompt: all of it, from the question on, or a long start."""
    answer, question = _folded(text), _folded(example.question)
    prompt = _folded(render(example, template))
    asked = prompt.find(question)
    label = prompt.rfind(" ", 0, max(asked - 1, 0)) + 1  # the word before the question, as in "Question:"
    starts = {question, prompt[: asked + len(question)], prompt[label : asked + len(question)]}
    if any(start and answer.startswith(start) for start in starts):
        return True
    return len(answer.split()) >= LONG_START and prompt.startswith(answer)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def determinism() -> dict[str, str]:
    """The settings by which repeated runs could differ in the last digits, above all on a GPU."""
    return {
        "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "cudnn deterministic": str(torch.backends.cudnn.deterministic),
        "cudnn benchmark": str(torch.backends.cudnn.benchmark),
        "float32 matrix products": torch.get_float32_matmul_precision(),
        "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", "unset"),
    }


def surroundings(device: str) -> dict[str, str]:
    """What of this machine and process can move a model's sums in the last digit."""
    gpu = torch.cuda.get_device_name() if device == "cuda" else "none"
    return {"hardware": machine.hardware(), "gpu": gpu, "platform": platform.platform(), **determinism()}


def _provenance(job: Job, started: datetime) -> Provenance:
    """Where and how the run came about."""
    return Provenance(
        versions=machine.versions(),
        commit=job.commit,
        dirty=job.dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        hardware=machine.hardware(),
        gpu=torch.cuda.get_device_name() if job.run.device == "cuda" else None,
        threads=job.threads,
        determinism=determinism(),
        command=job.command,
        trial=job.trial,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
