"""One group of the board as the values that the page's template shows. No HTML but the plots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.judge.board import MAIN, BoardRow, Group
from bench.judge.intervals import KINDS
from bench.render import doubts, facts, words
from bench.render.page import answers, draw, plots
from bench.render.text.beside import added, arms
from bench.render.text.leaderboard import DASH, LABELS
from bench.stats import Interval, paired_interval
from bench.store.scores import Floats

#: Groups after these show their table only, as do groups with more rows than `MANY`.
DETAILED = 6
MANY = 60
#: Topics that a table shows, the most frequent ones.
TOPICS = 30
#: Questions from which a topic may have a best model.
SMALLEST_TOPIC = 10
LOSSES = {
    "answer": "on the answer only, end of answer included",
    "text": "on all tokens of the text, its end included; no question template",
}
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
        "beside": [
            {"title": title, "head": rows[0], "rows": rows[1:], "sentences": sentences}
            for title, rows, sentences in (
                (arms.TITLE, arms.side_by_side(group), arms.notes(group)),
                (added.TITLE, added.side_by_side(group), added.beneath(group)),
            )
            if rows
        ],
        "failures": facts.failed(group),
        "missing": facts.missing(group),
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
        "model": facts.name(row),
        "size": words.count(row.cost.parameters) if facts.is_twin(row) else "",
        "mark": plots.badge(numbers[facts.name(row)]),
        "family": run.model.family,
        "checkpoint": run.model.checkpoint,
        "method": run.method,
        "scale": run.scale,
        "rank": words.rank(row.rank),
        "tuned": {kind: _estimate(row.tuned[kind], words.score, words.interval) for kind in KINDS},
        "gain": _estimate(row.gain[MAIN], words.change, words.change_interval)
        if row.first.run.trained
        else {"text": DASH, "interval": ""},
        "clear": row.gain[MAIN].low > 0 or row.gain[MAIN].high < 0,
        "bar": plots.bar(row, axis, copied),
        "trainable": words.count(cost.trainable_parameters),
        "speed": f"{cost.tokens_per_second:,.0f}" if row.first.run.trained else DASH,
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
        facts.name(row),
        round(row.tuned[MAIN].mean, 6),
        None,
        round(row.gain[MAIN].mean, 6),
        *(round(row.tuned[kind].mean, 6) for kind in OTHERS),
        row.first.run.method,
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
            {"model": facts.name(row), "plot": plots.lengths(row, numbers[facts.name(row)], limit)}
            | _written(row)
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
    scores = {facts.name(row): _by_topic(row) for row in group.rows[: plots.MOST]}
    values = {
        model: {topic: float(table.mean()) for topic, table in topics.items()}
        for model, topics in scores.items()
    }
    every = [value for topics in values.values() for value in topics.values()]
    low, high = min(every), max(every)
    lines = []
    for name in names:
        cells = [topics.get(name) for topics in values.values()]
        best = _clear_best([topics[name] for topics in scores.values() if name in topics])
        lines.append(
            {
                "name": name or "(none)",
                "count": counts[name],
                "cells": [
                    {
                        "text": words.score(value) if value is not None else "",
                        "shade": round((value - low) / (high - low or 1.0), 2) if value is not None else 0,
                        "best": place == best,
                    }
                    for place, value in enumerate(cells)
                ],
            }
        )
    return {"models": list(values), "lines": lines, "more": len(counts) - len(names)}


def _clear_best(tables: list[Floats]) -> int | None:
    """The place of the model that is better than every other by a paired 95% interval; else none."""
    order = sorted(range(len(tables)), key=lambda place: -tables[place].mean())
    if len(order) < 2 or tables[0].shape[1] < SMALLEST_TOPIC:
        return None
    first, *others = order
    clear = all(paired_interval(tables[other], tables[first]).low > 0 for other in others)
    return first if clear else None


def _by_topic(row: BoardRow) -> dict[str, Floats]:
    """Topic -> tuned scores of its questions, (seeds, questions)."""
    runs = row.stored[: plots.SEEDS]
    scores = np.array([stored.scores["rows"]["tuned"][MAIN]["f"] for stored in runs])
    names = np.array([str(name) for name in runs[0].scores["categories"]])
    return {str(name): scores[:, names == name] for name in np.unique(names)}


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
            f"{contract.budget.effective_batch}: {contract.budget.examples} examples"
            if contract.budget.steps
            else "no step: every model as it is",
        ),
        *([("Loss", LOSSES[contract.loss])] if contract.budget.steps else []),
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
