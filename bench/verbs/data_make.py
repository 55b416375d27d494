"""`bench data make NAME --from PASSAGES`: question-answer pairs of passages, with or without a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.data.sources import FILE_TEST_FRACTION
from bench.errors import DataError, RequestError
from bench.spec import NAME
from bench.verbs import Output
from bench.verbs.options import seconds, whole

if TYPE_CHECKING:
    from bench.curate.pages.passages import Passage
    from bench.curate.pairs.support import Pair

#: Passages after which progress is told again.
EVERY = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add where the passages are and who makes the pairs."""
    parser.add_argument("name", metavar="NAME", help="the data set to write, in datasets/")
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="PASSAGES",
        help="a NAME in passages/, a file of it, or notes",
    )
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="OpenAI-compatible, as in https://HOST/v1 (default: no model, definitions)",
    )
    parser.add_argument("--model", metavar="M", help="the endpoint's name of the model")
    parser.add_argument(
        "--pairs", type=whole(1, 20), default=3, metavar="N", help="of a passage (default: 3)"
    )
    parser.add_argument("--requests", type=whole(1), metavar="N", help="at most; the same command goes on")
    parser.add_argument(
        "--timeout", type=seconds, default=120.0, metavar="S", help="of a request (default: 120)"
    )
    parser.add_argument(
        "--key",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="of the environment (default: OPENAI_API_KEY)",
    )
    parser.add_argument("--plan", action="store_true", help="show what it would cost; nothing is asked")
    parser.add_argument("--licence", default="unknown", help="of the data, for its card")
    parser.add_argument("--force", action="store_true", help="replace a spec that was written by hand")


def execute(args: argparse.Namespace) -> Output:
    """Make pairs, keep those that hold, and write the data set."""
    from bench.curate import writing
    from bench.curate.pairs import reading, support

    if bool(args.endpoint) != bool(args.model):
        raise RequestError(
            "--endpoint and --model belong together; without both, pairs are made of definitions"
        )
    writing.check_name(
        args.name, Path.cwd(), {*registry.datasets(), *registry.broken("datasets")}, args.force, option="NAME"
    )
    passages = reading.passages_of(args.source, Path.cwd())
    if args.plan:
        return Output(
            _budget(args, passages) if args.endpoint else "no request: pairs are made of definitions"
        )
    pairs, maker, steps = _made(args, passages)
    examples, counts = support.examples(pairs)
    if not examples:
        reasons = (
            ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "no definition was found"
        )
        raise DataError(f"{args.source}: no pair of {len(passages)} passages holds ({reasons})")
    dropped = [f"{count} dropped: {reason}" for reason, count in counts.items() if reason != "made"]
    groups = len({example.group for example in examples})
    steps += [f"{counts['made']} pairs made", *dropped, f"{len(examples)} pairs kept, of {groups} passages"]
    made = writing.Made(
        args.name,
        examples,
        f"made by {maker} of {len(passages)} passages",
        sorted({passage.url for passage in passages if passage.url}),
        [*steps, "all pairs of a passage share a group, so that they stay on one side of the split"],
        args.licence,
        FILE_TEST_FRACTION,
        passages=_kept(args, passages),
    )
    files = writing.write(made, Path.cwd())
    lines = [f"made by {maker}", *steps, ""]
    lines += [f"wrote {', '.join(str(file.relative_to(Path.cwd())) for file in files)}"]
    lines += [f"next: bench data check {args.name}"]
    data = {"examples": len(examples), "counts": counts, "steps": steps, "files": list(map(str, files))}
    return Output("\n".join(lines), data)


def _kept(args: argparse.Namespace, passages: list[Passage]) -> str:
    """The name in `passages/` of the file that holds these passages, written where it is not there."""
    from bench.curate.pages import writing

    if NAME.fullmatch(args.source) and (Path.cwd() / writing.FOLDER / f"{args.source}.jsonl").is_file():
        return f"{args.source}.jsonl"
    name = f"{args.name}.source"
    card = [f"# {name}", "", f"The passages of {Path(args.source).name} that {args.name} was made from."]
    writing.write_passages(name, passages, card, Path.cwd())
    return f"{name}.jsonl"


def _made(args: argparse.Namespace, passages: list[Passage]) -> tuple[list[Pair], str, list[str]]:
    """Pairs, who made them, and what happened on the way."""
    from bench.curate.pairs import definitions, endpoint

    if not args.endpoint:
        return list(definitions.pairs(passages)), "extraction of definitions, without a model,", []
    print(_budget(args, passages), file=sys.stderr, flush=True)
    asked = endpoint.endpoint_of(args.endpoint, args.model, args.pairs, args.key, args.timeout)
    pairs, counts = endpoint.pairs(asked, passages, args.requests, _note)
    steps = [f"{count} passages {what}" for what, count in counts.items() if count]
    return pairs, f"the model {args.model}", steps


def _budget(args: argparse.Namespace, passages: list[Passage]) -> str:
    from bench.curate.fitness.checks import Limits
    from bench.curate.pairs import endpoint

    asked = endpoint.endpoint_of(args.endpoint, args.model, args.pairs, args.key, args.timeout)
    return endpoint.budget(asked, passages, Limits().length)


def _note(number: int, total: int) -> None:
    if number == 1 or number % EVERY == 0 or number == total:
        print(f"passage {number} of {total}", file=sys.stderr, flush=True)
