"""`bench compare A B`: what changed between two sets of records, and is it real."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import RequestError
from bench.judge.compare import Comparison, compare, to_data, with_texts
from bench.judge.gate import problems
from bench.judge.intervals import Intervals
from bench.judge.samples import compare_samples
from bench.judge.stack import DRIFT
from bench.judge.verdicts import THRESHOLD
from bench.render.text import comparison as compare_text
from bench.render.text import samples as samples_text
from bench.store.ledger import Stored
from bench.store.names import KINDS, ReadOnce, select_both
from bench.store.samples import read_samples
from bench.store.scores import ARMS, METRIC
from bench.verbs import Output
from bench.verbs.options import fraction, width


def configure(parser: argparse.ArgumentParser) -> None:
    """The two sets and how to judge them."""
    parser.add_argument("a", metavar="A", help=f"the reference: {KINDS}")
    parser.add_argument("b", metavar="B", help="what is held against it, named likewise")
    logs = "A and B are per-sample logs of lm-evaluation-harness or inspect_ai: files, or a folder of samples"
    parser.add_argument("--samples", action="store_true", help=logs)
    judging_options(parser)
    parser.add_argument("--arm", default="tuned", choices=ARMS, help="the row of both sides (tuned)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write markdown")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the examples that moved")
    parser.add_argument(
        "--fail-on-regression", action="store_true", help="exit 1 if a model or all together dropped"
    )


def judging_options(parser: argparse.ArgumentParser) -> None:
    """What compare and gate share."""
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="where the records are (reports)"
    )
    parser.add_argument(
        "--metric", default=METRIC, metavar="NAME,...", help=f"what is compared, one or more ({METRIC})"
    )
    parser.add_argument(
        "--threshold",
        type=fraction,
        default=THRESHOLD,
        metavar="X",
        help=f"smaller differences do not count ({THRESHOLD})",
    )
    parser.add_argument(
        "--drift",
        type=fraction,
        default=DRIFT,
        metavar="X",
        help=f"a smaller shift of all models together does not count ({DRIFT})",
    )


def execute(args: argparse.Namespace) -> Output:
    """Compare, render and write what was asked for. Raises `UnknownName`, `Incomparable`."""
    if args.samples:
        return _of_samples(args)
    ledger = ReadOnce(args.out)
    a, b = select_both(args.a, args.b, ledger)
    beside = Intervals((*ledger.load()[0], *a.records, *b.records))
    named = metrics(args.metric)
    result = compare(a, b, named, args.threshold, drift=args.drift, intervals=beside, arm=args.arm)
    if args.html or args.json:
        result = with_texts(result, a, b)
    if args.markdown:
        write(args.markdown, compare_text.markdown(result))
    if args.html:
        write(args.html, _page(result, [*a.records, *b.records]))
    reasons = problems(result)
    data = {**to_data(result), "problems": reasons} if args.json else None
    return Output(
        compare_text.terminal(result, width=width()), data, 1 if args.fail_on_regression and reasons else 0
    )


def _of_samples(args: argparse.Namespace) -> Output:
    """The same for what other harnesses logged; all metrics, unless some are named."""
    if args.html:
        raise RequestError("--html: not with --samples; --markdown and --json are")
    named = metrics(args.metric) if args.metric != METRIC else ()
    result = compare_samples(read_samples(args.a), read_samples(args.b), named, args.threshold)
    if args.markdown:
        write(args.markdown, samples_text.markdown(result))
    failed = args.fail_on_regression and result.regressed
    return Output(samples_text.terminal(result), to_data(result) if args.json else None, 1 if failed else 0)


def metrics(text: str) -> tuple[str, ...]:
    """The metrics of `--metric a,b`, each once."""
    return tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(","))))) or (METRIC,)


def write(file: Path, text: str) -> None:
    """Write a report, making its folder. Raises `RequestError` where that cannot be done."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{file}: cannot be written ({error.strerror})") from None


def _page(result: Comparison, records: list[Stored]) -> str:
    from bench.judge.history import history
    from bench.render.page import comparison_page  # here: only a page needs its templates

    unique = list({stored.record.id: stored for stored in records}.values())
    models = dict.fromkeys(stored.record.run.name for stored in unique)
    return comparison_page(result, [history(unique, model) for model in models])
