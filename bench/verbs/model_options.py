"""Options that name models, and what they are tuned with: specs and scales out.

A name is a registered model's, a path, or a checkpoint of the hub; a recipe is the spec's, but for what
options or the trials of `bench tune` put in its place.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench import registry
from bench.errors import BudgetError, RequestError
from bench.launch import hub, preflight
from bench.launch.hub import HUB_NAME
from bench.run.recipes import tuning
from bench.spec import NAME, Budget, Device, ModelSpec, Recipe, Scale
from bench.train import adapter
from bench.verbs.options import parse_budget, positive, whole


def configure(parser: argparse._ArgumentGroup) -> None:
    """Which models, and parts of their recipes that are exchanged for all of them."""
    parser.add_argument(
        "--models", default="all", help="all, or NAME,NAME,...; a path or org/name on the hub works too"
    )
    parser.add_argument(
        "--methods", default="", metavar="NAME,...", help="each model under full, freeze, lora, qlora"
    )
    parser.add_argument("--rank", type=whole(1, 4096), metavar="N", help="of every adapter")
    parser.add_argument("--learning-rate", type=positive, metavar="X", help="of every model")
    parser.add_argument("--micro-batch", type=whole(1, 4096), metavar="N", help="examples a forward pass")


def scale_of(asked: str, device: Device, notes: list[str]) -> Scale:
    """The scale that was asked for; `auto` takes the published checkpoints where there is a CUDA GPU."""
    if asked != "auto":
        return "mini" if asked == "mini" else "full"
    if device == "cuda":
        notes.append("scale full: for a CUDA GPU")
        return "full"
    notes.append("scale mini: no CUDA GPU, so each model is represented by its twin of 1 to 2.5M parameters")
    return "mini"


def models(text: str, scale: Scale, notes: list[str]) -> list[tuple[ModelSpec, Scale]]:
    """The models that `--models` names, each with its scale. Raises `RequestError`, `UnknownName`."""
    if text != "all":
        names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names:
            raise RequestError("--models: names no model; try --models all")
        specs = [_model(name) for name in names]
        _check_names(names, specs)
        # A checkpoint given by path is what it is: it has no twin to stand for it.
        return [(spec, "full" if Path(spec.checkpoint).is_absolute() else scale) for spec in specs]
    for mistakes in registry.broken("models").values():  # "all" is every registered one
        raise mistakes
    specs = list(registry.models().values())
    without = [spec.name for spec in specs if scale == "mini" and spec.twin is None]
    if without:
        notes.append(f"left out at scale mini, no twin: {', '.join(without)}")
    return [(spec, scale) for spec in specs if spec.name not in without]


def _model(name: str) -> ModelSpec:
    """A model by registered name, by path, or by its name on the hub.

    The hub's name of a registered model is that model, with its recipe.
    """
    if adapter.is_adapter(Path(name).expanduser()):
        return _adapter(Path(name).expanduser())
    if not HUB_NAME.fullmatch(name) or os.path.lexists(name):
        return registry.find_model(name)
    known = registry.models()
    for spec in known.values():
        if name.partition("@")[0] == spec.checkpoint:
            return spec
    spec = hub.published_model(name)
    return spec.model_copy(update={"name": name.replace("/", "-")}) if spec.name in known else spec


def _adapter(folder: Path) -> ModelSpec:
    """A spec for a saved adapter: the facts of its base, and the settings that it was tuned with."""
    held = adapter.holding(folder)
    place = adapter.base_folder(folder, held.base)
    if place is not None:
        adapter.check_fit(folder, place)
    base = registry.local_model(place) if place is not None else preflight.base_of(held)
    name = folder.resolve().name
    if not NAME.fullmatch(name) or name in registry.models():
        raise RequestError(f"--models {folder}: '{name}' is no name for a model of yours; rename the folder")
    facts = {"name": name, "checkpoint": str(folder.resolve()), "twin": None, "gated": False, "mirror": None}
    recipe = Recipe(
        method="lora",
        rank=held.rank,
        alpha=held.alpha,
        dropout=held.dropout,
        targets=list(held.targets),
    )
    source = f"local adapter over {held.base}, its settings"
    return base.model_copy(update={**facts, "recipe": recipe, "recipe_mini": {}, "source": source})


def with_recipe(spec: ModelSpec, scale: Scale, args: argparse.Namespace) -> ModelSpec:
    """The model with those parts of its recipe exchanged that options name."""
    asked = {
        "rank": args.rank,
        "learning_rate": args.learning_rate,
        "micro_batch": args.micro_batch,
    }
    changes = {key: value for key, value in asked.items() if value is not None}
    if not changes:
        return spec
    if scale == "mini":
        return spec.model_copy(update={"recipe_mini": {**spec.recipe_mini, **changes}})
    return spec.model_copy(update={"recipe": spec.recipe.model_copy(update=changes)})


def _check_names(texts: list[str], specs: list[ModelSpec]) -> None:
    """Raise `RequestError` where two checkpoints would share a row."""
    held: dict[str, str] = {}
    for text, spec in zip(texts, specs, strict=True):
        if spec.name in held:
            raise RequestError(
                f"--models: {held[spec.name]} and {text} are both called '{spec.name}'; rename one"
            )
        held[spec.name] = text


def recipes(
    args: argparse.Namespace, models: tuning.Models, notes: list[str]
) -> tuple[tuning.Models, dict[str, int]]:
    """The models with the recipes of `--recipes`, and model -> trials. Raises `RequestError`."""
    file = getattr(args, "recipes", None)  # matrix and bisect have no such option
    if not file:
        return models, {}
    chosen = tuning.read(file)
    tuned_for = chosen.contract.budget
    if tuned_for not in budgets(args.budget, ladder=True):
        notes.append(f"--recipes {file}: tuned for budget {tuned_for}, not for {args.budget}")
    return tuning.applied(models, chosen, str(file))


def budgets(text: str, ladder: bool) -> list[Budget]:
    """The budgets of `60x8` or `15x8,60x8,240x8`, each once. Raises `BudgetError`."""
    budgets = [parse_budget(part.strip()) for part in text.split(",")]
    if len(set(budgets)) < len(budgets):
        raise BudgetError(f"--budget {text}: each budget once")
    if len(budgets) > 1 and not ladder:
        raise BudgetError(f"--budget {text}: one budget here; several are for 'bench run' and 'bench plan'")
    return budgets
