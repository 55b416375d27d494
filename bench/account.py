"""What an attempt leaves: the parts of a record on disk, and its accounts of data, spending and origin."""

from __future__ import annotations

import json
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench import provenance as machine
from bench.digest import digest, file_digest
from bench.generate import Completion
from bench.job import Job, Selected
from bench.record import COMPLETIONS, CURVE, SCORES, Data, Provenance, Spent, Written
from bench.run import Run
from bench.spec import Example
from bench.train.fit import Fitted
from bench.train.load import Loaded

#: Beside the weights; written last, from the whole record, so its digest is not part of that.
CARD = "README.md"


def weights_folder(loaded: Loaded) -> str:
    """Where in a record's folder the weights lie."""
    return "adapter" if loaded.adapter else "model"


def save_weights(loaded: Loaded, folder: Path) -> dict[str, str]:
    """Save adapter or model with its tokenizer; file -> digest."""
    target = folder / weights_folder(loaded)
    loaded.model.save_pretrained(target, safe_serialization=True)
    loaded.tokenizer.save_pretrained(target)
    return {
        str(file.relative_to(folder)): file_digest(file)
        for file in sorted(target.rglob("*"))
        if file.is_file() and file.name != CARD
    }


def write_parts(
    folder: Path,
    examples: Sequence[Example],
    table: Any,
    base: Sequence[Completion],
    tuned: Sequence[Completion],
    fitted: Fitted,
) -> dict[str, str]:
    """Write the long lists of a record; file -> digest."""
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


def data(order: Sequence[Example], selection: Selected) -> Data:
    """What the run was trained and scored on."""
    examples = selection.evaluation
    words = [len(example.answers[0].split()) for example in examples]
    return Data(
        prepared=selection.prepared,
        selected={**selection.selected, "distinct training examples seen": len({e.id for e in order})},
        train_digest=digest([example.id for example in order]),
        eval_digest=digest([[e.id, e.question, e.context, e.answers] for e in examples]),
        reference_words=sum(words) / len(words),
    )


def spent(
    fitted: Fitted,
    encoded: Sequence[Any],
    seconds: Mapping[str, float],
    parameters: tuple[int, int],
    run: Run,
) -> Spent:
    """What the run really used."""
    meter = fitted.meter
    scale = 1 if sys.platform == "darwin" else 1024
    return Spent(
        examples=meter.examples,
        steps=meter.steps,
        effective_batch=meter.examples // meter.steps,
        supervised_tokens=meter.supervised_tokens,
        total_tokens=meter.total_tokens,
        flops=fitted.flops,
        seconds={name: round(took, 3) for name, took in seconds.items()},
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
        peak_gpu_memory=torch.cuda.max_memory_allocated() if run.device == "cuda" else None,
        trainable_parameters=parameters[0],
        parameters=parameters[1],
        truncated=sum(example.truncated for example in encoded),
    )


def written(completions: Sequence[Completion], examples: Sequence[Example]) -> Written:
    """What a row's completions look like in numbers."""
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


def provenance(job: Job, started: datetime) -> Provenance:
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
        command=job.command,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
