"""What this program costs beside a plain TRL + PEFT script that does the same run.

`python -m benchmarks.overhead` trains and answers with both in turn, A B A B, in one process and
on one thread, checks that both wrote the same answers, and prints the medians of the pairs'
ratios. Answering one by one, as many scripts do, is timed beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from bench import provenance, registry
from bench.data import prepare
from bench.launch import preflight
from bench.run import plan as planning
from bench.run.encode import encode_all, encode_prompt
from bench.run.generate import complete
from bench.spec import Budget, Contract, Decoding
from bench.train.fit import fit
from bench.train.load import load
from benchmarks import plain


def main() -> None:
    """Time both and print the ratios; the last line is the training ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--questions", type=int, default=96)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    spec = registry.find_model("gpt2")
    origin, folder = preflight.checkpoint(spec, "mini", "cpu")
    assert folder is not None
    data = prepare.prepare(registry.find_dataset("course-qa"))
    contract = Contract(
        train=data.ref,
        eval=data.ref,
        budget=Budget(steps=asked.steps, effective_batch=8),
        decoding=Decoding(max_new_tokens=64, batch=32),
        scorer="rouge",
    )
    spec = spec.model_copy(update={"recipe_mini": {**spec.recipe_mini, "dropout": 0.0}})
    (run,) = planning.plan([(spec, origin)], [0], contract, "mini", "cpu", provenance.versions())
    order = prepare.training_order(data.train, contract.budget, 0)
    tests = data.test[: asked.questions]
    times: dict[str, list[float]] = {"train": [], "evaluate": [], "one by one": []}
    seconds: dict[str, list[float]] = {"train": [], "evaluate": []}
    for number in range(asked.rounds + 1):  # the first warms caches up and does not count
        with quiet(), tempfile.TemporaryDirectory() as scratch:
            loaded = load(run, folder)
            rows = encode_all(order, loaded.tokenizer, "qa", 512, "causal")
            prompts = [
                encode_prompt(e, loaded.tokenizer, "qa", 512, contract.decoding, "causal") for e in tests
            ]
            begin = time.perf_counter()
            fit(run, loaded, rows, Path(scratch) / "ours", lambda *_: None)
            ours = time.perf_counter() - begin
            model, tokenizer, theirs = plain.train(
                folder, run.recipe, [row.features for row in rows], asked.steps, Path(scratch) / "plain"
            )
            begin = time.perf_counter()
            written = complete(loaded.model, loaded.tokenizer, prompts, contract.decoding, "causal")
            our_answers = time.perf_counter() - begin
            texts, their_answers = plain.answer(model, tokenizer, prompts, 32, 64)
            few = prompts[:12]
            _, alone = plain.answer(model, tokenizer, few, 1, 64)
        if [one.text for one in written] != texts:
            raise SystemExit("the two wrote different answers: they did not do the same run")
        if number:
            seconds["train"] += [ours]
            seconds["evaluate"] += [our_answers]
            times["train"] += [ours / theirs]
            times["evaluate"] += [our_answers / their_answers]
            times["one by one"] += [alone / len(few) * len(prompts) / our_answers]
    print(
        f"{asked.steps} steps of 8 examples, {len(tests)} answers of at most 64 tokens, {asked.rounds} pairs"
    )
    for name, values in seconds.items():
        print(f"{name:<28} {statistics.median(values):6.2f} s (this program)")
    print(f"training, to plain TRL+PEFT     {summary(times['train'])}   at most 1.05")
    print(f"evaluation, to the same batches {summary(times['evaluate'])}   at most 1.05")
    print(f"one by one, to this program     {summary(times['one by one'])}   at least 5")
    print(f"overhead ratio {statistics.median(times['train']):.3f}")


def summary(values: list[float]) -> str:
    """Median and range of ratios."""
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


@contextlib.contextmanager
def quiet() -> Any:
    """Keep the trainers' own lines out of the table."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        yield


if __name__ == "__main__":
    main()
