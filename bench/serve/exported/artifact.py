"""A folder that `bench export` wrote, or any other model folder, held against a record's answers.

The folder is loaded by plain transformers in a fresh process (`plain`) and answers the test questions; a
GGUF file by the way of `bench run --models FILE.gguf`.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import RecordError, RequestError, UnsafeRequest
from bench.judge.verification import Reanswered, Verification
from bench.prompt import render
from bench.run.identity import Checkpoint, Run
from bench.serve import plain
from bench.serve.exported import manifest
from bench.serve.origin import Origin, checkpoint
from bench.serve.verify import Progress, Questions, moved_versions, rescore
from bench.spec import Example
from bench.store.damage import damage
from bench.store.ledger import Stored
from bench.train import adapter as adapters
from bench.train import gguf
from bench.train.numerics import precision

READ_BACK = "read back from GGUF by transformers; llama.cpp computes with kernels of its own"


def verify(
    folder: Path,
    sample: int | None,
    base: Path | None,
    progress: Progress,
    stored: Stored | None = None,
) -> Verification:
    """Hold a folder against its own record, or against `stored`.

    Raises `RecordError` where there is no record to hold it against, `RequestError` where the base of an
    adapter is out of reach.
    """
    exported = manifest.is_exported(folder)
    file = manifest.gguf_file(folder)
    if not file and not any((folder / name).is_file() for name in ("config.json", plain.ADAPTER_CONFIG)):
        raise RequestError(f"{folder}: holds neither a model nor an adapter")
    if not file and not any(folder.glob("*.safetensors")):
        raise UnsafeRequest(f"{folder}: has no safetensors weights; pickled weights run code: refused")
    if stored is None:
        stored = manifest.record_in(folder)
    questions = Questions.of(stored, sample)
    faults = [*damage(stored.record, stored.folder), *(manifest.faults(folder) if exported else ())]
    answered: tuple[Reanswered, ...] = ()
    progress("artifact", 0, len(questions.places))
    try:
        task = task_of(folder, stored, questions, base, exported)
        made = plain.answers(task)
        answered = (questions.check("tuned", made.texts, made.agreement),)
    except RecordError as error:
        faults.append(str(error))
    progress("artifact", len(questions.places), len(questions.places))
    return Verification(
        subject=str(folder),
        record=stored.record.id,
        faults=tuple(faults),
        rescored=rescore(stored),
        reanswered=answered,
        stop=questions.stop_effect(),
        notes=(*([READ_BACK] if file and answered else []), *moved_versions(stored)),
    )


def task_of(
    folder: Path, stored: Stored, questions: Questions, base: Path | None, exported: bool
) -> plain.PlainTask:
    """What a fresh process is to load and to answer. Raises `RecordError` for a GGUF file it cannot read."""
    from bench import devices

    run = stored.record.run.model_copy(update={"device": devices.here().device})
    contract, decoding = run.contract, run.contract.decoding
    file = manifest.gguf_file(folder)
    adapter = (folder / plain.ADAPTER_CONFIG).is_file()
    source, revision = None, None
    if adapter:
        local = checkpoint(run, base)
        source = str(adapters.loadable(local, run.checkpoint)) if local else run.checkpoint.source
        revision = None if local else run.checkpoint.revision
    room = contract.max_length
    if run.model.objective == "causal":
        room -= decoding.max_new_tokens
    return plain.PlainTask(
        folder=str(folder.resolve()),
        objective=run.model.objective,
        run=_of_file(run, file) if file else None,
        base=source,
        revision=revision,
        four_bit=adapter and run.recipe.method == "qlora" and run.device != "mps",
        dtype=str(precision(run)).removeprefix("torch.") if adapter else "auto",
        device=run.device,
        threads=stored.record.provenance.threads,
        questions=tuple(
            (question, context, render(Example("", question, (), context), run.template))
            for question, context in questions.asked
        ),
        recorded=tuple(row["tuned"] for row in questions.rows),
        room=max(room, 16),
        decoding=decoding,
        shipped_settings=exported,
    )


def _of_file(run: Run, file: Path) -> Run:
    """The run as `bench run --models FILE.gguf --budget 0x8` makes it: the weights as they are, not in 4 bit.

    Raises `RecordError` where the file cannot be read.
    """
    try:
        facts = gguf.facts(file)
    except RequestError as error:
        raise RecordError(str(error).replace(str(file), file.name)) from None
    budget = run.contract.budget.model_copy(update={"steps": 0})
    source = Checkpoint(
        source=file.name, revision=facts.digest, kind="gguf", dequantised_from=facts.quantisation
    )
    changes = {
        "checkpoint": source,
        "model": run.model.model_copy(update={"architecture": facts.architecture}),
        "recipe": run.recipe.model_copy(update={"method": "lora"}),  # stored in the type that it computes in
        "contract": run.contract.model_copy(update={"budget": budget}),
        "backend": "transformers",
    }
    return run.model_copy(update=changes)


def base_place(place: Origin) -> str:
    """A base's name for an adapter's configuration: the hub's, or what a user calls it; never a path."""
    return place.run.checkpoint.source
