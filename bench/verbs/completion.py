"""`bench completion SHELL`: a script by which a shell completes verbs, options and names.

shtab makes the script from the parsers. Names of models, data sets and runs are asked for when the tab key is
pressed, by `bench completion --names KIND`, which looks at names of files and reads none.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.config import parsers
from bench.errors import RequestError
from bench.packaged import ROOT
from bench.verbs import Output

SHELLS = ("bash", "zsh", "fish")
#: How an option or argument is called in the help, or its name -> the kind of names that it takes.
KINDS = {
    "RUN": "runs",
    "RUN|DIR": "runs",
    "A": "runs",
    "B": "runs",
    "MODEL": "models",
    "models": "models",
    "model": "models",
    "train": "datasets",
    "eval": "datasets",
    "dataset": "datasets",
    "baseline": "baselines",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The shell, and what the script itself asks."""
    parser.add_argument("shell", nargs="?", choices=SHELLS, help="print the script for this shell")
    parser.add_argument("--names", choices=sorted(set(KINDS.values())), help=argparse.SUPPRESS)
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="folder of the records"
    )


def execute(args: argparse.Namespace) -> Output:
    """The script, or names for it. Raises `RequestError` where shtab is missing."""
    if args.names:
        names = sorted(set(names_of(args.names, args.out)))
        return Output("\n".join(names), names)
    if args.shell is None:
        raise RequestError('bench completion: name a shell, as in: eval "$(bench completion bash)"')
    try:
        import shtab
    except ModuleNotFoundError:
        raise RequestError(
            "bench completion: shtab is not installed; pip install 'bench-sft[completion]'"
        ) from None
    parser = parsers.complete(args.parser_of)
    for held in parsers.walk((), parser).values():
        for action in held._actions:
            _describe(action, shtab)
    script = shtab.complete(parser, args.shell)
    return Output(script, {"shell": args.shell, "script": script})


def names_of(kind: str, out: Path) -> Iterator[str]:
    """Names of one kind, by the files that hold them; of runs also the models that were run."""
    if kind == "runs":
        for record in out.glob("runs/[!.]*/record.json"):
            yield record.parent.name
            yield record.parent.name.rsplit("-", 3)[0]
    elif kind == "baselines":
        yield from (file.stem for file in out.glob("baselines/*.json"))
    else:
        for place in (ROOT, Path.cwd()):
            yield from (file.stem for file in (place / kind).glob("*.toml"))


def _describe(action: argparse.Action, shtab: Any) -> None:
    """Say to shtab what an option takes."""
    kind = KINDS.get(str(action.metavar)) or KINDS.get(parsers.name_of(action))
    if action.choices is not None or action.nargs == 0:
        return
    if kind is not None:
        action.complete = shtab.cmd(f"bench completion --names {kind}")  # type: ignore[attr-defined]
    elif action.metavar == "DIR":
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    elif action.type is Path or action.metavar in ("FILE", "NAME=FILE"):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
