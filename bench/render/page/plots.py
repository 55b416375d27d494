"""The plots of the leaderboard page, each from one group of the board.

A model keeps its colour, shape and label in every plot of its group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markupsafe import Markup, escape

from bench.judge.board import MAIN, BoardRow, Group
from bench.judge.pooling import RowCost
from bench.render import facts, words
from bench.render.page import draw
from bench.stats import Interval

#: More rows than this make a plot a cloud; the best are drawn.
MOST = 24
#: Seeds of a row whose curves and example scores are read.
SEEDS = 8
#: Points of a long curve that one point of its drawn mean stands for.
SMOOTHED = 5
Series = Mapping[str, int]


@dataclass(frozen=True)
class CostAxis:
    """One way in which a model costs something."""

    name: str
    value: Callable[[RowCost], float]
    show: Callable[[float], str]


COSTS = (
    CostAxis("Time of one run", lambda cost: cost.seconds, words.duration),
    CostAxis("Peak memory", lambda cost: float(cost.memory), words.size),
    CostAxis("Trainable parameters", lambda cost: float(cost.trainable_parameters), words.count),
)


def series(group: Group) -> dict[str, int]:
    """Model -> number of its colour and shape, by name, so that a rank moves no colour."""
    return {model: number for number, model in enumerate(sorted(facts.name(row) for row in group.rows))}


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, score) that no other point beats on both; cheapest first."""
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    best: list[int] = []
    for place in order:
        if not best or points[place][1] > points[best[-1]][1]:
            best.append(place)
    return best


def cost(group: Group, by: CostAxis, numbers: Series) -> Markup:
    """Score against one cost, with the Pareto front."""
    rows = group.rows[:MOST]
    points = [(by.value(row.cost), row.tuned[MAIN].mean) for row in rows]
    wide, high = 430.0, 320.0
    values = [point for point, _ in points]
    x = draw.spanning(values, 52, wide - 14, log=0 < 4 * min(values) < max(values))
    ends = [end for row in rows for end in _ends(row.tuned[MAIN])]
    y = draw.spanning(ends, high - 44, 14)
    parts = [_left_axis(y, 52, wide - 14), *_bottom_axis(x, high - 44, by.show, by.name)]
    labels = draw.Labels(wide - 4)
    for reference in group.references:
        value = reference.scores[MAIN].mean
        if reference.name == "copy" and y.low < value < y.high:
            at = y(value)
            parts += [draw.line(52, at, wide - 14, at, "reference")]
            parts += [draw.text(56, at - 4, "copying the question", "small muted")]
            labels.taken.append((56, at - 14, 170, at))
        elif reference.name == "copy":
            way = "above" if value > y.high else "below"
            text = f"copying the question, {words.score(value)}, lies {way}"
            parts.append(draw.text(56, 12 if value > y.high else high - 50, text, "small muted"))
            labels.taken.append((56, 0, 240, 14))
    best = front(points)
    steps = [(x(points[best[0]][0]), y(points[best[0]][1]))]
    for place in best[1:]:
        here = (x(points[place][0]), y(points[place][1]))
        steps += [(here[0], steps[-1][1]), here]
    steps.append((wide - 14, steps[-1][1]))
    parts.append(draw.path(steps, "front"))
    for px, py in points:
        labels.block(x(px), y(py), 6)
    for place, row in enumerate(rows):
        px, py = x(points[place][0]), y(points[place][1])
        low, top = _ends(row.tuned[MAIN])
        score = words.score(points[place][1])
        tip = f"{facts.name(row)}: ROUGE-L {score}, {by.name.lower()} {by.show(points[place][0])}"
        parts.append(
            f'<g class="point" data-model="{escape(facts.name(row))}"><title>{escape(tip)}</title>'
            + draw.line(px, y(low), px, y(top), f"whisker s{numbers[facts.name(row)] % draw.COLOURS}")
            + draw.marker(numbers[facts.name(row)], px, py, 5.5, hollow=place not in best)
            + labels.place(px, py, facts.name(row))
            + "</g>"
        )
    names = ", ".join(rows[place].model for place in best)
    return Markup(draw.svg(wide, high, f"ROUGE-L against {by.name.lower()}. Pareto front: {names}", parts))


def curves(group: Group, numbers: Series, field: str = "loss", name: str = "Training loss") -> Markup | None:
    """A logged value over examples seen: seeds thin, their mean thick; none where nothing was logged."""
    wide, high, right = 500.0, 370.0, 362.0
    lines = {
        facts.name(row): [
            _logged(stored.curve, field) for stored in row.stored[:SEEDS] if _logged(stored.curve, field)
        ]
        for row in group.rows[:MOST]
    }
    lines = {model: seeds for model, seeds in lines.items() if seeds}
    if not lines:
        return None
    every = [point for seeds in lines.values() for line in seeds for point in line]
    x = draw.Axis(0.0, max(seen for seen, _ in every), 52, right)
    y = draw.spanning((value for _, value in every), high - 44, 14)
    parts = [_left_axis(y, 52, right, plain=True)]
    parts += _bottom_axis(x, high - 44, lambda seen: f"{seen:.0f}", "Training examples seen")
    parts.append(draw.text(52, 10, name, "small muted"))
    means = {model: _smooth(_mean(seeds)) for model, seeds in lines.items()}
    wanted = [y(mean[-1][1]) for mean in means.values()]
    tops = draw.spread(wanted, 16, 14, high - 40)
    for (model, mean), at, top in zip(means.items(), wanted, tops, strict=True):
        colour = f"s{numbers[model] % draw.COLOURS}"
        parts.append(f'<g class="point" data-model="{escape(model)}"><title>{escape(model)}</title>')
        if len(lines[model]) > 1:
            parts += [
                draw.path([(x(seen), y(value)) for seen, value in line], f"curve thin {colour}")
                for line in lines[model]
            ]
        drawn = [(x(seen), y(value)) for seen, value in mean]
        parts.append(draw.path(drawn, f"curve {colour}"))
        parts += [draw.marker(numbers[model], *point, 3) for point in drawn[:: max(1, len(drawn) // 4)]]
        parts.append(draw.line(drawn[-1][0], at, right + 10, top, "leader"))
        parts.append(draw.marker(numbers[model], right + 18, top, 4))
        parts.append(draw.text(right + 27, top + 4, model, "label") + "</g>")
    return Markup(draw.svg(wide, high, f"{name} of {len(lines)} models over training examples seen", parts))


def seeds(group: Group, numbers: Series) -> Markup | None:
    """The score of every seed beside the row's mean: how much training luck moves; none for one seed."""
    rows = [row for row in group.rows[:MOST] if len(row.stored) > 1]
    if not rows:
        return None
    wide, left, step = 500.0, 128.0, 34.0
    high = 60 + step * len(rows)
    means = {
        facts.name(row): [stored.record.scores["tuned"][MAIN].mean for stored in row.stored] for row in rows
    }
    x = draw.spanning([value for values in means.values() for value in values], left, wide - 20)
    parts = [draw.text(left, 10, "ROUGE-L of each seed", "small muted")]
    parts += [draw.line(x(tick), 18, x(tick), high - 42, "grid") for tick in x.ticks()]
    for place, row in enumerate(rows):
        y = 32 + step * place
        values = means[facts.name(row)]
        tip = ", ".join(
            f"seed {seed}: {words.score(value)}" for seed, value in zip(row.seeds, values, strict=True)
        )
        colour = f"s{numbers[facts.name(row)] % draw.COLOURS}"
        parts.append(
            f'<g class="point" data-model="{escape(facts.name(row))}">'
            f"<title>{escape(facts.name(row))}, {tip}</title>"
        )
        parts.append(draw.text(left - 12, y + 4, facts.name(row), "label", "end"))
        parts.append(draw.line(x(min(values)), y, x(max(values)), y, f"whisker {colour}"))
        parts += [draw.marker(numbers[facts.name(row)], x(value), y, 4.5) for value in values]
        mean = x(row.tuned[MAIN].mean)
        parts.append(draw.line(mean, y - 9, mean, y + 9, "meanline") + "</g>")
    parts += _bottom_axis(x, high - 42, words.score, "the upright line is the mean over seeds")
    return Markup(draw.svg(wide, high, "ROUGE-L of every seed of every model", parts))


def lengths(row: BoardRow, number: int, limit: float) -> Markup:
    """Words of each answer against words of its reference; the diagonal is equal length."""
    side = 190.0
    x, y = draw.Axis(0, limit, 30, side - 6), draw.Axis(0, limit, side - 30, 6)
    parts = [draw.line(x(0), y(0), x(limit), y(limit), "reference")]
    parts += [draw.line(30, side - 30, side - 6, side - 30, "axis"), draw.line(30, side - 30, 30, 6, "axis")]
    for tick in x.ticks(3):
        parts.append(draw.text(x(tick), side - 17, f"{tick:.0f}", "small muted", "middle"))
        parts.append(draw.text(25, y(tick) + 4, f"{tick:.0f}", "small muted", "end"))
    parts.append(draw.text(side - 6, side - 3, "words of the reference", "small muted", "end"))
    for kind, role in (("base", "dots untuned"), ("tuned", f"dots s{number % draw.COLOURS}")):
        steps = "".join(
            f"M{draw.num(x(min(expected, limit)))} {draw.num(y(min(written, limit)))}h0"
            for expected, written in _word_counts(row, kind)
        )
        parts.append(f'<path class="{role}" d="{steps}"/>')
    own, reference = row.first.written["tuned"].mean_words, row.first.data.reference_words
    title = f"{facts.name(row)}: answers of {own:.0f} words on average, references {reference:.0f}"
    return Markup(draw.svg(side, side, title, parts))


def longest(group: Group) -> float:
    """The number of words that the length plots reach to: nearly the longest reference or answer."""
    lengths = sorted(
        max(pair)
        for row in group.rows[:MOST]
        for kind in ("base", "tuned")
        for pair in _word_counts(row, kind)
    )
    return float(max(10, lengths[int(0.98 * (len(lengths) - 1))])) if lengths else 10.0


def badge(number: int) -> Markup:
    """The colour and shape that stand for a model, for its row in the table."""
    mark = draw.marker(number, 8, 8, 4.6)
    return Markup(
        f'<svg class="own" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">{mark}</svg>'
    )


def bar(row: BoardRow, axis: draw.Axis, copied: float | None) -> Markup:
    """The score in a table cell: interval, mean, the untuned base, and what copying the question gets."""
    tuned, base = row.tuned[MAIN], row.gained_over[MAIN]
    low, high = _ends(tuned)
    parts = [draw.line(axis.start, 10, axis.end, 10, "track")]
    if copied is not None:
        parts.append(draw.line(axis(copied), 1, axis(copied), 19, "reference"))
    parts.append(draw.line(axis(base.mean), 10, axis(tuned.mean), 10, "gainline"))
    parts.append(draw.line(axis(low), 10, axis(high), 10, "interval"))
    parts.append(f'<circle class="basedot" cx="{draw.num(axis(base.mean))}" cy="10" r="3.5"/>')
    parts.append(f'<circle class="meandot" cx="{draw.num(axis(tuned.mean))}" cy="10" r="4.5"/>')
    box = 'viewBox="0 0 150 20" width="150" height="20"'
    return Markup(f'<svg class="bar" {box} aria-hidden="true">{"".join(parts)}</svg>')


def bar_axis(group: Group) -> draw.Axis:
    """One axis for the bars of all rows."""
    ends = [end for row in group.rows for end in (*_ends(row.tuned[MAIN]), row.gained_over[MAIN].mean)]
    ends += [reference.scores[MAIN].mean for reference in group.references]
    spanned = draw.spanning(ends, 6, 144)
    return draw.Axis(max(0.0, spanned.low), spanned.high, 6, 144)


def _ends(value: Interval) -> tuple[float, float]:
    """The interval's ends as far as a score can go; an unknown end is drawn as the limit."""
    return max(value.low, 0.0), min(value.high, 1.0)


def _left_axis(y: draw.Axis, left: float, right: float, plain: bool = False) -> str:
    show = "g" if plain else ".2f"
    return "".join(
        draw.line(left, y(tick), right, y(tick), "grid")
        + draw.text(left - 6, y(tick) + 4, format(tick, show), "small muted", "end")
        for tick in y.ticks()
    )


def _bottom_axis(x: draw.Axis, at: float, show: Callable[[float], str], name: str) -> list[str]:
    parts = [draw.line(min(x.start, x.end), at, max(x.start, x.end), at, "axis")]
    for tick in x.ticks(5):
        parts.append(draw.line(x(tick), at, x(tick), at + 4, "axis"))
        parts.append(draw.text(x(tick), at + 17, show(tick), "small muted", "middle"))
    parts.append(draw.text((x.start + x.end) / 2, at + 36, name, "small", "middle"))
    return parts


def _logged(curve: Sequence[Mapping[str, Any]], field: str) -> list[tuple[float, float]]:
    return [
        (float(point["examples"]), float(point[field])) for point in curve if point.get(field) is not None
    ]


def _mean(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean over seeds, where all of them logged."""
    by_step: dict[float, list[float]] = defaultdict(list)
    for line in lines:
        for seen, value in line:
            by_step[seen].append(value)
    most = max(map(len, by_step.values()))
    return sorted((seen, fmean(values)) for seen, values in by_step.items() if len(values) == most)


def _smooth(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A running mean over `SMOOTHED` points where there are many: one batch's loss is mostly its luck."""
    if len(line) < 6 * SMOOTHED:
        return list(line)
    half = SMOOTHED // 2
    return [
        (seen, fmean(value for _, value in line[max(0, place - half) : place + half + 1]))
        for place, (seen, _) in enumerate(line)
    ]


def _word_counts(row: BoardRow, kind: str) -> list[tuple[int, int]]:
    return [
        (len(str(completion["references"][0]).split()), len(str(completion[kind]).split()))
        for completion in row.stored[0].completions
    ]
