"""A run's saved weights become a model again, loaded as the run itself loaded its base.

The base is loaded by the run's own path (`bench.train.load`), 4-bit weights included, and the saved
adapter is put into it; a fully tuned model is loaded from its own folder. So what answers here is what
answered then, and not a conversion of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.errors import RecordError
from bench.run.answers.generate import Completion, complete
from bench.run.encode import encode_prompt
from bench.run.identity import Run
from bench.spec import Example
from bench.train.load import Loaded, load
from bench.train.numerics import precision

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def tuned(run: Run, checkpoint: Path | None, weights: Path) -> Loaded:
    """The model as its run left it.

    `checkpoint` is the base's folder, none for the hub; `weights` is the record's `adapter/` or `model/`.
    Raises `RecordError` where an adapter does not fit its base, and what `load` raises.
    """
    if not run.recipe.adapter:
        return load(run, weights)
    loaded = load(run, checkpoint)
    put_adapter(loaded, weights)
    return loaded


def put_adapter(loaded: Loaded, weights: Path, name: str = "default") -> None:
    """Put a saved adapter's weights into the adapter `name` of a model. Raises `RecordError`."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    put = set_peft_model_state_dict(loaded.model, load_file(weights / ADAPTER_WEIGHTS), adapter_name=name)
    lacking = [key for key in put.missing_keys if "lora_" in key and f".{name}." in key]
    for keys, what in ((put.unexpected_keys, "does not fit the model"), (lacking, "is not whole")):
        if keys:
            raise RecordError(f"{weights / ADAPTER_WEIGHTS}: the adapter {what}: {keys[0]}")


def prompts(run: Run, loaded: Loaded, questions: Iterable[tuple[str, str]], template: str) -> list[list[int]]:
    """The tokens that generation starts from, one list for each pair of question and context."""
    contract = run.contract
    return [
        encode_prompt(
            Example(id="", question=question, answers=(), context=context),
            loaded.tokenizer,
            template,
            contract.max_length,
            contract.decoding,
            run.model.objective,
        )
        for question, context in questions
    ]


def answers(
    run: Run,
    loaded: Loaded,
    encoded: Sequence[list[int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Completion]:
    """What a model writes after each prompt, under the run's decoding and in its computing type."""
    return complete(
        loaded.model,
        loaded.tokenizer,
        encoded,
        run.contract.decoding,
        run.model.objective,
        progress=progress,
        dtype=None if run.backend == "unsloth" else precision(run),
        shrinks=run.backend != "unsloth",
    )
