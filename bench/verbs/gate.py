"""`bench gate --baseline NAME`: exit 0 as good as before, 1 worse, 2 cannot be judged."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench.errors import Incomparable, RequestError
from bench.judge.compare import compare, to_data
from bench.judge.gate import nothing_new, problems, unjudged
from bench.judge.intervals import Intervals
from bench.judge.pairing import since
from bench.judge.retraining import retraining
from bench.render.junit import junit, junit_unjudged
from bench.render.tables import md
from bench.render.text import comparison as compare_text
from bench.render.text.gate import gate_markdown, headline
from bench.store.baselines import load_baseline
from bench.store.names import ReadOnce, everything, select
from bench.verbs import Output
from bench.verbs.compare import judging_options, metrics, write
from bench.verbs.options import width


def configure(parser: argparse.ArgumentParser) -> None:
    """The baseline, what is held against it, and where the answer goes."""
    parser.add_argument(
        "--baseline", required=True, metavar="NAME", help="saved by: bench baseline save NAME"
    )
    parser.add_argument(
        "--current", metavar="SET", help="what is judged (the newest records since the baseline)"
    )
    parser.add_argument(
        "--noise-from",
        metavar="SET",
        help="records of several seeds: how much retraining alone moves a score",
    )
    judging_options(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for the job page")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument(
        "--allow-unchanged", action="store_true", help="pass where nothing was run since the baseline"
    )


def execute(args: argparse.Namespace) -> Output:
    """Judge and write. Raises `Incomparable` (exit 2) where nothing can be judged."""
    ledger = ReadOnce(args.out)
    baseline = load_baseline(args.baseline, ledger)
    side = select(args.current, ledger) if args.current else since(baseline, everything(ledger))
    try:
        names = metrics(args.metric)
        noise = retraining(select(args.noise_from, ledger), names) if args.noise_from else None
        beside = Intervals((*ledger.load()[0], *baseline.records, *side.records))
        result = compare(
            baseline, side, names, args.threshold, drift=args.drift, noise=noise, intervals=beside
        )
        if nothing_new(result) and not args.allow_unchanged:
            unread = f"; left out: {'; '.join(result.messages)}" if result.messages else ""
            raise Incomparable(
                f"nothing was run since baseline '{args.baseline}' was saved; "
                f"run it, or --allow-unchanged{unread}"
            )
    except Incomparable as error:
        _publish(args, f"## Cannot be judged\n\n{md(str(error))}\n")
        if args.junit:
            write(args.junit, junit_unjudged(str(error), args.baseline))
        raise
    reasons, open_questions = problems(result), unjudged(result, args.allow_unchanged)
    answer = [headline(result, args.baseline, bool(reasons), bool(open_questions)), *reasons, *open_questions]
    _publish(args, gate_markdown(answer, result))
    if args.junit:
        write(args.junit, junit(result, args.baseline))
    text = compare_text.terminal(result, [answer[0], *(f"  - {text}" for text in answer[1:])], width())
    data = {**to_data(result), "problems": reasons, "unjudged": open_questions}
    return Output(text, data, 1 if reasons else 2 if open_questions else 0)


def _publish(args: argparse.Namespace, text: str) -> None:
    """Write the summary where it was asked for, and to the page of a GitHub job."""
    if args.markdown:
        write(args.markdown, text)
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(page).open("a", encoding="utf-8") as handle:
                handle.write(text + "\n")
        except OSError as error:
            raise RequestError(
                f"$GITHUB_STEP_SUMMARY ({page}): cannot be written ({error.strerror})"
            ) from None
