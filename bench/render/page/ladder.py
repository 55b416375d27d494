"""A ladder of budgets on the page: score against examples seen, with intervals."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape

from bench.judge.effort.ladder import Ladder
from bench.render import words
from bench.render.page import draw
from bench.render.text import ladder as text


def view(ladder: Ladder, number: int) -> dict[str, Any]:
    """All that the template needs of one ladder."""
    head, *rows = text.table(ladder)
    return {
        "key": f"ladder{number}",
        "title": text.title(ladder),
        "head": head,
        "rows": rows,
        "sentences": text.sentences(ladder),
        "plot": plot(ladder),
    }


def plot(ladder: Ladder) -> Markup:
    """One line a model over examples seen, on a logarithmic axis; upright lines are 95% intervals.

    What was not trained stands at the axis' beginning.
    """
    wide, high, left, right = 620.0, 380.0, 52.0, 440.0
    named = text.names(ladder)
    numbers = {model: number for number, model in enumerate(sorted(ladder.models))}
    seen = [rung.budget.examples for rung in ladder.rungs]
    untrained = min(filter(None, seen), default=1) / 4
    places = [float(count) or untrained for count in seen]
    x = draw.spanning(places, left, right, log=True)
    intervals = [value for rung in ladder.rungs for value in rung.tuned.values()]
    ends = [end for value in intervals for end in (max(value.low, 0.0), min(value.high, 1.0))]
    y = draw.spanning(ends, high - 44, 18)
    parts = [draw.text(left, 10, "ROUGE-L", "small muted")]
    for tick in y.ticks():
        parts.append(draw.line(left, y(tick), right, y(tick), "grid"))
        parts.append(draw.text(left - 6, y(tick) + 4, f"{tick:.2f}", "small muted", "end"))
    parts.append(draw.line(left, high - 44, right, high - 44, "axis"))
    for count, place in zip(seen, places, strict=True):
        parts.append(draw.line(x(place), high - 44, x(place), high - 40, "axis"))
        parts.append(draw.text(x(place), high - 27, f"{count:,}", "small muted", "middle"))
    parts.append(draw.text((left + right) / 2, high - 8, "Training examples seen", "small", "middle"))
    last = [y(ladder.rungs[-1].tuned[model].mean) for model in ladder.models]
    tops = draw.spread(last, 16, 18, high - 44)
    for model, at, top in zip(ladder.models, last, tops, strict=True):
        number, colour = numbers[model], f"s{numbers[model] % draw.COLOURS}"
        points = [(x(place), rung.tuned[model]) for place, rung in zip(places, ladder.rungs, strict=True)]
        scores = ", ".join(words.score(value.mean) for _, value in points)
        tip = escape(f"{named[model]}: {scores}")
        parts.append(f'<g class="point" data-model="{escape(named[model])}"><title>{tip}</title>')
        for px, value in points:
            parts.append(
                draw.line(px, y(max(value.low, 0.0)), px, y(min(value.high, 1.0)), f"whisker {colour}")
            )
        drawn = [(px, y(value.mean)) for px, value in points]
        parts += [draw.path(drawn, f"curve {colour}"), *(draw.marker(number, *point, 4) for point in drawn)]
        parts += [
            draw.line(drawn[-1][0], at, right + 10, top, "leader"),
            draw.marker(number, right + 18, top, 4),
        ]
        parts.append(draw.text(right + 27, top + 4, named[model], "label") + "</g>")
    return Markup(draw.svg(wide, high, f"ROUGE-L of {len(ladder.models)} models over examples seen", parts))
