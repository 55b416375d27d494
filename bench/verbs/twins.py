"""`bench twins build | verify`: how the miniature models came about, repeatably."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import DataError, UnknownName
from bench.files import is_file
from bench.registry import TWINS
from bench.verbs import Output
from bench.verbs.options import whole

FAMILIES = ("bart", "gpt2", "gpt-neo", "phi", "llama-2", "mistral", "llama-3.1")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what to do and with what."""
    parser.add_argument("what", choices=["build", "verify"])
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"to build (default: all): {', '.join(FAMILIES)}"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="a local copy of databricks-dolly-15k; needed to build, and to compare losses",
    )
    parser.add_argument(
        "--tokens", type=whole(1), metavar="N", help="tokens to pretrain each on (default: as shipped)"
    )
    seed = "seed of a pretraining (default: as shipped)"
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), metavar="N", help=seed)
    parser.add_argument("--out", type=Path, default=TWINS, metavar="DIR", help="folder of the twins")


def execute(args: argparse.Namespace) -> Output:
    """Build the twins anew, or hold the shipped ones against their cards."""
    if args.data is not None and not is_file(args.data):
        raise DataError(f"--data {args.data}: no such file")
    return _build(args) if args.what == "build" else _verify(args)


def _build(args: argparse.Namespace) -> Output:
    from bench.twins import build

    for family in args.families:
        if family not in FAMILIES:
            raise UnknownName("twin", family, FAMILIES)
    if args.data is None:
        raise DataError("bench twins build: give databricks-dolly-15k.jsonl by --data FILE")
    families = args.families or FAMILIES
    build.build(
        families,
        args.out,
        args.data,
        tokens=args.tokens or build.TOKENS,
        seed=build.SEED if args.seed is None else args.seed,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    built = [str(args.out / family) for family in families]
    return Output("\n".join(f"built: {folder}" for folder in built), built)


def _verify(args: argparse.Namespace) -> Output:
    from bench.twins.verify import verify

    findings = verify(args.out, args.data)
    lines = [f"{finding.family}: {finding.where} {finding.what}" for finding in findings]
    checked = (
        "digests, loading and validation loss"
        if args.data
        else "digests and loading (losses need --data FILE)"
    )
    lines.append(f"{len(FAMILIES)} twins, {checked}: {len(findings)} findings")
    return Output("\n".join(lines), [vars(finding) for finding in findings], exit_code=1 if findings else 0)
