"""Finished runs with their weights: trained on the twins in this process, once for a whole session."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from runs import course, job_for, mini_run

from bench.errors import RecordError
from bench.run import attempt
from bench.run.job import PENDING
from bench.serve import plain
from bench.store.ledger import Ledger, Stored
from bench.store.record import Record

#: One for each way of tuning.
LORA, QLORA, FULL = "gpt2", "llama-3.1-8b", "bart-large-xsum"
QUESTION = "What does a learning curve over training set size show?"


@cache
def folder() -> Path:
    """Where the runs of this session lie: `bench --out` of it finds them."""
    place = Path(tempfile.mkdtemp(prefix="bench-served-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@cache
def finished(model: str, seed: int = 0) -> Stored:
    """A run of a model's twin that was trained, scored on 40 questions and published, with its weights.

    The rate is high, so that few steps make a tuned model that answers otherwise than its base.
    """
    steps = 12 if (model, seed) == (LORA, 0) else 3
    run, twin = mini_run(model, steps=steps, seed=seed, new_tokens=16, learning_rate=1e-2)
    ledger = Ledger(folder())
    chosen = course(limit=40)
    workspace = ledger.workspace(run.id)
    job = job_for(run, twin, replace(chosen, followed=chosen.followed[:4]), workspace)
    attempt.execute(job, emit=_ignore)
    pending = workspace / PENDING
    record = Record.model_validate_json(pending.read_bytes())
    pending.unlink()
    return Stored(record, ledger.publish(record, workspace))


def in_this_process(task: plain.PlainTask) -> plain.PlainAnswers:
    """What the fresh process of a verification does, without its seconds of importing."""
    try:
        return plain.texts_of(task)
    except Exception as error:
        raise RecordError(f"cannot be loaded: {error}") from error


def _ignore(event: dict[str, Any]) -> None:
    """Nobody watches."""
