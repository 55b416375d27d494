"""What differs between paired runs beside their scores: environment, recipe, cost, and single answers.

Cost is compared only between like hardware: a faster machine is no faster program. It is shown as a ratio
and never judged, since one run's wall clock has no known noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bench.errors import RecordError
from bench.judge.pairing import Match, shown
from bench.store.ledger import Stored
from bench.store.record import Record
from bench.store.scores import Floats

ABSENT = "absent"


@dataclass(frozen=True)
class Change:
    """A package, a fact of the machine or a key of the recipe with its values; `rows` names the models."""

    what: str
    a: str
    b: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class CostChange:
    """One measure of cost, averaged over seeds, in its own unit."""

    name: str
    unit: str
    a: float
    b: float

    @property
    def ratio(self) -> float | None:
        """b over a; none where a is zero."""
        return self.b / self.a if self.a else None


@dataclass(frozen=True)
class Moved:
    """An example whose score moved, averaged over seeds; the texts are those of the first seed."""

    id: str
    a: float
    b: float
    question: str = ""
    reference: str = ""
    category: str = ""
    text_a: str = ""
    text_b: str = ""


def environment(matches: Iterable[Match]) -> tuple[Change, ...]:
    """Every difference of versions, machine and recipe, package by package, over paired runs."""
    models_of: dict[tuple[str, str, str], set[str]] = {}
    for match in matches:
        for first, second in zip(match.a, match.b, strict=True):
            if first.record == second.record:
                continue
            for what, values in _differences(first.record, second.record):
                models_of.setdefault((what, *values), set()).add(match.model)
    return tuple(
        Change(what.partition(" ")[2], a, b, tuple(sorted(models)))
        for (what, a, b), models in sorted(models_of.items())
    )


def differences(a: Record, b: Record) -> dict[str, tuple[str, str]]:
    """Every fact in which two runs differ: packages first, then machine, recipe and tree."""
    return {what.partition(" ")[2]: values for what, values in sorted(_differences(a, b))}


def _differences(a: Record, b: Record) -> list[tuple[str, tuple[str, str]]]:
    left, right = _facts(a), _facts(b)
    pairs = {what: (left.get(what, ABSENT), right.get(what, ABSENT)) for what in left.keys() | right.keys()}
    return [(what, values) for what, values in pairs.items() if values[0] != values[1]]


def _facts(record: Record) -> dict[str, str]:
    """Kind-and-name -> value; the digit in front sorts packages before machine, recipe and tree."""
    where, run = record.provenance, record.run
    facts = {f"1 {name}": version for name, version in {**where.versions, **run.versions}.items()}
    machine = {
        "python": where.python,
        "platform": where.platform,
        "hardware": where.hardware,
        "GPU": where.gpu or "none",
        "threads": where.threads,
        "device": run.device,
    }
    trained = {
        "backend": record.backend.name,
        "precision": record.backend.precision,
        "quantisation": record.backend.quantisation or "none",
        "template": run.template,
        "checkpoint": run.checkpoint.revision,
        **{f"recipe.{key}": value for key, value in run.recipe.model_dump(mode="json").items()},
    }
    tree = {"commit": (where.commit or "none")[:8] + ("+dirty" if where.dirty else "")}
    if run.harness:
        tree["code of training, generation and scoring"] = run.harness[:8]
    facts |= {f"2 {name}": shown(value) for name, value in machine.items()}
    facts |= {f"3 {name}": shown(value) for name, value in trained.items()}
    return facts | {f"4 {name}": value for name, value in tree.items()}


def cost(match: Match) -> tuple[tuple[CostChange, ...], str]:
    """Throughput, memory and time of training; or none of it and the reason why."""
    for first, second in zip(match.a, match.b, strict=True):
        x, y = first.record.provenance, second.record.provenance
        for name, left, right in (
            ("GPU", x.gpu or "none", y.gpu or "none"),
            ("hardware", x.hardware, y.hardware),
            ("threads", x.threads, y.threads),
        ):
            if left != right:
                return (), f"other hardware ({name}: {left} | {right})"
    on_gpu = all(stored.record.spent.peak_gpu_memory is not None for stored in (*match.a, *match.b))
    sides = [[_spent(stored.record, on_gpu) for stored in side] for side in (match.a, match.b)]
    means = [[fmean(column) for column in zip(*side, strict=True)] for side in sides]
    names = (
        ("throughput", "tokens/s"),
        ("peak GPU memory" if on_gpu else "peak memory", "bytes"),
        ("training", "s"),
    )
    costs = (CostChange(*name, a, b) for name, a, b in zip(names, means[0], means[1], strict=True))
    return tuple(costs), ""


def _spent(record: Record, on_gpu: bool) -> tuple[float, float, float]:
    spent = record.spent
    memory = spent.peak_gpu_memory if on_gpu and spent.peak_gpu_memory is not None else spent.peak_memory
    return spent.tokens_per_second, float(memory), spent.seconds.get("train", 0.0)


def moved(ids: Sequence[str], a: Floats, b: Floats, most: int) -> tuple[Moved, ...]:
    """The examples that moved most, largest first; `a` and `b` have shape (seeds, n)."""
    first, second = a.mean(axis=0), b.mean(axis=0)
    size = abs(second - first)
    order = sorted(range(len(ids)), key=lambda place: (-size[place], ids[place]))[:most]
    return tuple(Moved(ids[p], float(first[p]), float(second[p])) for p in order if size[p] > 0)


def with_texts(moves: Sequence[Moved], a: Stored, b: Stored, row: str = "tuned") -> tuple[Moved, ...]:
    """The same examples with question, reference and what both sides wrote.

    A record whose completions cannot be trusted leaves the texts empty; its scores were checked apart.
    """
    try:
        left, right = ({row["id"]: row for row in stored.completions} for stored in (a, b))
    except RecordError:
        return tuple(moves)
    return tuple(
        replace(
            move,
            question=left[move.id]["question"],
            reference=(left[move.id]["references"] or [""])[0],
            category=left[move.id]["category"] or "",
            text_a=left[move.id][row],
            text_b=right[move.id][row],
        )
        if move.id in left and move.id in right
        else move
        for move in moves
    )
