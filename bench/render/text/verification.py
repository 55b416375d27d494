"""What verifying showed: the verdict first, then files, scores and answers, a line each."""

from __future__ import annotations

from bench.judge.verification import Reanswered, Verification
from bench.render import words
from bench.render.text.leaderboard import LABELS

#: Answers that are shown where they differ.
SHOWN = 3
#: Characters of one answer.
LONGEST = 200


def terminal(verification: Verification) -> str:
    """The verification for a reader at a terminal."""
    lines = [f"{verification.subject}: {verdict(verification)}", ""]
    lines += [f"  fault    {fault}" for fault in verification.faults]
    for row in verification.rescored:
        what = "come out the same" if not row.differing else f"of which {row.differing:,} come out otherwise"
        lines.append(f"  scores   {row.row}: {row.scores:,} scores {what}")
    lines += [f"  answers  {row.side}: {answers(row)}" for row in verification.reanswered]
    if stop := stop_rule(verification):
        lines.append(f"  stop     {stop}")
    lines += [f"  note     {note}" for note in verification.notes]
    return "\n".join([*lines, *_differing(verification)])


def verdict(verification: Verification) -> str:
    """One sentence without its subject: whether the row reproduces, and how well."""
    if not verification.reproduces:
        return "does not reproduce"
    rows = verification.reanswered
    if all(row.equal == row.answers for row in rows):
        return "reproduces word for word"
    return "reproduces up to rounding: some answers are worded otherwise, the score is not clearly another"


def verified(verification: Verification) -> str:
    """The sentence of a model card: what of the record these weights reproduce."""
    row = next(iter(verification.reanswered), None)
    how = answers(row) if row else ""
    faults = "; ".join(verification.faults)
    if verification.reproduces:
        return f"**verified: {how}** (loaded afresh, the test questions answered again)"
    return f"**NOT verified: {'; '.join(filter(None, (faults, how)))}**"


def answers(row: Reanswered) -> str:
    """How many answers are equal and, where not all are, what that does to the score."""
    text = f"{row.equal} of {row.answers} answers equal"
    if row.difference is None:
        return text
    if row.agreement is not None:
        text += f", {row.agreement:.1%} of their tokens"
    label = LABELS.get(row.metric, row.metric)
    return (
        f"{text}; {label} {words.score(row.recorded)} recorded, {words.score(row.now)} now, "
        f"{words.change(row.difference.mean)} ({words.change_interval(row.difference)}): {row.finding}"
    )


def stop_rule(verification: Verification) -> str:
    """What the template's stop rule would change; empty where no answer ran on."""
    stop = verification.stop
    if stop is None or not stop.cut:
        return ""
    return (
        f"{stop.cut} of {stop.answers} answers run on into another question; the stop rule of template "
        f"'{stop.template}' would cut them: {words.score(stop.recorded)} would be "
        f"{words.score(stop.with_rule)} (no score is changed by it)"
    )


def _differing(verification: Verification) -> list[str]:
    lines = []
    for row in verification.reanswered:
        for answer in row.differing[:SHOWN]:
            lines += [
                "",
                f"{row.side}, {answer.id}: {_short(answer.question)}",
                f"  recorded: {_short(answer.recorded)}",
                f"  now:      {_short(answer.now)}",
            ]
    return lines


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
