"""Where the values of options come from: the command line, else a `BENCH_*` variable, else a file.

Everything is derived from the parsers of the verbs; no option is listed here. An option `--eval-limit` is
the key `eval-limit` of the TOML file of `--config` and the variable `BENCH_EVAL_LIMIT`. A key at the top of
the file counts for every verb that has the option, one in the table of a verb (`[run]`, `[data.import]`) for
that verb alone, and so does `BENCH_RUN_JOBS`. A flag that a variable or the file raises is taken back by
`--no-FLAG`.
Paths are relative to the current folder wherever they stand, and no file is read that was not named.
`args.sources` keeps which values did not come from the command line, `args.words` the command line that would
have given them, `args.parser_of` the way to the parsers, for verbs that speak of all verbs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.config.levels import Level, ParserOf, of_file, of_variables
from bench.config.parsers import (
    OPTION,
    Place,
    add_opposites,
    chosen,
    is_flag,
    name_of,
    options,
    parsers_of,
    variable,
)
from bench.config.values import as_text, as_toml, converted
from bench.errors import RequestError

__all__ = [
    "OPTION",
    "add",
    "parsed",
    "told",
    "with_source",
    "sources",
    "toml",
    "options",
    "parsers_of",
    "variable",
]


def add(parser: argparse.ArgumentParser) -> None:
    """Add `--config` to a verb's parser."""
    note = "options from a TOML file; the command line and BENCH_* variables go before it"
    parser.add_argument(OPTION, metavar="FILE", help=note)


def parsed(parser_of: ParserOf, verb: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line, with those that it leaves out from variables and from the file.

    Raises `SpecError` for unknown keys of the file, `RequestError` for every other mistake.
    """
    file, words = _named_file(arguments)
    parser = parser_of(verb)
    parsers = parsers_of(parser, verb)
    lower = [of_variables(parsers)]
    if file:
        lower.append(of_file(Path(file), parsers, verb, parser_of))
    for place, held in parsers.items():
        add_opposites(held)
        for action in held._actions:
            if any((place, name_of(action)) in level for level in lower):
                action.required = False
    args = parser.parse_args(words)
    if args.config:
        raise RequestError(f"{OPTION} must be written in full")
    places = [place for place in parsers if chosen(parser, args)[: len(place)] == place]
    given = _given(parser, parsers, words)
    args.sources, args.words, args.parser_of = {}, None, parser_of
    for place in places:
        _fill(args, parsers[place], place, given, lower)
    if args.sources:
        args.words = [*words, *_as_words(args.sources)]
    return args


def told(args: argparse.Namespace) -> list[str]:
    """One line for each value that did not come from the command line."""
    return [f"--{name} {as_text(held['value'])}: from {held['from']}" for name, held in sources(args).items()]


def sources(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Option -> value and where it came from, for those that did not come from the command line."""
    held: Mapping[str, tuple[str, Any]] = getattr(args, "sources", {})
    return {name: {"value": value, "from": source} for name, (source, value) in held.items()}


def with_source(message: str, args: argparse.Namespace) -> str:
    """A complaint about an option, with the place that its value came from if it is not the command line."""
    name = message.split(" ", 1)[0].rstrip(":").removeprefix("--")
    held = sources(args).get(name) if message.startswith("--") else None
    return f"{message} (from {held['from']})" if held else message


def toml(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """The values of all options of a parser, as a file for `--config`; what has no value is left out."""
    values = {name: getattr(args, action.dest) for name, action in options(parser).items()}
    return "".join(f"{name} = {as_toml(value)}\n" for name, value in values.items() if value is not None)


def _named_file(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The file that `--config` or its variable names, and the other words."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    words, file = [], os.environ.get(variable((), "config")) or None
    before = iter(arguments[:end])
    for word in before:
        option, equals, value = word.partition("=")
        if option == OPTION:
            file = value if equals else next(before, None)
            if not file:
                raise RequestError(f"argument {OPTION}: expected one argument")
        else:
            words.append(word)
    return file, [*words, *arguments[end:]]


def _given(
    parser: argparse.ArgumentParser, parsers: Mapping[Place, argparse.ArgumentParser], words: Sequence[str]
) -> set[str]:
    """The destinations that the command line itself names; the parsers are of no use afterwards."""
    for held in parsers.values():
        held._defaults.clear()
        for action in held._actions:
            if action.option_strings:
                action.default = argparse.SUPPRESS
    return set(vars(parser.parse_args(list(words))))


def _fill(
    args: argparse.Namespace,
    parser: argparse.ArgumentParser,
    place: Place,
    given: set[str],
    lower: Sequence[Level],
) -> None:
    """Put the values of variables and file where the command line gives none, nor one that excludes them."""
    rivals = _rivals(parser)
    taken = set(given)
    for level in lower:
        held = {
            name: (action, level[place, name])
            for name, action in options(parser).items()
            if (place, name) in level and not {action.dest, *rivals.get(action.dest, ())} & taken
        }
        for name, (action, value) in held.items():
            clash = [other for other, (its, _) in held.items() if its.dest in rivals.get(action.dest, ())]
            if clash:
                raise RequestError(f"{value.source}: '{name}' and '{clash[0]}' exclude each other")
            setattr(args, action.dest, converted(action, value))
            args.sources[name] = (value.source, getattr(args, action.dest))
            taken.add(action.dest)


def _rivals(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    """Destination -> those of the options that exclude it."""
    groups = [{action.dest for action in group._group_actions} for group in parser._mutually_exclusive_groups]
    return {dest: group - {dest} for group in groups for dest in group}


def _as_words(sources: Mapping[str, tuple[str, Any]]) -> list[str]:
    """The values of variables and file as words of a command line."""
    words: list[str] = []
    for name, (_, value) in sources.items():
        if is_flag(value):
            words += [f"--{name}"] if value else []
        else:
            for each in value if isinstance(value, list) else [value]:
                words += [f"--{name}", as_text(each)]
    return words
