"""Saved weights write their answers once more, under another contract's decoding or other versions.

The driver's side is `redecode`: it starts one process per environment, in that environment. What that
process does is `main`: the base is loaded as the run loaded it, the saved weights are put into it, and
the prompts and the decoding are those of the other run. Under the same versions and decoding the texts
come out as they were, word for word; the tests hold that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.run.identity import Run

#: How a process of this module answers: a line for each task, in order.
MODULE = "bench.versions.redecode"


class Task(BaseModel):
    """One run's weights and what they are to answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Whose weights these are, with the contract and versions of the other run.
    run: Run
    template: str
    #: A twin's or a local checkpoint's folder on this machine; none for the hub.
    checkpoint_folder: str | None
    #: The record's `adapter/` or `model/`.
    weights: str
    threads: int
    #: Question and context of each example, in the order in which they were answered.
    prompts: tuple[tuple[str, str], ...]


def redecode(tasks: Sequence[Task], variables: Mapping[str, str]) -> list[list[str] | str]:
    """For each task the texts that its weights write, or the reason why there are none.

    All tasks are of one environment, whose `variables` the process starts with, and of one backend.
    """
    if not tasks:
        return []
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(tasks[0].threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        input="\n".join(task.model_dump_json() for task in tasks),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    answers: list[list[str] | str] = []
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        answers.append(answer.get("texts", answer.get("reason")))
    complaints = done.stderr.strip().splitlines()
    lost = complaints[-1][:300] if complaints else f"exit status {done.returncode}"
    return answers + [f"the process died: {lost}"] * (len(tasks) - len(answers))


def main() -> None:
    """Answer the tasks on standard input; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin.read().split("\n"):
        task = Task.model_validate_json(line)
        try:
            answer: dict[str, Any] = {"texts": texts(task)}
        except Exception as error:
            answer = {"reason": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def texts(task: Task) -> list[str]:
    """What the weights of a task answer, in the order of its prompts."""
    if task.run.backend == "unsloth":
        import unsloth  # noqa: F401  (before the libraries that it patches)
    import torch

    from bench.run import reload

    torch.set_num_threads(task.threads)
    loaded = reload.tuned(
        task.run, Path(task.checkpoint_folder) if task.checkpoint_folder else None, Path(task.weights)
    )
    if task.run.backend == "unsloth":
        from unsloth import FastLanguageModel

        FastLanguageModel.for_inference(loaded.model)
    prompts = reload.prompts(task.run, loaded, task.prompts, task.template)
    return [completion.text for completion in reload.answers(task.run, loaded, prompts)]


if __name__ == "__main__":
    main()
