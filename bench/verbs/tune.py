"""`bench tune`: the same number of trials for every model, scored on validation questions alone.

The trials are runs like any other, kept in a ledger of their own (`OUT/tuning`), so that an interrupted
search goes on and nothing of it stands on the board. They are scored on the validation part of the data set
that is trained on: test questions take part in preparing the data, where they keep their duplicates out of
training, and nowhere after that. `bench run --recipes OUT/tuning/recipes.json` then runs what was chosen.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

from bench.errors import BudgetError, RequestError
from bench.render.text import tuning as text
from bench.run.identity import Run
from bench.run.recipes import tuning
from bench.store.ledger import Ledger
from bench.verbs import Output, model_options, request, run
from bench.verbs.options import whole
from bench.versions import environment

FOLDER = "tuning"
METRIC = "rougeL"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `bench run`, and the search."""
    run.configure(parser)
    search = parser.add_argument_group("the search")
    search.add_argument("--trials", type=whole(1, 1000), default=6, metavar="N", help="of every model (6)")
    rates = ",".join(f"{rate:g}" for rate in tuning.RATES)
    search.add_argument(
        "--rates", type=_factors, default=tuning.RATES, metavar="X,...", help=f"times the recipe's ({rates})"
    )
    ranks = ",".join(map(str, tuning.RANKS))
    search.add_argument(
        "--ranks", type=_ranks, default=tuning.RANKS, metavar="N,...", help=f"of an adapter ({ranks})"
    )


def execute(args: argparse.Namespace) -> Output:
    """Carry out the trials that are missing, choose, and leave the file of recipes."""
    if args.eval or args.recipes:
        raise RequestError(
            "bench tune: scores on the data set that it trains on; leave out --eval and --recipes"
        )
    if not all(budget.steps for budget in model_options.budgets(args.budget, ladder=True)):
        raise BudgetError(f"bench tune --budget {args.budget}: without training no recipe differs")
    args.eval_split, args.eval_limit = "validation", 0
    packages = environment.solve(args.packages)
    drawn: list[tuning.Search] = []

    def vary(models: tuning.Models) -> tuning.Models:
        drawn.append(tuning.draw(models, args.trials, args.rates, args.ranks))
        return drawn[0].models

    requested = request.resolve(args, packages.versions, vary=vary)
    ledger = Ledger(args.out / FOLDER)
    failures = run.carry_out(args, requested, ledger, packages)
    result = tuning.Tuning(
        contract=requested.contract,
        rates=tuple(args.rates),
        ranks=tuple(args.ranks),
        models=_judged(requested.runs, drawn[0], ledger),
    )
    if nothing := [name for name, model in result.models.items() if model.all_failed]:
        raise RequestError(f"bench tune: every trial of {', '.join(nothing)} failed; see bench list runs")
    file = ledger.out / tuning.FILE
    tuning.write(result, file)
    lines = [text.terminal(result), "", f"written: {file}", f"next: bench run --recipes {file}"]
    return Output(
        "\n".join(lines), {**result.model_dump(mode="json"), "written": str(file)}, 1 if failures else 0
    )


def _judged(runs: list[Run], plan: tuning.Search, ledger: Ledger) -> dict[str, tuning.Tuned]:
    records = {stored.record.id: stored.record for stored in ledger.load([each.id for each in runs])[0]}
    results: dict[str, dict[str, list[tuple[str, float | None]]]] = defaultdict(lambda: defaultdict(list))
    scales = {}
    for each in runs:
        record = records.get(each.id)
        score = record.scores["tuned"][METRIC].mean if record else None
        results[each.name][tuning.digest_of(each.recipe)].append((each.id, score))
        scales[each.name] = each.scale
    return {
        name: tuning.judged(scales[name], recipes, results[name]) for name, recipes in plan.recipes.items()
    }


def _factors(text: str) -> tuple[float, ...]:
    return tuple(_numbers(text, float))


def _ranks(text: str) -> tuple[int, ...]:
    return tuple(map(int, _numbers(text, int)))


def _numbers(text: str, kind: type) -> list[float]:
    try:
        values = [kind(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value < 10_000 for value in values) or len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(
            f"expected different numbers above 0, as in 1,2,4, not '{text[:40]}'"
        )
    return values
