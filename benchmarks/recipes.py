"""How to choose the twins' recipes: learning rates tried on the validation split, never on the test split.

`python -m benchmarks.recipes [MODEL ...]` trains each model's twin on course-qa under the default
budget once for every learning rate of its method, scores it on the validation questions, and
prints ROUGE-L side by side, for the winner to be put into `[recipe.mini]` of the model's spec. The README
says how far the rates that stand there now were chosen so.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench import plan as planning
from bench import progress, provenance, registry
from bench.launch.drive import drive
from bench.ledger import Ledger
from bench.verbs import request, run

#: method -> learning rates
GRID = {"full": (5e-4, 1e-3, 2e-3, 4e-3), "lora": (2e-3, 5e-3, 1e-2, 2e-2), "qlora": (2e-3, 5e-3, 1e-2, 2e-2)}


def main() -> None:
    """Try every rate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="default: all")
    parser.add_argument("--rates", help="other learning rates, as 1e-3,3e-3")
    parser.add_argument("--ranks", default="", help="ranks to try too, as 16,64")
    parser.add_argument("--out", type=Path, help="folder for the records (default: a temporary one)")
    asked = parser.parse_args()
    out = asked.out or Path(tempfile.mkdtemp(prefix="recipes-"))
    options = argparse.ArgumentParser()
    run.configure(options)
    args = options.parse_args(["--eval-split", "validation", "--scale", "mini", "--out", str(out)])
    base = request.resolve(args)
    ledger = Ledger(out)
    work = []
    for model in asked.models or sorted(registry.models()):
        spec = registry.find_model(model)
        recipe = spec.recipe_at("mini")
        rates = [float(rate) for rate in asked.rates.split(",")] if asked.rates else GRID[recipe.method]
        ranks = [int(rank) for rank in asked.ranks.split(",") if rank] or [recipe.rank]
        known = next(one for one in base.runs if one.name == model)
        for rate in rates:
            for rank in ranks:
                overlay = {**spec.recipe_mini, "learning_rate": rate, "rank": rank}
                named = f"{model}-r{rank}-{rate:g}" if recipe.method != "full" else f"{model}-{rate:g}"
                tried = spec.model_copy(update={"name": named.replace("+", ""), "recipe_mini": overlay})
                (one,) = planning.plan(
                    [(tried, known.checkpoint)],
                    [0],
                    base.contract,
                    "mini",
                    "cpu",
                    provenance.versions(),
                    "transformers",
                )
                work.append((one, base.folders[known.id]))
    selection = request.selection(base, ledger)
    missing = [(one, folder, selection) for one, folder in work if not ledger.finished(one.id)]
    with progress.watcher(len(missing)) as watcher:
        drive(missing, ledger, run.orders_for(args, "cpu"), watcher)
    best = 0.0
    for stored in ledger.load([one.id for one, _ in work])[0]:
        tuned, gain = stored.record.scores["tuned"]["rougeL"], stored.record.gain["rougeL"]
        best = max(best, tuned.mean)
        print(f"{stored.record.run.name:<28} ROUGE-L {tuned.mean:.4f}  over base {gain.mean:+.4f}")
    copied = stored.record.scores["copy"]["rougeL"].mean
    print(f"{'question copied':<28} ROUGE-L {copied:.4f}")
    print(f"recipes ratio {best / copied:.3f}")


if __name__ == "__main__":
    main()
