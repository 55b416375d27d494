"""`bench show RUN`: one run in words, its curve, and answers side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from bench.errors import RequestError, UnknownName
from bench.render.text import run as one_run
from bench.store.ledger import Ledger, Stored, read
from bench.verbs import Output
from bench.verbs.report import width


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `bench show`."""
    parser.add_argument("run", metavar="RUN", help="a run's id, its beginning, or a model with one run")
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="folder of the records"
    )
    parser.add_argument("--all", action="store_true", help="every answer, not only the telling ones")


def execute(args: argparse.Namespace) -> Output:
    """Find the run and tell it. Raises `UnknownName`, `RequestError`, `RecordError`."""
    folder = find(args.run, Ledger(args.out))
    stored = Stored(read(folder), folder)
    chosen = one_run.answers(stored) if args.all else one_run.telling(stored)
    return Output(one_run.text(stored, chosen, width()), one_run.as_data(stored, chosen))


def find(name: str, ledger: Ledger) -> Path:
    """The folder of the run that a name stands for: id, unique beginning of one, or model with one run."""
    ids = sorted(folder.parent.name for folder in ledger.runs.glob("[!.]*/record.json"))
    if name in ids:
        return ledger.folder(name)
    matching = [id for id in ids if _model(id) == name] or [id for id in ids if id.startswith(name)]
    if not matching:
        raise UnknownName("run", name, _near(name, ids))
    if len(matching) > 1:
        shown = ", ".join(matching[:6]) + (f" and {len(matching) - 6} more" if len(matching) > 6 else "")
        raise RequestError(f"'{name}' stands for {len(matching)} runs; name one: {shown}")
    return ledger.runs / matching[0]


def _model(id: str) -> str:
    """The model of an id: all before scale, seed and digest."""
    return id.rsplit("-", 3)[0]


def _near(name: str, ids: Sequence[str]) -> Sequence[str]:
    """Few ids that may have been meant; thousands would be no help."""
    return get_close_matches(name, ids, n=6, cutoff=0.3) or ids[:6]
