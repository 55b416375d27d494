"""`bench data ACTION`: data sets are looked at, checked and made. `bench data NAME` shows one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from bench.verbs import Output

#: action -> (module, what it does)
ACTIONS: dict[str, tuple[str, str]] = {
    "show": (
        "bench.verbs.data_show",
        "what becomes of a data set: counts, lengths, examples, near duplicates",
    ),
    "check": (
        "bench.verbs.data_check",
        "what would mislead in a benchmark on a data set; exit 1 if anything",
    ),
    "pages": ("bench.verbs.data_pages", "read a site's pages into passages, politely"),
    "import": ("bench.verbs.data_import", "make a data set of your files, or of one of the hub"),
    "chunk": ("bench.verbs.data_chunk", "cut passages or notes into chunks of whole sentences"),
    "make": ("bench.verbs.data_make", "make question-answer pairs of passages"),
}


class _Actions(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Actions by name; a word that is none is a data set to show."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        words = list(values or ())
        if words[0] not in self._name_parser_map:
            words.insert(0, "show")
        super().__call__(parser, namespace, words, option_string)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, action=_Actions)
    for name, (module, purpose) in ACTIONS.items():
        sub = actions.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        import_module(module).configure(sub)
    actions.choices = None  # type: ignore[assignment]  # any other word is the name of a data set


def execute(args: argparse.Namespace) -> Output:
    """Carry out the action."""
    output: Output = import_module(ACTIONS[args.action][0]).execute(args)
    return output
