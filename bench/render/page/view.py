"""One group of the board as the values that the page's template shows. No HTML but the plots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

from bench.judge.board import MAIN, BoardRow, Group
from bench.judge.pooling import KINDS
from bench.render import doubts, facts, words
from bench.render.page import answers, draw, plots
from bench.render.text.leaderboard import LABELS
from bench.stats import Interval

#: Groups after these show their table only, as do groups with more rows than `MANY`.
DETAILED = 6
MANY = 60
#: Topics that a table shows, the most frequent ones.
TOPICS = 30
OTHERS = tuple(kind for kind in KINDS if kind != MAIN)


def view(group: Group, number: int, packs: answers.Packs) -> dict[str, Any]:
    """All that the template needs of one group."""
    notes = facts.notes(group)
    marks = {(note.badge, note.reason): f"g{number}-note{place}" for place, note in enumerate(notes)}
    copied = next(
        (reference.scores[MAIN].mean for reference in group.references if reference.name == "copy"), None
    )
    axis = plots.bar_axis(group) if group.rows else draw.Axis(0, 1, 6, 144)
    numbers = plots.series(group)
    shown: dict[str, Any] = {
        "key": f"g{number}",
        "title": facts.title(group),
        "scale": group.scale,
        "apart": group.apart,
        "contract_words": group.contract.in_words(),
        "rows": [_row(row, numbers, marks, axis, copied) for row in group.rows],
        "references": [
            {
                "words": reference.words,
                "scores": {kind: words.score(reference.scores[kind].mean) for kind in KINDS},
            }
            | {"interval": words.interval(reference.scores[MAIN])}
            for reference in group.references
        ],
        "labels": LABELS,
        "main": MAIN,
        "others": OTHERS,
        "notes": [
            {
                "id": marks[note.badge, note.reason],
                "badge": note.badge,
                "reason": note.reason,
                "models": ", ".join(note.models),
            }
            for note in notes
        ],
        "failures": facts.failed(group),
        "left_out": facts.left_out(group),
        "answers": None,
        "details": None,
    }
    if group.rows:
        shown["reading"], shown["headline"] = facts.reading(group), facts.headline(group)
        shown["method"] = _method(group)
    if group.rows and number < DETAILED and len(group.rows) <= MANY:
        shown["details"] = _details(group, numbers)
        shown["answers"] = answers.of_group(group, packs)
    return shown


def _row(
    row: BoardRow,
    numbers: Mapping[str, int],
    marks: Mapping[tuple[str, str], str],
    axis: draw.Axis,
    copied: float | None,
) -> dict[str, Any]:
    run, cost = row.first.run, row.cost
    return {
        "model": row.model,
        "mark": plots.badge(numbers[row.model]),
        "family": run.model.family,
        "checkpoint": run.model.checkpoint,
        "method": run.recipe.method,
        "scale": run.scale,
        "rank": words.rank(row.rank),
        "tuned": {kind: _estimate(row.tuned[kind], words.score, words.interval) for kind in KINDS},
        "gain": _estimate(row.gain[MAIN], words.change, words.change_interval),
        "clear": row.gain[MAIN].low > 0 or row.gain[MAIN].high < 0,
        "bar": plots.bar(row, axis, copied),
        "trainable": words.count(cost.trainable_parameters),
        "speed": f"{cost.tokens_per_second:,.0f}",
        "memory": words.size(cost.memory),
        "seconds": words.duration(cost.seconds),
        "order": _sort_keys(row),
        "backend": row.first.backend.name,
        "backend_reason": row.first.backend.reason,
        "badges": [
            {"name": badge.name, "note": marks[badge.name, badge.reason]}
            for badge in map(doubts.badge, row.doubts)
        ],
    }


def _sort_keys(row: BoardRow) -> list[str | float | None]:
    """What each column of the table is sorted by, in the order of the columns."""
    cost = row.cost
    return [
        row.rank[0] * 10_000 + row.rank[1],
        row.model,
        round(row.tuned[MAIN].mean, 6),
        None,
        round(row.gain[MAIN].mean, 6),
        *(round(row.tuned[kind].mean, 6) for kind in OTHERS),
        row.first.run.recipe.method,
        cost.trainable_parameters,
        round(cost.tokens_per_second, 1),
        cost.memory,
        round(cost.seconds, 2),
    ]


def _estimate(
    value: Interval, show: Callable[[float], str], ends: Callable[[Interval], str]
) -> dict[str, str]:
    return {"text": show(value.mean), "interval": ends(value)}


def _details(group: Group, numbers: Mapping[str, int]) -> dict[str, Any]:
    limit = plots.longest(group)
    return {
        "costs": [plots.cost(group, by, numbers) for by in plots.COSTS],
        "curves": [
            plot
            for field, name in (("loss", "Training loss"), ("eval_loss", "Validation loss"))
            if (plot := plots.curves(group, numbers, field, name))
        ],
        "seeds": plots.seeds(group, numbers),
        "topics": topics(group),
        "lengths": [
            {"model": row.model, "plot": plots.lengths(row, numbers[row.model], limit)} | _written(row)
            for row in group.rows[: plots.MOST]
        ],
        "more": max(0, len(group.rows) - plots.MOST),
    }


def _written(row: BoardRow) -> dict[str, Any]:
    """How a model's answers compare with the references in length, and how many went wrong."""
    tuned, data = row.first.written["tuned"], row.first.data
    wrong = [
        f"{count} {name}"
        for count, name in (
            (tuned.empty, "empty"),
            (tuned.truncated, "cut"),
            (tuned.echoed, "echo the prompt"),
        )
        if count
    ]
    return {
        "words": f"{tuned.mean_words:.0f} words; reference {data.reference_words:.0f}",
        "wrong": ", ".join(wrong),
    }


def topics(group: Group) -> dict[str, Any] | None:
    """Mean tuned ROUGE-L by category and model; none where the test set has no categories."""
    categories: list[str] = [str(name) for name in group.rows[0].stored[0].scores["categories"]]
    counts: dict[str, int] = defaultdict(int)
    for name in categories:
        counts[name] += 1
    if len(counts) < 2:
        return None
    names = sorted(sorted(counts), key=lambda name: -counts[name])[:TOPICS]
    values = {row.model: _by_topic(row) for row in group.rows[: plots.MOST]}
    every = [value for topics in values.values() for value in topics.values()]
    low, high = min(every), max(every)
    lines = []
    for name in names:
        cells = [topics.get(name) for topics in values.values()]
        best = max((value for value in cells if value is not None), default=None)
        lines.append(
            {
                "name": name or "(none)",
                "count": counts[name],
                "cells": [
                    {
                        "text": words.score(value) if value is not None else "",
                        "shade": round((value - low) / (high - low or 1.0), 2) if value is not None else 0,
                        "best": value is not None and value == best,
                    }
                    for value in cells
                ],
            }
        )
    return {"models": list(values), "lines": lines, "more": len(counts) - len(names)}


def _by_topic(row: BoardRow) -> dict[str, float]:
    by_topic: dict[str, list[float]] = defaultdict(list)
    for stored in row.stored[: plots.SEEDS]:
        scores = stored.scores["rows"]["tuned"][MAIN]["f"]
        for name, value in zip(stored.scores["categories"], scores, strict=True):
            by_topic[str(name)].append(value)
    return {name: fmean(values) for name, values in by_topic.items()}


def _method(group: Group) -> dict[str, Any]:
    """How the numbers came about: contract, environment, data, command, citation."""
    first = group.rows[0].first
    contract = group.contract
    limit = "all" if contract.eval_limit is None else f"at most {contract.eval_limit}"
    pairs = [
        ("Trained on", f"{contract.train.name}, digest {contract.train.digest[:12]}"),
        (
            "Scored on",
            f"{contract.eval_split} split of {contract.eval.name}, {limit} examples, "
            f"digest {contract.eval.digest[:12]}",
        ),
        (
            "Budget",
            f"{contract.budget.steps} optimizer steps at effective batch "
            f"{contract.budget.effective_batch}: {contract.budget.examples} examples",
        ),
        ("Loss", "on the answer only, end of answer included"),
        ("Length", f"at most {contract.max_length} tokens of prompt and answer"),
        ("Prompt", f"template '{contract.template}'"),
        (
            "Decoding",
            f"{contract.decoding.strategy}, free-running, at most "
            f"{contract.decoding.max_new_tokens} new tokens, batches of {contract.decoding.batch}",
        ),
        ("Scorer", contract.scorer),
        ("Contract", contract.digest),
    ]
    packages: dict[str, dict[str, None]] = defaultdict(dict)
    for row in group.rows:
        for stored in row.stored:
            for name, version in stored.record.provenance.versions.items():
                packages[name][version] = None
    return {
        "contract": pairs,
        "versions": facts.versions(group),
        "places": facts.places(group),
        "packages": [(name, ", ".join(versions)) for name, versions in sorted(packages.items())],
        "prepared": first.data.prepared,
        "selected": first.data.selected,
        "command": facts.command(group),
        "citation": facts.citation(group),
    }
