"""One plan under several sets of package versions: the verdict, then a table, in text and as markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.judge.compare import ComparedRow, Comparison
from bench.judge.pairing import Finding
from bench.render import words
from bench.render.tables import WIDTH, clip, columns, listed, md, wrap
from bench.render.text.comparison import MARKS
from bench.render.text.verdict import parts
from bench.spec import Contract, called
from bench.stats import Interval
from bench.store.record import Failure
from bench.store.sides import Side

HEAD = ["model", "ROUGE-L", "95% interval", "change", "95% interval", "verdict"]
NUMBERS = (1, 3)
LONGEST_NAME = 21
#: The worst comes first in the verdict.
ORDER = ("cannot be built", "fails", "Regressed", "Undecided", "Improved", "Safe")
#: Sets of versions that the verdict tells of one by one.
MOST = 4
TOGETHER = "all together"


@dataclass(frozen=True)
class Column:
    """One combination of versions with what its runs left."""

    name: str
    side: Side
    #: Why there is no such environment.
    problem: str = ""
    #: Model -> its score, as a board gives it.
    scores: Mapping[str, Interval] = field(default_factory=dict)
    #: Against the reference column; none for that column itself and where nothing can be compared.
    comparison: Comparison | None = None

    @property
    def reason(self) -> str:
        """Why there is nothing to compare: the environment, or the first run that died."""
        return self.problem or (_why(self.side.failures[0]) if self.side.failures else "no record")


def verdict(table: Sequence[Column]) -> str:
    """What the table says, in one sentence, the worst set of versions first."""
    reference = next((column for column in table if column.side.records), None)
    if reference is None:
        return f"Nothing ran: {listed([f'{column.name} {_state(column)[1]}' for column in table], MOST)}."
    others = [column for column in table if column is not reference]
    if not others:
        return f"Only {reference.name} ran; there is nothing to hold against it."
    states = sorted(((*_state(column), column.name) for column in others), key=_badness)
    told = [f"{name} {said}" for _, said, name in states[:MOST]]
    rest = [word for word, _, _ in states[MOST:]]
    if rest:
        counts = [f"{rest.count(word)} {word.lower()}" for word in dict.fromkeys(rest)]
        told.append(f"{len(rest)} more ({', '.join(counts)})")
    return f"Against {reference.name}: {'; '.join(told)}."


def _badness(state: tuple[str, str, str]) -> int:
    return next(place for place, word in enumerate(ORDER) if state[0].startswith(word))


def _state(column: Column) -> tuple[str, str]:
    """The word for a set of versions, and the same with its reason."""
    if column.problem:
        return "cannot be built", f"cannot be built ({column.problem})"
    if column.comparison is None:
        return "fails", f"fails ({column.reason})"
    word, rest = parts(column.comparison)
    return word, f"{word[0].lower()}{word[1:]} ({rest})"


def terminal(
    table: Sequence[Column],
    models: Sequence[str],
    contract: Contract,
    scale: str,
    seeds: str,
    width: int = WIDTH,
) -> str:
    """The verdict, a table for each set of versions, and how to read it, in at most `width` columns."""
    blocks = ["\n".join(wrap(verdict(table), "    ", width=width))]
    for column in table:
        if column.problem:
            blocks.append(
                "\n".join(wrap(f"{column.name}: cannot be built, {column.problem}", "  ", width=width))
            )
            continue
        rows = [line for model in models for line in _lines(model, column, scale)]
        lines = columns([HEAD, *rows, *_all_together(column)], NUMBERS, "  ")
        if max(map(len, lines)) > width:
            narrow = [[row[0], row[1], *row[3:]] for row in (HEAD, *rows, *_all_together(column))]
            lines = columns(narrow, (1, 2), "  ")
        dead = [
            text for failure in column.side.failures[:1] for text in wrap(_why(failure), "  ", "  ", width)
        ]
        blocks.append("\n".join([column.name, *lines, *dead]))
    notes = [_reading(seeds), *_smallest_in_words(table), contract.in_words()]
    blocks.append("\n".join(line for text in notes for line in wrap(text, width=width)))
    return "\n\n".join(blocks)


def _lines(model: str, column: Column, scale: str) -> Iterator[list[str]]:
    name = clip(called(model, scale), LONGEST_NAME)
    row, failed = _row(column, model), _failed(column, model)
    score = column.scores.get(model)
    if score is not None:
        cells = [name, words.score(score.mean), words.interval(score)]
        if row is None:
            yield [*cells, "", "", "reference" if column.comparison is None else ""]
        elif row.difference is None:
            yield [*cells, "", "", f"{MARKS[row.finding]} {row.finding}"]
        else:
            ends = "identical" if row.identical else words.change_interval(row.difference)
            yield [*cells, words.change(row.difference.mean), ends, f"{MARKS[row.finding]} {row.finding}"]
    if failed:
        which = f"seed {', '.join(str(failure.run.seed) for failure in failed)} " if score is not None else ""
        yield [name if score is None else "", "", "", "", "", f"{MARKS[Finding.NEWLY_FAILING]} {which}fails"]
    if score is None and not failed:
        yield [name, "", "", "", "", "no record"]


def _all_together(column: Column) -> list[list[str]]:
    if not column.comparison or not column.comparison.pooled:
        return []
    pooled = column.comparison.pooled[0]
    shift = pooled.shift.interval
    word = "drift" if pooled.drift else "no drift"
    return [[TOGETHER, "", "", words.change(shift.mean), words.change_interval(shift), word]]


def _reading(seeds: str) -> str:
    count = len(seeds.split(","))
    return (
        f"Tuned ROUGE-L with its 95% interval, {count} seed{'s' * (count > 1)}, and the change from the "
        "first set of versions that ran, with its verdict."
    )


def _smallest_in_words(table: Sequence[Column]) -> list[str]:
    known = [value for column in table if (value := _smallest(column)) is not None]
    if not known:
        return []
    return [f"Smallest drop of one model that this table would have found (power 80%): {max(known):.3f}."]


def markdown(
    table: Sequence[Column], models: Sequence[str], contract: Contract, scale: str, seeds: str
) -> str:
    """The verdict and the table with its notes: a cell is the score with its interval, then the change."""
    notes: list[str] = []
    lines = [
        "# The same plan under other package versions",
        "",
        f"**{md(verdict(table))}**",
        "",
        "| model | " + " | ".join(md(column.name).replace(",", "<br>") for column in table) + " |",
        "|---" * (len(table) + 1) + "|",
    ]
    for model in models:
        cells = [_cell(model, column, notes) for column in table]
        lines.append(f"| {md(called(model, scale))} | " + " | ".join(cells) + " |")
    lines.append(f"| **{TOGETHER}** | " + " | ".join(_together(column) for column in table) + " |")
    lines += ["", *(f"[{place}] {md(note)}  " for place, note in enumerate(notes, 1))] if notes else []
    for text in (_reading(seeds), *_smallest_in_words(table)):
        lines += ["", text]
    return "\n".join([*lines, "", f"> {md(contract.in_words())}"]) + "\n"


def _cell(model: str, column: Column, notes: list[str]) -> str:
    if column.problem:
        return f"cannot be built [{_note(column.problem, notes)}]"
    failed, score = _failed(column, model), column.scores.get(model)
    parts = []
    if score is not None:
        parts.append(f"{words.score(score.mean)} ({words.interval(score)})")
        row = _row(column, model)
        if row is not None:
            parts.append(_change(row))
    if failed:
        which = f"seed {', '.join(str(failure.run.seed) for failure in failed)} " if score is not None else ""
        parts.append(f"{which}fails [{_note(_why(failed[0]), notes)}]")
    return "<br>".join(parts) or "no record"


def _failed(column: Column, model: str) -> list[Failure]:
    return [failure for failure in column.side.failures if failure.run.name == model]


def _change(row: ComparedRow) -> str:
    if row.difference is None:
        return f"{row.finding}: {row.reason}" if row.reason else str(row.finding)
    if row.identical:
        return "the same score for every example"
    return f"{words.change(row.difference.mean)} ({words.change_interval(row.difference)}) {row.finding}"


def _together(column: Column) -> str:
    if not column.comparison or not column.comparison.pooled:
        return ""
    pooled = column.comparison.pooled[0]
    shift = pooled.shift.interval
    word = "drift" if pooled.drift else "no drift"
    return f"{words.change(shift.mean)} ({words.change_interval(shift)}) {word}"


def _row(column: Column, model: str) -> ComparedRow | None:
    rows = column.comparison.rows if column.comparison else ()
    scored = [row for row in rows if row.model == model and row.finding is not Finding.NEWLY_FAILING]
    return scored[0] if scored else None


def _smallest(column: Column) -> float | None:
    rows = column.comparison.rows if column.comparison else ()
    return max((row.smallest for row in rows if row.smallest is not None), default=None)


def _why(failure: Failure) -> str:
    return f"{failure.stage}: {failure.reason}"


def _note(text: str, notes: list[str]) -> int:
    """The number of a note; the same reason is noted once."""
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1
