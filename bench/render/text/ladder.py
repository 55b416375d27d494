"""A ladder of budgets as text: a table of scores, and which models change order along it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.effort.ladder import Crossing, Ladder
from bench.render import facts, words
from bench.render.tables import columns, pipes, wrap
from bench.spec import Budget, called
from bench.stats import Interval

#: Crossings that are told one by one; the rest are counted.
TOLD = 6


def title(ladder: Ladder) -> str:
    """Data and scale."""
    trial = f", with {', '.join(ladder.trial)}" if ladder.trial else ""
    return f"Score against examples seen: {ladder.contract.eval.name}, {ladder.scale} scale{trial}"


def names(ladder: Ladder) -> dict[str, str]:
    """Model -> what it is called; a twin is called one."""
    return {row.model: facts.name(row) for row in ladder.rows}


def table(ladder: Ladder) -> list[list[str]]:
    """A head, and a row a model: its score at every budget with the 95% interval."""
    named = names(ladder)
    head = ["ROUGE-L", *(f"{rung.budget}: {seen(rung.budget)}" for rung in ladder.rungs)]
    rows = [[named[model], *(_score(rung.tuned[model]) for rung in ladder.rungs)] for model in ladder.models]
    return [head, *rows]


def sentences(ladder: Ladder) -> list[str]:
    """Which models change order, how surely, and what that rests on."""
    named = names(ladder)
    clear = [crossing for crossing in ladder.crossings if crossing.clear]
    unclear = [crossing for crossing in ladder.crossings if not crossing.clear]
    pairs = f"{ladder.pairs} pair{'' if ladder.pairs == 1 else 's'} of models"
    change = "changes" if len(clear) == 1 else "change"
    lines = [
        f"{len(clear) or 'None'} of {pairs} clearly {change if clear else 'changes'} order along the ladder."
    ]
    lines += [_told(crossing, named) for crossing in clear[:TOLD]]
    if len(clear) > TOLD:
        lines.append(f"And {len(clear) - TOLD} more.")
    if unclear:
        which = "; ".join(
            f"{named[crossing.ahead]} and {named[crossing.behind]} (p {crossing.p:.2g})"
            for crossing in unclear[:TOLD]
        )
        rest = f"; and {len(unclear) - TOLD} more" if len(unclear) > TOLD else ""
        lines.append(f"Means cross without the data showing a change of order: {which}{rest}.")
    return [*lines, *_basis(ladder)]


def seen(budget: Budget) -> str:
    """Examples in all, in words."""
    return f"{budget.examples:,} examples" if budget.steps else "not trained"


def markdown(ladder: Ladder) -> list[str]:
    """The section of a board's document, as lines."""
    lines = [f"## {title(ladder)}", "", *pipes(table(ladder)), ""]
    return [*lines, *(f"- {sentence}" for sentence in sentences(ladder)), ""]


def terminal(ladder: Ladder) -> str:
    """The same for a terminal."""
    head = title(ladder)
    told = [line for sentence in sentences(ladder) for line in wrap(sentence)]
    return "\n".join([head, "=" * len(head), *columns(table(ladder)), "", *told])


def _told(crossing: Crossing, named: dict[str, str]) -> str:
    return (
        f"{named[crossing.ahead]} is ahead of {named[crossing.behind]} at {seen(crossing.small)} "
        f"({_change(crossing.before)}) and behind at {seen(crossing.large)} ({_change(crossing.after)}); "
        f"p {crossing.p:.2g}."
    )


def _basis(ladder: Ladder) -> Iterator[str]:
    noise = (
        "training noise of several seeds included"
        if ladder.seeds
        else "training noise not measured: one seed"
    )
    yield (
        "p of a change of order is that of its weaker end, allowing for every budget and every pair (Holm); "
        f"{noise}."
    )
    left_out = [called(model, ladder.scale) for model in ladder.left_out]
    if left_out:
        yield f"Not at every budget under one recipe and one set of versions: {', '.join(left_out)}."
    if ladder.further:
        further = ", ".join(called(model, ladder.scale) for model in ladder.further)
        yield f"Not among the best {len(ladder.models)}, which are compared: {further}."


def _score(value: Interval) -> str:
    return f"{words.score(value.mean)} ({words.interval(value)})"


def _change(value: Interval) -> str:
    return f"{words.change(value.mean)}, {words.change_interval(value)}"
