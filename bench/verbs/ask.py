"""`bench ask RUN QUESTION`: what a run answers to your own questions, tuned and untuned.

Answers are made as the run's were: its template, its decoding. They are shown as they are written. Without
a question on the command line, every line of standard input is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.verbs import Output, run_options

if TYPE_CHECKING:
    from bench.serve.engine import Engine, Side

#: Characters of a question; more than any prompt has room for.
LONGEST = 100_000


def configure(parser: argparse.ArgumentParser) -> None:
    """The run, the questions, and which side answers."""
    parser.add_argument("run", metavar="RUN", help=run_options.RUN)
    default = "default: each line of standard input"
    parser.add_argument("questions", metavar="QUESTION", nargs="*", help=default)
    parser.add_argument("--context", default="", metavar="TEXT", help="what the questions are about")
    parser.add_argument(
        "--side", choices=["both", "tuned", "base"], default="both", help="whose answer (both)"
    )
    parser.add_argument(
        "--run-on", action="store_true", help="do not end an answer where it begins another question"
    )
    run_options.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """Load the run; its answers are written while they are read. Raises `RequestError`, `RecordError`."""
    questions = list(args.questions) or _from_input()
    if not questions:
        raise RequestError("bench ask: no question; give one, or lines on standard input")
    for question in questions:
        _check(question)
    stored = run_options.stored(args.run, args)
    run_options.prepare(stored)
    from bench.serve.engine import SIDES, Engine  # here: it loads torch
    from bench.serve.stops import stops_of

    engine = Engine.load(stored, args.base)
    sides = SIDES[::-1] if args.side == "both" else (args.side,)
    stops = () if args.run_on else stops_of(engine.run.template)
    answers: list[dict[str, Any]] = []
    pieces = _pieces(engine, questions, args.context, sides, stops, answers)
    if args.json:
        for _ in pieces:
            pass
    return Output("", answers, pieces=pieces)


def _pieces(
    engine: Engine,
    questions: Sequence[str],
    context: str,
    sides: Sequence[Side],
    stops: Sequence[str],
    answers: list[dict[str, Any]],
) -> Iterator[str]:
    """What is shown, piece by piece; every finished question is added to `answers`."""
    yield f"{engine.id}\n"
    for note in engine.place.notes:
        yield f"note: {note}\n"
    for question in questions:
        answer: dict[str, Any] = {"run": engine.id, "question": question}
        yield f"\n{question}\n" if len(questions) > 1 else ""
        for side in sides:
            yield f"\n{side}:  " if side == "base" else f"\n{side}: "
            answer[side] = ""
            for piece in engine.stream(question, context, side, stops):
                answer[side] += piece
                yield piece
            yield "\n" if answer[side] else "(nothing)\n"
        answers.append(answer)


def _from_input() -> list[str]:
    if sys.stdin is None or sys.stdin.isatty():
        return []
    try:
        return [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError:
        raise RequestError("bench ask: standard input is not UTF-8 text") from None


def _check(question: str) -> None:
    if not question.strip():
        raise RequestError("bench ask: the question is empty")
    if len(question) > LONGEST:
        raise RequestError(f"bench ask: a question of {len(question):,} characters; at most {LONGEST:,}")
