"""What a search found: the chosen recipes, and what the best of fewer trials would have been worth."""

from __future__ import annotations

from bench.render import words
from bench.render.tables import columns, wrap
from bench.run.recipes.tuning import Tuned, Tuning
from bench.spec import called


def terminal(tuning: Tuning) -> str:
    """A table with a row a model, and how to read it."""
    most = max(len(tuned.trials) for tuned in tuning.models.values())
    steps = sorted({1, 2, (most + 1) // 2, most} & set(range(1, most + 1)))
    head = ["Model", "Learning rate", "Rank", "ROUGE-L", *(f"best of {n}" for n in steps), "Failed"]
    rows = [
        [
            called(name, tuned.scale),
            f"{tuned.best.recipe.learning_rate:g}",
            str(tuned.best.recipe.rank) if tuned.best.recipe.adapter else "",
            words.score(tuned.best.score),
            *(words.score(tuned.expected_best[n - 1]) for n in steps),
            str(_failed(tuned) or ""),
        ]
        for name, tuned in tuning.models.items()
    ]
    contract = tuning.contract
    note = (
        f"{most} trials of every model, from {_listed(tuning.rates)} times its recipe's learning rate and "
        f"adapters of rank {_listed(tuning.ranks)}; budget {contract.budget}; scored on the validation "
        f"questions of {contract.eval.name}, which are neither trained on nor tested on. 'best of n' is what "
        "the best of n such trials is expected to score there: a chosen score is too good by chance, so only "
        "test questions tell what the recipe is worth."
    )
    return "\n".join([*columns([head, *rows], right=range(1, len(head))), "", *wrap(note)])


def _failed(tuned: Tuned) -> int:
    return sum(trial.failed for trial in tuned.trials)


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
