"""What this program costs beside a plain script that does the same run.  `python -m benchmarks.overhead`.

Both train and answer in turn, in one process and on one thread, under the contract's own case: 200 answers of
at most 96 tokens in batches of 128. Both must have written the same answers. Answering one by one, as many
scripts do, is timed beside it on a few questions. Times are processor seconds, so other work on the machine
slows both alike; the ratios are medians over rounds. The models are a causal twin, the encoder-decoder twin
and, where `make smollm2` has fetched it, SmolLM2-135M. The last line is the largest training ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
import transformers

from bench import provenance, registry
from bench.data import prepare
from bench.launch import preflight
from bench.run import plan as planning
from bench.run.answers.generate import complete
from bench.run.encode import encode_all, encode_prompt
from bench.run.identity import Run
from bench.spec import Budget, Contract, Decoding, Example, Scale
from bench.train import gguf
from bench.train.encoded import Encoded
from bench.train.fit import fit
from bench.train.load import Loaded, load
from bench.train.meter import affordable
from benchmarks import plain

SMOLLM2 = Path("checkpoints/SmolLM2-135M-Instruct.Q4_1.gguf")
#: What is measured -> how it is called, and its limit in words.
TABLE = {
    "training": ("training, to the plain script", "at most 1.02"),
    "answering": ("answering, to plain batches", "at most 0.75"),
    "one by one": ("one by one, to this program", "at least 10"),
    "validation": ("validation loss, to training", "at most 0.03"),
}
#: Questions that are answered one by one.
ALONE = 8


@dataclass(frozen=True)
class Case:
    """A model and what it is trained and asked on."""

    run: Run
    #: The checkpoint, as `load` and as a plain script take it.
    folder: Path
    plain_folder: Path
    order: list[Example]
    followed: tuple[Example, ...]
    tests: tuple[Example, ...]


def main() -> None:
    """Time both for each model and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--new-tokens", type=int, default=96)
    standard = ["gpt2", "bart-large-xsum", *([f"smollm2-135m={SMOLLM2}"] if SMOLLM2.is_file() else [])]
    parser.add_argument("--models", default=",".join(standard), metavar="NAME,...")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    largest = 0.0
    for model in asked.models.split(","):
        case = case_of(model, asked)
        ratios: dict[str, list[float]] = defaultdict(list)
        for number in range(asked.rounds + 1):  # the first warms caches up and does not count
            measured = compared(case)
            for name, value in measured.items() if number else ():
                ratios[name].append(value)
        print(
            f"{case.run.name}, scale {case.run.scale}: {asked.steps} steps of 8 examples, "
            f"{len(case.tests)} answers of at most {asked.new_tokens} tokens, {asked.rounds} rounds"
        )
        for name, (label, limit) in TABLE.items():
            print(f"  {label:<30} {summary(ratios[name])}   {limit}")
        largest = max(largest, statistics.median(ratios["training"]))
    print(f"overhead ratio {largest:.3f}")


def case_of(model: str, asked: argparse.Namespace) -> Case:
    """A model by name, without dropout: the two would draw other masks."""
    spec = registry.find_model(model)
    scale: Scale = "full" if Path(spec.checkpoint).is_absolute() else "mini"
    changes = {"dropout": 0.0}
    spec = spec.model_copy(
        update={
            "recipe": spec.recipe.model_copy(update=changes),
            "recipe_mini": {**spec.recipe_mini, **changes},
        }
    )
    origin, folder = preflight.checkpoint(spec, scale, "cpu")
    if folder is None:
        raise SystemExit(f"{model}: not on this machine")
    data = prepare.prepare(registry.find_dataset("course-qa"))
    contract = Contract(
        train=data.ref,
        eval=data.ref,
        eval_limit=asked.questions,
        budget=Budget(steps=asked.steps, effective_batch=8),
        decoding=Decoding(max_new_tokens=asked.new_tokens),
        scorer="rouge",
    )
    chosen = prepare.select(data, data, "test", asked.questions)
    (run,) = planning.plan([(spec, origin)], [0], contract, scale, "cpu", provenance.versions())
    return Case(
        run,
        folder,
        gguf.loadable(folder, origin.revision),
        prepare.training_order(chosen.train, contract.budget, 0),
        chosen.followed[: affordable(contract.budget)],
        chosen.eval,
    )


def compared(case: Case) -> dict[str, float]:
    """The ratios of one round, by the names of `TABLE`."""
    run, decoding, objective = case.run, case.run.contract.decoding, case.run.model.objective
    with quiet(), tempfile.TemporaryDirectory() as scratch:
        loaded = load(run, case.folder)
        rows = encoded(run, loaded, case.order)
        prompts = [
            encode_prompt(example, loaded.tokenizer, "qa", run.contract.max_length, decoding, objective)
            for example in case.tests
        ]
        begin, began = process_time(), perf_counter()
        fitted = fit(
            run,
            loaded,
            rows,
            Path(scratch) / "ours",
            lambda *_: None,
            validation=encoded(run, loaded, case.followed),
        )
        whole, took = process_time() - begin, perf_counter() - began
        model, theirs = plain.train(
            case.plain_folder, run, [row.features for row in rows], loaded.tokenizer, Path(scratch) / "plain"
        )
        begin = process_time()
        written = complete(loaded.model, loaded.tokenizer, prompts, decoding, objective)
        ours = process_time() - begin
        texts, batched = plain.answer(model, loaded.tokenizer, prompts, decoding)
        few = prompts[:: max(1, len(prompts) // ALONE)]
        _, alone = plain.answer(model, loaded.tokenizer, few, decoding.model_copy(update={"batch": 1}))
    if [completion.text for completion in written] != texts:
        raise SystemExit(f"{run.name}: the two wrote different answers: they did not do the same run")
    validation = whole * fitted.meter.validation_seconds / took  # which is measured by the clock
    training = whole - validation
    return {
        "training": training / theirs,
        "answering": ours / batched,
        "one by one": alone / len(few) * len(prompts) / ours,
        "validation": validation / training,
    }


def encoded(run: Run, loaded: Loaded, examples: Any) -> list[Encoded]:
    """Examples as the run trains on them."""
    return encode_all(examples, loaded.tokenizer, "qa", run.contract.max_length, run.model.objective)


def summary(values: list[float]) -> str:
    """Median and range of ratios."""
    return f"{statistics.median(values):6.3f} ({min(values):.3f} to {max(values):.3f})"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the trainers' own lines out of the table."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        yield


if __name__ == "__main__":
    main()
