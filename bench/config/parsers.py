"""What the parsers of verbs say about their options: names, variables, and where an option belongs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

OPTION = "--config"
PREFIX = "BENCH"

#: A verb and its actions, such as ("data", "import").
Place = tuple[str, ...]


def parsers_of(parser: argparse.ArgumentParser, verb: str) -> dict[Place, argparse.ArgumentParser]:
    """A verb's parser and those of its actions, by their places."""
    (verbs,) = subparsers(parser)
    return walk((verb,), verbs._name_parser_map[verb])


def walk(place: Place, parser: argparse.ArgumentParser) -> dict[Place, argparse.ArgumentParser]:
    """A parser and all below it, by their places."""
    held = {place: parser}
    for actions in subparsers(parser):
        for name, below in actions._name_parser_map.items():
            held |= walk((*place, name), below)
    return held


def complete(parser_of: Callable[[str], argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The parser with the options of every verb; all of them are imported."""
    root = parser_of("")
    (verbs,) = subparsers(root)
    for name in verbs._name_parser_map:
        verbs._name_parser_map[name] = parsers_of(parser_of(name), name)[(name,)]
    for held in walk((), root).values():
        for actions in subparsers(held):
            actions.choices = actions._name_parser_map  # a verb may have hidden them
    return root


def subparsers(parser: argparse.ArgumentParser) -> list[Any]:
    """The one place of a parser that takes a verb or an action, if it has one."""
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]


def chosen(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Place:
    """The verb and its actions that were asked for."""
    for actions in subparsers(parser):
        name = getattr(args, actions.dest, None)
        if name is not None:
            return (name, *chosen(actions._name_parser_map[name], args))
    return ()


def options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Name -> option of a parser: those of its help, but for the help itself and the file of options."""
    silent = (argparse._HelpAction, argparse._VersionAction)
    return {
        name_of(action): action
        for action in parser._actions
        if action.option_strings
        and not isinstance(action, silent)
        and action.help != argparse.SUPPRESS
        and OPTION not in action.option_strings
    }


def name_of(action: argparse.Action) -> str:
    """An option's name as it is typed, without dashes."""
    return max(action.option_strings, key=len, default=action.dest).lstrip("-")


def variable(place: Place, name: str) -> str:
    """The variable of an option, `BENCH_EVAL_LIMIT`; with a place that of one verb, `BENCH_RUN_JOBS`."""
    return "_".join([PREFIX, *place, name]).upper().replace("-", "_")


def add_opposites(parser: argparse.ArgumentParser) -> None:
    """Add `--no-FLAG` for every flag; not in the help, since it is of use beside a file or variable only."""
    for name, action in options(parser).items():
        opposite = f"--no-{name}"
        if isinstance(action, argparse._StoreTrueAction) and opposite not in parser._option_string_actions:
            parser.add_argument(
                opposite,
                dest=action.dest,
                action="store_false",
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
            )


def is_flag(value: Any) -> bool:
    """Whether a value is that of an option without an argument."""
    return isinstance(value, bool)
