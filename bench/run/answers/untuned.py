"""The answers of an untuned model, kept beside the records so that they are generated once.

They depend on the checkpoint and how its weights are held, the prompts, the decoding, the device and the
machine, the package versions and this program's code. They do not depend on the seed, the learning rate or
the budget, so a further seed takes them from the first. An entry is named by a digest over all that they
depend on, holds these facts, and carries a digest of itself: one that is damaged, or belongs to anything
else, is not used and the model answers again.

Runs that need the same entry at the same time wait for the first of them. Where the file system has no
locks each generates its own.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.digest import digest
from bench.files import put
from bench.run.answers.generate import Completion
from bench.run.identity import Run
from bench.run.job import Job


class Entry(BaseModel):
    """What is kept: the completions, what they depend on, and the run that generated them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    facts: dict[str, Any]
    run: str
    completions: list[Completion]
    #: Of all the rest.
    digest: str = ""

    @property
    def own_digest(self) -> str:
        """The digest that a whole entry carries."""
        return digest(self.model_dump(mode="json", exclude={"digest"}))


def basis(job: Job, prompts: Sequence[Sequence[int]], surroundings: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the answers of the job's untuned model to `prompts` (token ids) depend on.

    `surroundings` are the hardware and the settings of determinism. The prompts stand for the test examples,
    their order, the template, the tokenizer and the maximum length.
    """
    run = job.run
    return {
        "checkpoint": run.checkpoint.model_dump(mode="json", exclude={"source"}),
        "hub": run.checkpoint.source if run.checkpoint.kind == "hub" else None,
        "objective": run.model.objective,
        "method": run.recipe.method,
        "precision": run.recipe.precision,
        "backend": run.backend,
        "device": run.device,
        "threads": job.threads,
        "surroundings": dict(surroundings),
        "versions": run.versions,
        "trial": list(job.trial),
        "harness": run.harness,
        "max_length": run.contract.max_length,
        "decoding": run.contract.decoding.model_dump(mode="json"),
        "prompts": digest(prompts),
        "count": len(prompts),
    }


def answers(
    folder: Path | None,
    facts: Mapping[str, Any],
    run: Run,
    generate: Callable[[], list[Completion]],
    anew: bool = False,
) -> tuple[list[Completion], str | None]:
    """The completions that `facts` determine, and the id of the run that generated them if it is another.

    They are kept in `folder`; without one, or for a run that does not name its code, nothing is shared.
    Answers that memory forced into smaller batches than the contract's are not kept. `anew` generates in any
    case and replaces what is kept.
    """
    if folder is None or run.harness is None:
        return generate(), None
    file = folder / f"{digest(facts)}.json"
    with _alone(file.with_suffix(".lock")):
        kept = None if anew else read(file, facts)
        if kept is not None:
            completions, origin = kept
            return completions, origin if origin != run.id else None  # this run was killed afterwards
        completions = generate()
        if all(completion.batch == run.contract.decoding.batch for completion in completions):
            _write(file, facts, run.id, completions)
        return completions, None


def read(file: Path, facts: Mapping[str, Any]) -> tuple[list[Completion], str] | None:
    """The completions of an entry and the run that they come from; none unless it is whole and of `facts`."""
    try:
        entry = Entry.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    if entry.digest != entry.own_digest or entry.facts != facts or len(entry.completions) != facts["count"]:
        return None
    return entry.completions, entry.run


def _write(file: Path, facts: Mapping[str, Any], origin: str, completions: Sequence[Completion]) -> None:
    """Keep an entry; a folder that cannot be written to costs time and nothing else."""
    entry = Entry(facts=dict(facts), run=origin, completions=list(completions))
    sealed = entry.model_copy(update={"digest": entry.own_digest})
    with suppress(OSError):
        put(file, sealed.model_dump_json() + "\n")


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold a lock file, where the file system has locks; the kernel frees it when its holder dies."""
    with ExitStack() as stack:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(file.open("w")), fcntl.LOCK_EX)
        yield
