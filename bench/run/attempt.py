"""One run's whole life, in its own process: load, generate, train, generate, score, save.

Everything it reports goes through `emit`; everything it leaves goes into its workspace. It does
not know the ledger: the driver publishes what a finished attempt left.

A fully tuned model answers as base before it is trained. With an adapter the base is the same
model with the adapter off, asked after training, so both rows come from one loaded model in
one state. Under a budget of no steps nothing is trained or saved: the answers of the base are the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.data.prepare import Selection, training_order
from bench.prompt import CHAT
from bench.retrieval.arms import Arms, arms_of
from bench.run.account import Outcome, peak_memory, record_of, save, surroundings
from bench.run.answers import shares, untuned
from bench.run.answers.generate import Completion, complete
from bench.run.clock import Clock, Emit
from bench.run.encode import encode_all, encode_prompt, has_chat_template, is_cut
from bench.run.identity import Run
from bench.run.job import PENDING, Job, read_selection
from bench.run.plan import check_positions
from bench.score.identity import scorer
from bench.score.rows import score_run
from bench.spec import Example
from bench.store.record import BASE, BASE_CHAT
from bench.train import distributed
from bench.train.encoded import Encoded
from bench.train.fit import Fitted, fit
from bench.train.load import Loaded, load
from bench.train.meter import Meter, affordable
from bench.train.numerics import precision


def execute(job: Job, emit: Emit) -> None:
    """Run the job; leaves the pending record and its parts in the job's workspace.

    Raises what goes wrong; `emit` has then named the stage.
    """
    started = datetime.now(UTC)
    run, folder = job.run, Path(job.workspace)
    torch.set_num_threads(max(1, job.threads // run.recipe.devices))
    clock = Clock(emit, torch.cuda if run.device == "cuda" else None)
    distributed.join(run)
    with clock.stage("prepare"):
        selection = read_selection(Path(job.selection))
        order = training_order(selection.train, run.contract.budget, run.seed)
    with clock.stage("load"):
        loaded = load(run, Path(job.checkpoint_folder) if job.checkpoint_folder else None)
        check_positions(run.name, loaded.model.config.to_dict(), run.contract)
        encoded = _encoded(run, loaded, order)
        validation = _encoded(run, loaded, _followed(run, selection))
        asked = _asked(run, loaded, selection.eval)
        trainable, everything = _parameters(loaded.model)
    arms = _arms(job, loaded, selection, asked, clock)
    answer = partial(_answers, run, loaded, clock)
    if distributed.own_rank() > 0:
        _help(job, loaded, encoded, validation, answer, clock)
        return
    if not loaded.adapter:
        answers, origin = _bases(job, asked, answer, clock)
        shares.dismiss()
    fitted = _train(job, loaded, encoded, validation, clock)
    if loaded.adapter:
        answers, origin = _bases(job, asked, answer, clock)
    answers |= _tuned(run, asked[BASE], answers[BASE], arms, answer, clock)
    shares.dismiss()
    with clock.stage("score"):
        scores = score_run(
            scorer(run.contract.scorer),
            selection.eval,
            selection.train,
            {row: [answer.text for answer in written] for row, written in answers.items()},
            run.contract.metrics,
        )
    outcome = Outcome(
        order,
        encoded,
        len(validation),
        selection,
        fitted,
        answers,
        scores,
        (trainable if run.trained else 0, everything),
        _cut_prompts(run, loaded, asked[BASE], selection.eval),
        origin,
        arms,
    )
    with clock.stage("save"):
        saved = save(outcome, loaded, folder)
    record = record_of(outcome, job, loaded, saved, clock.seconds, clock.gpu_memory, started)
    fresh = folder / f"{PENDING}.tmp"
    fresh.write_text(record.model_dump_json(), encoding="utf-8")
    fresh.replace(folder / PENDING)


def _help(
    job: Job,
    loaded: Loaded,
    encoded: list[Encoded],
    validation: list[Encoded],
    answer: shares.Answer,
    clock: Clock,
) -> None:
    """What the other processes of a run do: the first of them asks, scores and saves."""
    if not loaded.adapter:
        shares.help_out(answer)
    _train(job, loaded, encoded, validation, clock)
    shares.help_out(answer)
    distributed.collected(peak_memory())


def _train(
    job: Job, loaded: Loaded, encoded: list[Encoded], validation: list[Encoded], clock: Clock
) -> Fitted:
    def report(step: int, steps: int, loss: float) -> None:
        clock.emit({"event": "step", "step": step, "steps": steps, "loss": loss})

    if not job.run.trained:
        return Fitted(Meter(report), 0.0, None)
    with clock.stage("train"):
        fitted = fit(
            job.run,
            loaded,
            encoded,
            Path(job.workspace) / "checkpoints",
            report=report,
            checkpoint_every=job.checkpoint_every,
            trackers=job.trackers,
            validation=validation,
        )
    clock.add("train", fitted.meter.earlier_seconds)
    clock.apart("train", "validation loss", fitted.meter.validation_seconds)
    return fitted


def _followed(run: Run, selection: Selection) -> Sequence[Example]:
    """What the loss is followed on: of a text all, as the loss on it is a result; else what is cheap."""
    if not run.trained:
        return ()
    if run.contract.loss == "text":
        return selection.followed
    return selection.followed[: affordable(run.contract.budget)]


def _encoded(run: Run, loaded: Loaded, examples: Sequence[Example]) -> list[Encoded]:
    return encode_all(examples, loaded.tokenizer, run.template, run.contract.max_length, run.model.objective)


def _prompts(run: Run, loaded: Loaded, examples: Sequence[Example], template: str) -> list[list[int]]:
    length, decoding, objective = run.contract.max_length, run.contract.decoding, run.model.objective
    return [encode_prompt(e, loaded.tokenizer, template, length, decoding, objective) for e in examples]


def _asked(run: Run, loaded: Loaded, examples: Sequence[Example]) -> dict[str, list[list[int]]]:
    """Row of the untuned model -> its prompts: in the run's template, and in its own chat template.

    A foreign template shows an instruct model at its worst, and so flatters what tuning gains.
    """
    asked = {BASE: _prompts(run, loaded, examples, run.template)}
    if run.template == CHAT or run.model.objective != "causal" or not has_chat_template(loaded.tokenizer):
        return asked
    try:
        asked[BASE_CHAT] = _prompts(run, loaded, examples, CHAT)
    except Exception as error:  # a template is a program of the checkpoint's, which may raise anything
        first = (str(error).splitlines() or [""])[0][:120]
        reason = f"untuned not asked in its own chat template, which cannot be rendered ({first})"
        fallbacks = (*loaded.backend.fallbacks, reason)
        loaded.backend = loaded.backend.model_copy(update={"fallbacks": fallbacks})
    return asked


def _arms(
    job: Job, loaded: Loaded, selection: Selection, asked: dict[str, list[list[int]]], clock: Clock
) -> Arms | None:
    """What the arms read that the contract asks for; the untuned model's is `asked` as a row of its own."""
    if job.run.contract.retrieval is None:
        return None
    embedding = Path(job.embedding) if job.embedding else None
    with clock.stage("retrieve"):
        arms = arms_of(job.run, loaded.tokenizer, selection, asked[BASE], embedding)
    if arms is not None and "retrieved" in arms.names:
        asked["retrieved"] = list(arms.prompts)
    return arms


def _cut_prompts(run: Run, loaded: Loaded, prompts: list[list[int]], examples: Sequence[Example]) -> int:
    """How many prompts hold fewer tokens than their example has."""
    return sum(
        is_cut(prompt, example, loaded.tokenizer, run.template, run.model.objective)
        for prompt, example in zip(prompts, examples, strict=True)
    )


def _bases(
    job: Job, asked: Mapping[str, list[list[int]]], answer: shares.Answer, clock: Clock
) -> tuple[dict[str, list[Completion]], str | None]:
    """The untuned model's answers by row, and the run that they come from if it is another."""
    answers: dict[str, list[Completion]] = {}
    origins: dict[str, str | None] = {}
    folder = Path(job.untuned) if job.untuned else None
    for row, prompts in asked.items():
        generate = partial(shares.ask, prompts, False, answer)
        with clock.stage("generate retrieved" if row == "retrieved" else "generate base"):
            facts = untuned.basis(job, prompts, surroundings(job.run.device))
            kept = untuned.answers(folder, facts, job.run, generate, anew=job.fresh_base)
            answers[row], origins[row] = kept
    return answers, origins[BASE]


def _tuned(
    run: Run,
    prompts: list[list[int]],
    untuned: list[Completion],
    arms: Arms | None,
    answer: shares.Answer,
    clock: Clock,
) -> dict[str, list[Completion]]:
    """The tuned model's answers by row; those of the untuned one where nothing was trained."""
    tuned = untuned
    if run.trained:
        with clock.stage("generate tuned"):
            tuned = shares.ask(prompts, True, answer)
    if arms is None or "both" not in arms.names:
        return {"tuned": tuned}
    with clock.stage("generate both"):
        return {"tuned": tuned, "both": shares.ask(list(arms.prompts), True, answer)}


def _answers(
    run: Run, loaded: Loaded, clock: Clock, prompts: Sequence[list[int]], tuned: bool
) -> list[Completion]:
    own_kernels = loaded.backend.name == "unsloth"
    adapter_off = loaded.model.disable_adapter() if loaded.adapter and not tuned else nullcontext()
    with adapter_off, _inference(loaded):
        return complete(
            loaded.model,
            loaded.tokenizer,
            prompts,
            run.contract.decoding,
            run.model.objective,
            progress=lambda done, total: clock.emit({"event": "answered", "done": done, "total": total}),
            dtype=None if own_kernels else precision(run),
            shrinks=not own_kernels,
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
