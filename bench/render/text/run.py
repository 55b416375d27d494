"""One run told to a reader at a terminal: what was done, what it cost, how it learned, what it answers."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp
from typing import Any, get_args

from bench.judge.beside.added import estimates
from bench.judge.beside.arms import arms_of
from bench.judge.board import MAIN, REFERENCES
from bench.judge.compare import to_data
from bench.judge.doubts import row_doubts
from bench.judge.intervals import KINDS
from bench.render import words
from bench.render.doubts import Badge, badge
from bench.render.tables import columns
from bench.render.text.beside import added
from bench.render.text.beside import arms as arms_text
from bench.render.text.leaderboard import LABELS
from bench.store.ledger import Stored
from bench.store.record import BASE, BASE_CHAT, HeldOutLoss, Stage

BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
#: Characters of one answer; the record has the whole.
LONGEST = 600


@dataclass(frozen=True)
class Answer:
    """One test example with what the model wrote before and after training."""

    id: str
    why: str
    question: str
    reference: str
    base: str
    tuned: str
    base_score: float
    tuned_score: float

    @property
    def gain(self) -> float:
        """What training did to this answer's score."""
        return self.tuned_score - self.base_score


def answers(stored: Stored) -> list[Answer]:
    """Every answer, in the order of the test set."""
    scores = stored.scores
    base, tuned = (
        dict(zip(scores["ids"], scores["rows"][row][MAIN]["f"], strict=True)) for row in ("base", "tuned")
    )
    return [
        Answer(
            completion["id"],
            "",
            completion["question"],
            completion["references"][0],
            completion["base"],
            completion["tuned"],
            base[completion["id"]],
            tuned[completion["id"]],
        )
        for completion in stored.completions
    ]


def telling(stored: Stored) -> list[Answer]:
    """The largest gain, the median and the largest loss."""
    ordered = sorted(answers(stored), key=lambda value: -value.gain)
    places = {"largest gain": 0, "median": len(ordered) // 2, "largest loss": len(ordered) - 1}
    return [Answer(**{**asdict(ordered[place]), "why": why}) for why, place in places.items() if ordered]


def text(stored: Stored, chosen: Sequence[Answer], width: int) -> str:
    """The run in words, its curve and the chosen answers."""
    record = stored.record
    parts = [_title(stored, width), _facts(stored, width), "\n".join(_scores(stored))]
    if arms := arms_of([stored]):
        lines = [f"{arms_text.TITLE}: {arms_text.differences(arms)}.", arms_text.price(arms)]
        parts.append("\n".join(textwrap.fill(line, width) for line in lines))
    if found := estimates([stored]):
        names = added.identities(estimate.metric for estimate in found)
        parts.append("\n".join([*added.table(found), *names]))
    for name, field in (("Training", "loss"), ("Validation", "eval_loss")):
        losses = [point[field] for point in stored.curve if point.get(field) is not None]
        if curve := sparkline(losses):
            parts.append(
                f"{name} loss over {record.spent.examples} examples: {losses[0]:.3f} {curve} {losses[-1]:.3f}"
            )
    if record.held_out:
        parts.append(textwrap.fill(_perplexity(record.held_out), width))
    parts += [_answer(run, width) for run in chosen]
    return "\n\n".join(parts)


def as_data(stored: Stored, chosen: Sequence[Answer]) -> dict[str, Any]:
    """Record, curve and the chosen answers as JSON-like data."""
    return {
        "folder": str(stored.folder),
        "record": stored.record.model_dump(mode="json"),
        "curve": stored.curve,
        "answers": [asdict(run) for run in chosen],
        "added": [to_data(estimate) for estimate in estimates([stored])],
    }


def sparkline(values: Sequence[float], most: int = 40) -> str:
    """A curve in one line of text, at most `most` characters."""
    if len(values) < 2:
        return ""
    step = max(1, -(-len(values) // most))
    drawn = [sum(part) / len(part) for part in (values[n : n + step] for n in range(0, len(values), step))]
    low, span = min(drawn), (max(drawn) - min(drawn)) or 1.0
    return "".join(BARS[min(7, int(8 * (value - low) / span))] for value in drawn)


def _perplexity(loss: HeldOutLoss) -> str:
    return (
        f"Perplexity on {loss.passages} held-out passages: {exp(loss.before):,.1f} before, "
        f"{exp(loss.after):,.1f} after ({loss.before:.3f} and {loss.after:.3f} nats a token of this model)"
    )


def _title(stored: Stored, width: int) -> str:
    record = stored.record
    line = record.id[:width]
    return f"{line}\n{'=' * len(line)}\n{textwrap.fill(record.run.contract.in_words(), width)}"


def _facts(stored: Stored, width: int) -> str:
    record = stored.record
    run, spent, where, budget = record.run, record.spent, record.provenance, record.run.contract.budget
    order = {stage: place for place, stage in enumerate(get_args(Stage))}
    took = sorted(spent.seconds.items(), key=lambda value: order.get(value[0], len(order)))
    stages = ", ".join(f"{stage} {words.duration(seconds)}" for stage, seconds in took)
    memory = f"{words.size(spent.peak_memory)} host"
    if spent.peak_gpu_memory is not None:
        memory += f", {words.size(spent.peak_gpu_memory)} GPU"
    pairs = [
        ("Model", f"{run.model.checkpoint}, {run.scale} scale, {run.model.licence}, seed {run.seed}"),
        ("Method", f"{run.method}, {_recipe(stored)}" if run.trained else "none, the checkpoint as it is"),
        ("Backend", f"{record.backend.name}: {record.backend.reason}; {record.backend.precision}"),
        ("Spent", f"{spent.steps} of {budget.steps} steps, {spent.examples} of {budget.examples} examples, "
                  f"effective batch {spent.effective_batch} of {budget.effective_batch}"),
        ("Tokens", f"{spent.supervised_tokens:,} with a loss, {spent.total_tokens:,} in all, "
                   f"{spent.tokens_per_second:,.0f} a second, {spent.flops:.2g} FLOPs"),
        *((("Untuned", f"its answers are those of {record.base_from}"),) if record.base_from else ()),
        ("Parameters", f"{spent.trainable_parameters:,} trained of {spent.parameters:,}"),
        ("Time", f"{words.duration(sum(spent.seconds.values()))}: {stages}"),
        ("Memory", memory),
        ("Data", ", ".join(f"{count} {reason}" for reason, count in record.data.selected.items())),
        ("Versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        ("Where", f"{where.gpu or where.hardware}, Python {where.python}, "
                  f"commit {(where.commit or 'none')[:7]}{' with uncommitted changes' * where.dirty}"),
        ("Finished", f"{where.finished} by {where.command}"),
        ("Folder", str(stored.folder)),
        *(("Note", _note(badge(doubt))) for doubt in row_doubts([record])),
    ]  # fmt: skip
    return "\n".join(_field(name, value, width) for name, value in pairs)


def _note(note: Badge) -> str:
    return f"{note.name}: {note.amount} {note.reason}" if note.amount else f"{note.name}: {note.reason}"


def _recipe(stored: Stored) -> str:
    recipe = stored.record.run.recipe
    parts = [f"learning rate {recipe.learning_rate:g}", recipe.schedule, f"micro-batch {recipe.micro_batch}"]
    if recipe.adapter:
        parts.append(f"rank {recipe.rank}, alpha {recipe.alpha}, dropout {recipe.dropout:g}")
    if recipe.method == "freeze":
        parts.append(f"the last {recipe.last_blocks} blocks and the head trained")
    return ", ".join(parts)


def _scores(stored: Stored) -> list[str]:
    record = stored.record
    names = {"tuned": "tuned", BASE: "untuned", BASE_CHAT: "untuned, in its own chat template"}
    names |= {"retrieved": "untuned, with rows in its context", "both": "tuned, with rows in its context"}
    names |= REFERENCES
    table = [["", *(LABELS[kind] for kind in KINDS)]]
    for row, name in names.items():
        if row in record.scores:
            table.append([name, *(words.score(record.scores[row][kind].mean) for kind in KINDS)])
    if not record.run.trained:
        return columns([row for row in table if row[0] != "tuned"], right=range(1, len(KINDS) + 1))
    over = "tuned over the better untuned" if BASE_CHAT in record.scores else "tuned over untuned"
    table.append([over, *(words.change(record.gain[kind].mean) for kind in KINDS)])
    return columns(table, right=range(1, len(KINDS) + 1)) + _further(record.further)


def _further(further: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The metrics of `--metrics`, by their own names and in their own units."""
    if not further:
        return []
    names = list(further["tuned"])
    table = [["", *names]]
    for row, label in (("tuned", "tuned"), ("base", "untuned")):
        table.append([label, *(f"{further[row][name]:.4g}" for name in names)])
    return ["", *columns(table, right=range(1, len(names) + 1))]


def _answer(answer: Answer, width: int) -> str:
    change = (
        f"{words.score(answer.base_score)} to {words.score(answer.tuned_score)} ({words.change(answer.gain)})"
    )
    head = f"{answer.why.capitalize()}, {change}, {answer.id}" if answer.why else f"{change}, {answer.id}"
    rows = {
        "question": answer.question,
        "reference": answer.reference,
        "untuned": answer.base,
        "tuned": answer.tuned,
    }
    return "\n".join([head, *(_field(name, _safe(value), width) for name, value in rows.items())])


def _field(name: str, value: str, width: int) -> str:
    return textwrap.fill(f"{name:<11} {value}", width, subsequent_indent=" " * 12)


def _safe(value: str) -> str:
    """A model's text for a terminal: no escape sequences, no line breaks, not without end."""
    flat = " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())
    if not flat:
        return "(empty)"
    return flat if len(flat) <= LONGEST else f"{flat[:LONGEST]} ... ({len(flat)} characters)"
