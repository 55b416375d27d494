"""`bench data check NAME`: what would make a benchmark on a data set misleading, with remedies."""

from __future__ import annotations

import argparse

from bench.data import prepare
from bench.spec import Decoding
from bench.verbs import Output, data_options
from bench.verbs.options import whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which data set, and the parts of a contract that it is held against."""
    parser.add_argument("name", help="registered data set, the NAME of --data, or a FILE")
    data_options.configure(parser)
    configure_limits(parser)


def configure_limits(parser: argparse.ArgumentParser) -> None:
    """Add the parts of a contract on which a data set's fitness depends."""
    parser.add_argument(
        "--model", metavar="NAME", help="count tokens as this model does (default: estimated)"
    )
    parser.add_argument(
        "--max-new-tokens", type=whole(1), default=Decoding().max_new_tokens, metavar="TOKENS"
    )
    parser.add_argument(
        "--eval-limit", type=whole(0), default=200, metavar="N", help="test questions used; 0 for all"
    )


def execute(args: argparse.Namespace) -> Output:
    """Check one data set; exit 1 where anything would mislead."""
    from bench.curate.fitness import checks  # late: brings the scorer
    from bench.render import findings
    from bench.verbs.tokens import counter_of

    (spec,) = data_options.datasets([args.name], args)
    prepared = prepare.prepare(spec)
    tokens, whose = counter_of(args.model)
    limits = checks.Limits(args.max_new_tokens, args.eval_limit or None, tokens)
    checked = checks.check(prepared, limits)
    text = findings.text(checked, spec.name)
    text += (
        f"\ntokens counted as {whose} does" if whose else "\ntokens estimated from words; --model NAME counts"
    )
    data = {
        "findings": findings.as_data(checked.findings),
        "smallest_difference": checked.smallest,
        "rows": checked.rows,
        "tokens": whose or "estimated",
    }
    return Output(text, data, exit_code=1 if checked.findings else 0)
