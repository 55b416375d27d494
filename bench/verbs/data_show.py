"""`bench data show NAME`: what becomes of a data set: counts, lengths, what is cut, examples of each part."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.curate.files import direct
from bench.data import prepare
from bench.data.prepare import Prepared
from bench.prompt import render
from bench.render.tables import columns
from bench.spec import DatasetSpec
from bench.verbs import Output, data_check, data_options
from bench.verbs.options import whole

#: Near duplicates that are shown.
PAIRS = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which data set and how much of it."""
    parser.add_argument("name", help="registered data set, the NAME of --data, or a FILE")
    data_options.configure(parser)
    data_check.configure_limits(parser)
    parser.add_argument("--max-length", type=whole(32), default=512, metavar="TOKENS")
    parser.add_argument(
        "--examples", type=whole(0), default=5, metavar="N", help="examples of each part to show (default: 5)"
    )


def execute(args: argparse.Namespace) -> Output:
    """Prepare the data set (or take it from the cache) and describe it."""
    from bench.curate.fitness import checks, survey  # late: brings the scorer
    from bench.verbs.tokens import counter_of

    (spec,) = data_options.datasets([args.name], args)
    prepared = prepare.prepare(spec)
    prepare.check_parts(prepared)
    tokens, whose = counter_of(args.model)
    limits = checks.Limits(args.max_new_tokens, args.eval_limit or None, tokens)
    described = survey.survey(prepared, limits, args.max_length)
    count, pairs = survey.near_pairs(spec, PAIRS) if spec.file and not prepared.is_text else (0, [])
    lines = [*_head(spec, prepared), ""]
    lines += [f"{rows:>8}  {reason}" for reason, rows in prepared.counts.items()]
    lines += ["", *_lengths(described, whose), ""]
    lines += [f"{rows:>8}  {what}" for what, rows in described.cut.items()]
    lines += ["" if whose else "          estimated from words; --model NAME counts tokens"]
    if pairs:
        lines += [f"{count} training rows are dropped as another spelling of a held-out question or answer"]
        lines += [f"    {left[:80]}\n    = {right[:80]}" for left, right in pairs]
    for part, examples in survey.parts_of(prepared).items():
        for example in examples[: args.examples]:
            prompt = "" if example.is_text else render(example, "qa")
            lines += ["", f"--- {part} {example.id}", prompt + example.answers[0]]
    data = {
        "ref": prepared.ref.model_dump(),
        "columns": prepared.columns,
        "counts": prepared.counts,
        "cut": described.cut,
        "near_duplicates": pairs,
    }
    return Output("\n".join(lines), data)


def _head(spec: DatasetSpec, prepared: Prepared) -> list[str]:
    source = Path(spec.file).name if spec.file else f"{spec.hub}@{spec.revision[:8]}"
    lines = [f"{spec.name} from {source}, licence {spec.licence}, digest {prepared.ref.digest[:16]}"]
    return [*lines, *filter(None, [direct.remark(spec)]), prepared.columns]


def _lengths(described: Any, whose: str) -> list[str]:
    rows = [["part", "field", "words 5%", "50%", "95%", "most"]]
    rows[0] += [f"tokens of {whose} 5%", "50%", "95%", "most"] if whose else []
    for key, words in described.words.items():
        cells = [*key, *(f"{value:,}" for value in (words.low, words.middle, words.high, words.most))]
        if tokens := described.tokens.get(key):
            cells += [f"{value:,}" for value in (tokens.low, tokens.middle, tokens.high, tokens.most)]
        rows.append(cells)
    return columns(rows, right=range(2, len(rows[0])))
