"""One model under several methods of tuning: each is a row of its own under the same contract.

A method that is not the model's own gets the model's recipe with the method exchanged, and a name of its own
(`gpt2-full`), so that the row called `gpt2` still means the registered recipe everywhere.

Adapters take learning rates about ten times those of all weights (Schulman and Thinking Machines Lab, 2025,
"LoRA Without Regret"), so the rate is moved by `RATE`. That is a starting point and no tuning: `bench tune`
gives every method the same number of trials.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import get_args

from bench.errors import RequestError, UnknownName
from bench.spec import Method, ModelSpec, Scale

#: Method -> learning rate in proportion to an adapter's.
RATE: dict[Method, float] = {"full": 0.1, "freeze": 0.1, "lora": 1.0, "qlora": 1.0}


def parse(text: str) -> tuple[Method, ...]:
    """The methods in `full,freeze,lora,qlora`, each once; none of an empty text.

    Raises `UnknownName`.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in get_args(Method):
            raise UnknownName("method", name, get_args(Method))
    return tuple(method for name in names for method in get_args(Method) if method == name)


def variants(
    models: Sequence[tuple[ModelSpec, Scale]], methods: Sequence[Method], taken: Container[str] = ()
) -> list[tuple[ModelSpec, Scale]]:
    """Every model under every method; the models themselves where no method is named.

    Raises `RequestError` where a variant would have the name of a registered model (`taken`).
    """
    if not methods:
        return list(models)
    made = [(with_method(spec, method, scale), scale) for spec, scale in models for method in methods]
    own = {spec.name for spec, _ in models}
    for spec, _ in made:
        if spec.name not in own and spec.name in taken:
            raise RequestError(f"--methods: '{spec.name}' is a registered model; rename its file")
    return made


def with_method(spec: ModelSpec, method: Method, scale: Scale) -> ModelSpec:
    """The model as it is if the method is its own, else under another name and with the method exchanged."""
    recipe = spec.recipe_at(scale)
    if recipe.method == method:
        return spec
    rate = float(f"{recipe.learning_rate * RATE[method] / RATE[recipe.method]:.3g}")
    change = {"method": method, "learning_rate": rate}
    name = f"{spec.name}-{method}"
    if scale == "mini":
        return spec.model_copy(update={"name": name, "recipe_mini": {**spec.recipe_mini, **change}})
    return spec.model_copy(update={"name": name, "recipe": recipe.model_copy(update=change)})
