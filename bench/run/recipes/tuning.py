"""Trials of recipes: every model gets the same number, drawn from a grid that is stated.

Decisions that this module owns:

- The grid is relative to a model's own recipe: its learning rate times `RATES`, and where an adapter is
  trained, each of `RANKS`, with alpha in the same proportion to the rank as in the recipe.
- Trials are drawn without repetition, by a hash of the model's name and the point: no seed, so that more
  trials of one model are the same ones and further ones.
- A trial whose run fails (a learning rate at which the loss diverges) was a trial: it counts with score 0.
- The best mean score over the seeds is chosen; of equal ones, the first drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.digest import digest
from bench.errors import RequestError
from bench.files import put
from bench.spec import Contract, ModelSpec, Recipe, Scale
from bench.stats import expected_best

#: Factors of the recipe's learning rate.
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RANKS = (8, 16, 32, 64)
FORMAT = 1
FILE = "recipes.json"
Models = Sequence[tuple[ModelSpec, Scale]]


class TriedRecipe(BaseModel):
    """One recipe that was tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    #: Mean ROUGE-L over the seeds on the validation questions; a seed that failed has 0.
    score: float
    runs: tuple[str, ...]
    failed: int = 0


class Tuned(BaseModel):
    """The trials of one model, and the recipe that they chose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: Scale
    trials: tuple[TriedRecipe, ...]
    #: The score expected of the best of 1, 2, ... trials.
    expected_best: tuple[float, ...]

    @property
    def best(self) -> TriedRecipe:
        """The trial that was chosen; one whose runs all failed is never one."""
        return max(self.trials, key=lambda trial: (trial.failed < len(trial.runs), trial.score))

    @property
    def all_failed(self) -> bool:
        """Whether there is nothing to choose from."""
        return all(trial.failed == len(trial.runs) for trial in self.trials)


class Tuning(BaseModel):
    """What `bench tune` leaves: every trial of every model under one contract."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    contract: Contract
    rates: tuple[float, ...]
    ranks: tuple[int, ...]
    models: dict[str, Tuned]


@dataclass(frozen=True)
class Search:
    """Models with a recipe each, more than once, and model -> the recipes in the order of drawing."""

    models: list[tuple[ModelSpec, Scale]]
    recipes: dict[str, list[Recipe]]


def grid(recipe: Recipe, rates: Sequence[float], ranks: Sequence[int]) -> list[Recipe]:
    """Every recipe that may be tried in the place of this one."""
    made = []
    for factor, rank in product(rates, ranks if recipe.adapter else (recipe.rank,)):
        alpha = max(1, round(recipe.alpha * rank / recipe.rank))
        change = {"learning_rate": float(f"{recipe.learning_rate * factor:.3g}"), "rank": rank}
        made.append(recipe.model_copy(update={**change, "alpha": alpha}))
    return made


def draw(models: Models, trials: int, rates: Sequence[float], ranks: Sequence[int]) -> Search:
    """Equally many trials for each model. Raises `RequestError` for more than a grid has."""
    planned: list[tuple[ModelSpec, Scale]] = []
    recipes: dict[str, list[Recipe]] = {}
    for spec, scale in models:
        points = grid(spec.recipe_at(scale), rates, ranks)
        if trials > len(points):
            raise RequestError(
                f"--trials {trials}: the grid of '{spec.name}' has {len(points)} recipes; "
                f"use at most as many for all models, or give more --rates"
            )
        drawn = sorted(points, key=lambda point: digest([spec.name, point.model_dump(mode="json")]))[:trials]
        recipes[spec.name] = drawn
        planned += [(with_recipe(spec, scale, recipe), scale) for recipe in drawn]
    return Search(planned, recipes)


def with_recipe(spec: ModelSpec, scale: Scale, recipe: Recipe) -> ModelSpec:
    """The model with another recipe at a scale."""
    if scale == "mini":
        return spec.model_copy(update={"recipe_mini": {**spec.recipe_mini, **dict(recipe)}})
    return spec.model_copy(update={"recipe": recipe})


def judged(
    scale: Scale, recipes: Sequence[Recipe], runs: Mapping[str, Sequence[tuple[str, float | None]]]
) -> Tuned:
    """The trials of one model; `runs` holds the run ids and scores under the digest of each recipe."""
    trials = []
    for recipe in recipes:
        results = runs[digest_of(recipe)]
        trials.append(
            TriedRecipe(
                recipe=recipe,
                score=fmean(score or 0.0 for _, score in results),
                runs=tuple(id for id, _ in results),
                failed=sum(score is None for _, score in results),
            )
        )
    best = expected_best([trial.score for trial in trials])
    return Tuned(scale=scale, trials=tuple(trials), expected_best=tuple(best))


def digest_of(recipe: Recipe) -> str:
    """Equal for equal recipes."""
    return digest(recipe.model_dump(mode="json"))


def write(tuning: Tuning, file: Path) -> None:
    """Leave the trials in one file."""
    put(file, tuning.model_dump_json(indent=1) + "\n")


def read(file: Path) -> Tuning:
    """What `write` left. Raises `RequestError`."""
    try:
        body: dict[str, Any] = json.loads(file.read_bytes())
        if body.get("format") != FORMAT:
            raise RequestError(f"--recipes {file}: format {body.get('format')}, this program reads {FORMAT}")
        return Tuning.model_validate_json(json.dumps(body))
    except OSError as error:
        raise RequestError(f"--recipes {file}: {error.strerror}; make it by: bench tune") from None
    except (ValueError, AttributeError, ValidationError):
        raise RequestError(f"--recipes {file}: is no file of 'bench tune'; make it anew") from None


def applied(
    models: Models, tuning: Tuning, where: str
) -> tuple[list[tuple[ModelSpec, Scale]], dict[str, int]]:
    """The models with the recipes that were chosen, and model -> the number of its trials.

    Raises `RequestError` for a model that was not tuned, or at another scale.
    """
    made, effort = [], {}
    for spec, scale in models:
        tuned = tuning.models.get(spec.name)
        if tuned is None or tuned.scale != scale:
            raise RequestError(
                f"--recipes {where}: holds no recipe of '{spec.name}' at scale {scale}; "
                f"tune it by: bench tune --models {spec.name}"
            )
        made.append((with_recipe(spec, scale, tuned.best.recipe), scale))
        effort[spec.name] = len(tuned.trials)
    return made, effort
