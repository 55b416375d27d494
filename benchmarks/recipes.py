"""How the twins' recipes were chosen: on the validation split, never on the test split.

`python -m benchmarks.recipes [MODEL ...]` trains each model's twin on course-qa under the default
budget with every learning rate and rank of its method's grid and two seeds, scores the validation
questions, and prints the mean ROUGE-L side by side. The best of each model stands in `[recipe.mini]`
of its spec. Training is the same as for the test questions: neither part is ever trained on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from bench import provenance, registry
from bench.launch import progress
from bench.launch.drive import drive
from bench.run import plan as planning
from bench.store.ledger import Ledger
from bench.verbs import request, run

#: method -> learning rates
GRID = {"full": (2e-4, 5e-4, 1e-3, 2e-3), "lora": (5e-4, 1e-3, 2e-3), "qlora": (5e-4, 1e-3, 2e-3)}
RANKS = (16, 64)


def main() -> None:
    """Try every rate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="default: all")
    parser.add_argument("--rates", help="other learning rates, as 1e-3,3e-3")
    parser.add_argument("--ranks", default=",".join(map(str, RANKS)), help="ranks of the adapters to try")
    parser.add_argument("--seeds", default="0,1", help="each recipe's score is the mean over these")
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
        ranks = [int(rank) for rank in asked.ranks.split(",")] if recipe.method != "full" else [recipe.rank]
        known = next(one for one in base.runs if one.name == model)
        for rate in rates:
            for rank in ranks:
                overlay = {**spec.recipe_mini, "learning_rate": rate, "rank": rank}
                named = f"{model}-r{rank}-{rate:g}" if recipe.method != "full" else f"{model}-{rate:g}"
                tried = spec.model_copy(update={"name": named.replace("+", ""), "recipe_mini": overlay})
                runs = planning.plan(
                    [(tried, known.checkpoint)],
                    [int(seed) for seed in asked.seeds.split(",")],
                    base.contract,
                    "mini",
                    "cpu",
                    provenance.versions(),
                    "transformers",
                )
                work += [(one, base.folders[known.id]) for one in runs]
    selection = request.selection(base, ledger)
    missing = [(one, folder, selection) for one, folder in work if not ledger.finished(one.id)]
    with progress.watcher(len(missing)) as watcher:
        drive(missing, ledger, run.settings_for(args, "cpu"), watcher)
    records = [stored.record for stored in ledger.load([one.id for one, _ in work])[0]]
    found = defaultdict(list)
    for record in records:
        found[record.run.name].append(record)
    scores = {name: fmean(one.scores["tuned"]["rougeL"].mean for one in ones) for name, ones in found.items()}
    for name, score in scores.items():
        gain = fmean(one.gain["rougeL"].mean for one in found[name])
        print(f"{name:<28} ROUGE-L {score:.4f}  over base {gain:+.4f}  {len(found[name])} seeds")
    copied = records[0].scores["copy"]["rougeL"].mean
    print(f"{'question copied':<28} ROUGE-L {copied:.4f}")
    print(f"recipes ratio {max(scores.values()) / copied:.3f}")


if __name__ == "__main__":
    main()
