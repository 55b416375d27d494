"""`bench data chunk SOURCE --to NAME`: passages or notes cut into chunks, and a spec to train on them."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import registry
from bench.verbs import Output
from bench.verbs.options import whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what is cut, and how long the pieces are."""
    parser.add_argument("source", metavar="SOURCE", help="a NAME in passages/, a file of passages, or notes")
    parser.add_argument("--to", required=True, metavar="NAME", help="the chunks to write, and their spec")
    parser.add_argument(
        "--tokens", type=whole(8, 100_000), default=200, metavar="N", help="at most (default: 200)"
    )
    parser.add_argument(
        "--overlap",
        type=whole(0, 10),
        default=0,
        metavar="N",
        help="sentences that stand in two chunks (default: 0)",
    )
    parser.add_argument(
        "--model", metavar="NAME", help="count tokens as this model does (default: estimated)"
    )
    parser.add_argument("--licence", default="unknown", help="of the text, for its spec")
    parser.add_argument("--force", action="store_true", help="replace a spec that was written by hand")


def execute(args: argparse.Namespace) -> Output:
    """Cut, and write the chunks as passages."""
    from bench.curate import writing as specs
    from bench.curate.fitness.checks import Limits
    from bench.curate.pages import writing
    from bench.curate.pairs import reading, sentences
    from bench.data.text import whole
    from bench.verbs.tokens import counter_of

    home, registered = Path.cwd(), {*registry.datasets(), *registry.broken("datasets")}
    specs.check_name(args.to, home, registered, args.force)
    passages = reading.passages_of(args.source, home)
    tokens, whose = counter_of(args.model)
    length = Limits(tokens=tokens).length
    chunks = list(sentences.chunks(passages, args.tokens, args.overlap, length))
    counted = f"counted as {whose} does" if whose else "estimated from words"
    step = (
        f"{len(passages):,} passages of {Path(args.source).name} cut into {len(chunks):,} chunks of at most "
        f"{args.tokens} tokens, {counted}; {args.overlap} sentences overlap"
    )
    files = writing.write_passages(args.to, chunks, [f"# {args.to}", "", f"{step}."], home)
    files.append(specs.write_text_spec(args.to, "text cut into chunks", step, args.licence, home))
    longest = max(length(whole(chunk.heading, chunk.text)) for chunk in chunks)
    lines = [step, f"the longest has {longest} tokens with its heading", ""]
    lines += [f"wrote {', '.join(str(file.relative_to(home)) for file in files)}"]
    lines += [f"next: bench run --train {args.to} --eval NAME, or: bench data make NAME --from {args.to}"]
    data = {
        "passages": len(passages),
        "chunks": len(chunks),
        "longest": longest,
        "files": list(map(str, files)),
    }
    return Output("\n".join(lines), data)
