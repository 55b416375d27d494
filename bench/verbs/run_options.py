"""Options of the verbs that use what a run left: which run, and where its checkpoint lies."""

from __future__ import annotations

import argparse
import sys
import warnings
from contextlib import suppress
from pathlib import Path

from bench.store.ledger import Ledger, Stored
from bench.store.lookup import find_newest

RUN = "a run's id, its beginning, its folder, or a model: its newest finished run"


def configure(parser: argparse.ArgumentParser) -> None:
    """Where records and a local checkpoint are."""
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="folder of the records (reports)"
    )
    parser.add_argument(
        "--base",
        type=Path,
        metavar="PATH",
        help="the checkpoint that the run was tuned from, where that is a folder or GGUF file of yours",
    )


def stored(name: str, args: argparse.Namespace) -> Stored:
    """The run of a name. Raises `UnknownName`, `RequestError`, `RecordError`."""
    return find_newest(name, Ledger(args.out))


def prepare(*runs: Stored) -> None:
    """Import what must come first for these runs, and let models load without bars of the libraries."""
    if any(run.record.run.backend == "unsloth" for run in runs):
        with suppress(ImportError):
            import unsloth  # noqa: F401  (before the libraries that it patches)
    # PEFT repairs the setting by itself and says so every time.
    warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
    from transformers.utils import logging

    logging.disable_progress_bar()


def progress(what: str, done: int, total: int) -> None:
    """Say on a terminal how far an answering is."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{what}: {done} of {total} answered", end=end, file=sys.stderr, flush=True)
