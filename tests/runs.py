"""Real runs on the twins, in this process: what the training and generation tests stand on."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from bench import provenance, registry
from bench.data import prepare
from bench.launch import preflight
from bench.run import plan as planning
from bench.run.encode import encode_all, encode_prompt
from bench.run.identity import Run
from bench.run.job import Job, write_selection
from bench.spec import Budget, Contract, Decoding, Example
from bench.train.encoded import Encoded
from bench.train.fit import Fitted, fit
from bench.train.load import Loaded, load

SCORER = "rouge/1 stemmer=porter split=newline"
#: One model for each family.
FAMILIES = (
    "bart-large-xsum",
    "gpt2",
    "gpt-neo-125m",
    "phi-1.5",
    "llama-2-7b",
    "mistral-7b-v0.3",
    "llama-3.1-8b",
)


@lru_cache
def course(part: str = "test", limit: int | None = 250) -> prepare.Selection:
    """The selection of course-qa."""
    prepared = prepare.prepare(registry.find_dataset("course-qa"))
    return prepare.select(prepared, prepared, "validation" if part == "validation" else "test", limit)


def mini_run(
    model: str,
    steps: int = 3,
    batch: int = 8,
    seed: int = 0,
    new_tokens: int = 24,
    backend: Any = "transformers",
    **recipe: Any,
) -> tuple[Run, Path]:
    """A run of a model's twin on course-qa, and the twin's folder; `recipe` overlays its recipe."""
    spec = registry.find_model(model)
    spec = spec.model_copy(update={"recipe_mini": {**spec.recipe_mini, **recipe}})
    origin, folder = preflight.checkpoint(spec, "mini", "cpu")
    assert folder is not None
    ref = prepare.reference(registry.find_dataset("course-qa"))
    contract = Contract(
        train=ref,
        eval=ref,
        budget=Budget(steps=steps, effective_batch=batch),
        decoding=Decoding(max_new_tokens=new_tokens, batch=64),
        scorer=SCORER,
    )
    (run,) = planning.plan([(spec, origin)], [seed], contract, "mini", "cpu", provenance.versions(), backend)
    return run, folder


def job_for(run: Run, folder: Path, selection: prepare.Selection, workspace: Path, **fields: Any) -> Job:
    """A run's job in a workspace of its own; what it selects is written beside it."""
    place = workspace / "selection.json"
    workspace.mkdir(parents=True, exist_ok=True)
    write_selection(place, selection)
    return Job(
        run=run,
        checkpoint_folder=str(folder),
        selection=str(place),
        workspace=str(workspace),
        threads=1,
        command="bench run",
        commit=None,
        dirty=False,
        **fields,
    )


def encoded(run: Run, loaded: Loaded, examples: list[Example] | None = None) -> list[Encoded]:
    """What the run's budget sees of course-qa, encoded."""
    order = examples or prepare.training_order(course().train, run.contract.budget, run.seed)
    return encode_all(order, loaded.tokenizer, run.template, run.contract.max_length, run.model.objective)


def prompts(run: Run, loaded: Loaded, examples: Any) -> list[list[int]]:
    """Test examples as the tokens that generation starts from."""
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


def trained(run: Run, folder: Path, workspace: Path) -> tuple[Loaded, Fitted]:
    """Load and train."""
    loaded = load(run, folder)
    return loaded, fit(run, loaded, encoded(run, loaded), workspace, report=lambda *_: None)
