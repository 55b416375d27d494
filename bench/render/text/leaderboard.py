"""The board as markdown for GitHub and as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

from bench.judge.board import MAIN, Board, BoardRow, Group, board
from bench.judge.intervals import KINDS
from bench.render import facts, words
from bench.render.doubts import badge
from bench.render.tables import clip, code, columns, md
from bench.render.text import costs
from bench.render.text import ladder as ladder_text
from bench.render.text.beside import added, arms
from bench.stats import Interval
from bench.store.ledger import Stored

LABELS = {"rougeL": "ROUGE-L", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeLsum": "ROUGE-Lsum"}
NOTHING = "no finished run yet; start with: bench run --models all"
#: A README shows the board between these.
START, END = "<!-- board:start -->", "<!-- board:end -->"
#: Narrower terminals get fewer columns.
WIDE = 100
#: In a narrow terminal, and in a wide one.
LONGEST_NAME = (20, 26)
LONGEST_BACKEND = 22
DASH = "\N{EM DASH}"


def markdown(shown: Board, chart: str | None = None) -> str:
    """The whole board as one document; `chart` is the image beside it, if there is one."""
    parts = ["# Leaderboard", ""]
    if not shown.groups and not shown.costs:
        parts += [NOTHING, ""]
    for place, group in enumerate(shown.groups):
        parts += [*markdown_group(group, chart if place == 0 else None), ""]
    parts += [line for ladder in shown.ladders for line in ladder_text.markdown(ladder)]
    return "\n".join([*parts, *costs.markdown(shown.costs)]).rstrip() + "\n"


def markdown_group(group: Group, chart: str | None = None) -> list[str]:
    """One group's heading, verdict, table, chart, contract and notes, as lines."""
    lines = [f"## {md(facts.title(group))}", ""]
    if group.apart:
        lines += [f"Ranked apart from the first table: {md(group.apart)}.", ""]
    if group.rows:
        lines += [f"**{md(facts.headline(group))}**", "", *_markdown_table(group), ""]
        lines += [md(facts.reading(group)), ""]
    if chart:
        lines += [_image(chart), ""]
    lines += [f"> {md(group.contract.in_words())}", ""]
    lines += [
        f"- **{md(note.badge)}** ({md(', '.join(note.models))}): {md(note.reason)}"
        for note in facts.notes(group)
    ]
    lines += [*arms.markdown(group), *added.markdown(group)]
    if group.failures:
        lines += ["", "### Failed", "", *(f"- {md(line)}" for line in facts.failed(group))]
    if group.missing:
        lines += ["", "### Left out", "", *(f"- {md(line)}" for line in facts.missing(group))]
    if group.rows:
        lines += ["", f"Run with {code(facts.command(group))}; {md(facts.places(group))}.", ""]
        lines += [f"Versions: {md(facts.versions(group))}."]
    if group.left_out:
        lines += ["", facts.left_out(group)]
    return lines


def in_readme(text: str, stored: Sequence[Stored]) -> str:
    """A README with the board of these records between its markers. ValueError where it has no markers."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"no {START} and {END}")
    return f"{before}{start}\n{readme_block(stored)}\n{end}{after}"


def readme_block(stored: Sequence[Stored], chart: str = "reports/twins/leaderboard.svg") -> str:
    """What a README shows of these records between its `board:start` and `board:end` markers."""
    shown = board(stored)
    if not shown.groups:
        return NOTHING
    group = shown.groups[0]
    head = ["Rank", "Model", LABELS[MAIN], "95% interval", "Over base", "95% interval", "Method", "Trainable"]
    lines = [_pipe(head), _pipe(["---:", "---", "---:", "---", "---:", "---", "---", "---:"])]
    for row in group.rows:
        quality = [f"**{words.score(row.tuned[MAIN].mean)}**", words.interval(row.tuned[MAIN])]
        quality += _gain_cells(row)
        lines.append(
            _pipe([words.rank(row.rank), md(facts.sized_name(row)), *quality, *_cost_cells(row)[:2]])
        )
    for reference in group.references:
        cells = [
            f"*{words.score(reference.scores[MAIN].mean)}*",
            f"*{words.interval(reference.scores[MAIN])}*",
        ]
        lines.append(_pipe([DASH, f"*{reference.words}*", *cells, "", "", "", ""]))
    verdict = f"**{md(facts.headline(group))}**"
    return "\n".join([verdict, "", *lines, "", _image(chart), "", md(group.contract.in_words())])


def _image(chart: str) -> str:
    return f"![ROUGE-L of every model, base and tuned, with 95% intervals]({chart})"


def _markdown_table(group: Group) -> list[str]:
    others = [kind for kind in KINDS if kind != MAIN]
    head = ["Rank", "Model", LABELS[MAIN], "95% interval", "Over base", "95% interval"]
    head += [LABELS[kind] for kind in others]
    head += ["Method", "Trainable", "Tokens/s", "Peak memory", "Time", "Backend", "Notes"]
    right = {"Rank", *LABELS.values(), "Over base", "Trainable", "Tokens/s", "Peak memory", "Time"}
    lines = [_pipe(head), _pipe("---:" if name in right else "---" for name in head)]
    for row in group.rows:
        quality = [f"**{words.score(row.tuned[MAIN].mean)}**", words.interval(row.tuned[MAIN])]
        quality += _gain_cells(row)
        quality += [words.score(row.tuned[kind].mean) for kind in others]
        cost = [*(md(cell) for cell in _cost_cells(row)), md(row.first.backend.name)]
        notes = md(", ".join(badge(doubt).name for doubt in row.doubts))
        lines.append(_pipe([words.rank(row.rank), md(facts.sized_name(row)), *quality, *cost, notes]))
    for reference in group.references:
        cells = [words.score(reference.scores[MAIN].mean), words.interval(reference.scores[MAIN]), "", ""]
        cells += [words.score(reference.scores[kind].mean) for kind in others]
        cells = [f"*{cell}*" if cell else "" for cell in cells]
        lines.append(_pipe([DASH, f"*{reference.words}*", *cells, "*no training*", *[""] * 6]))
    return lines


def _gain_cells(row: BoardRow) -> list[str]:
    """What tuning gained and its interval; a dash where nothing was trained."""
    if not row.first.run.trained:
        return [DASH, ""]
    return [words.change(row.gain[MAIN].mean), words.change_interval(row.gain[MAIN])]


def _cost_cells(row: BoardRow) -> list[str]:
    cost = row.cost
    return [
        row.first.run.method,
        words.count(cost.trainable_parameters),
        f"{cost.tokens_per_second:,.0f}" if row.first.run.trained else DASH,
        words.size(cost.memory),
        words.duration(cost.seconds),
    ]


def terminal(shown: Board, width: int = 100) -> str:
    """The whole board as text of at most `width` columns (80 at least)."""
    if not shown.groups and not shown.costs:
        return NOTHING
    tables = ["\n".join(_terminal_group(group, max(width, 80))) for group in shown.groups]
    tables += map(ladder_text.terminal, shown.ladders)
    return "\n\n".join([*tables, *([costs.terminal(shown.costs)] if shown.costs else [])])


def _terminal_group(group: Group, width: int) -> list[str]:
    lines = [facts.title(group)[:width]]
    lines.append("=" * len(lines[0]))
    if group.apart:
        lines += _wrap(f"Ranked apart from the first table: {group.apart}.", width)
    notes = facts.notes(group)
    if group.rows:
        lines += [*_wrap(facts.headline(group), width), ""]
        lines += [_quality_table(group, width), *_further(group, width)]
        lines += ["", _cost_table(group, notes, width), ""]
        lines += _wrap(facts.reading(group), width)
    lines += _wrap(group.contract.in_words(), width)
    for letter, note in zip(_letters(len(notes)), notes, strict=True):
        text = f"{letter}  {note.badge} ({', '.join(note.models)}): {note.reason}"
        lines += _wrap(text, width, indent="   ")
    if group.failures:
        lines += ["", *(line for text in facts.failed(group) for line in _wrap(text, width, indent="   "))]
    if group.missing:
        lines += [
            "",
            "Left out:",
            *(line for text in facts.missing(group) for line in _wrap(text, width, "   ")),
        ]
    if group.left_out:
        lines += _wrap(facts.left_out(group), width)
    return lines


def _further(group: Group, width: int) -> list[str]:
    """Tables beside the board's own, each with its notes."""
    lines: list[str] = []
    for table, notes in (
        (arms.terminal(group), arms.notes(group)),
        (added.terminal(group, width), added.beneath(group)),
    ):
        lines += [*table, *(line for note in notes for line in _wrap(note, width, indent="   "))]
    return lines


def _quality_table(group: Group, width: int) -> str:
    others = [kind for kind in KINDS if kind != MAIN] if width >= WIDE else []
    head = ["Rank", "Model", f"{LABELS[MAIN]}  [95%]", "Over base  [95%]"]
    head += [LABELS[kind].replace("OUGE", "") for kind in others]
    rows = [
        [
            words.rank(row.rank),
            clip(facts.name(row), LONGEST_NAME[width >= WIDE]),
            _estimate(row.tuned[MAIN], words.score),
            _estimate(row.gain[MAIN], words.change) if row.first.run.trained else DASH,
            *(words.score(row.tuned[kind].mean) for kind in others),
        ]
        for row in group.rows
    ]
    rows.append([""] * len(head))
    rows += [
        [
            DASH,
            {"copy": "question copied", "nearest": "nearest answer"}[reference.name],
            _estimate(reference.scores[MAIN], words.score),
            "no training",
            *(words.score(reference.scores[kind].mean) for kind in others),
        ]
        for reference in group.references
    ]
    return "\n".join(columns([head, *rows], right=[0]))


def _cost_table(group: Group, notes: Sequence[facts.Note], width: int) -> str:
    head = ["Model", "Size", "Method", "Trainable", "Tokens/s", "Memory", "Time", "Backend", "Notes"]
    marks: Mapping[tuple[str, str], str] = {
        (note.badge, note.reason): letter for letter, note in zip(_letters(len(notes)), notes, strict=True)
    }
    rows = [
        [
            clip(facts.name(row), LONGEST_NAME[width >= WIDE]),
            words.count(row.cost.parameters),
            *_cost_cells(row),
            clip(row.first.backend.name, LONGEST_BACKEND),
            " ".join(marks[shown.name, shown.reason] for shown in map(badge, row.doubts)),
        ]
        for row in group.rows
    ]
    table = [head, *rows]
    if width < WIDE:  # the backend is what a narrow terminal can best do without
        table = [row[:7] + row[8:] for row in table]
    return "\n".join(columns(table, right=[1, 3, 4, 5, 6]))


def _estimate(value: Interval, show: Callable[[float], str]) -> str:
    return f"{show(value.mean)} [{show(value.low)}, {show(value.high)}]"


def _letters(count: int) -> list[str]:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return [alphabet[n] if n < 26 else f"{alphabet[n // 26 - 1]}{alphabet[n % 26]}" for n in range(count)]


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent) or [""]


def _pipe(cells: Iterable[str]) -> str:
    """A line of a markdown table; what a user wrote is escaped already, marks of emphasis are not."""
    return "| " + " | ".join(cells) + " |"
