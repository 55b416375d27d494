"""What variables and a file say about the options of a verb; unknown names of a file are refused."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config.parsers import OPTION, Place, options, parsers_of, subparsers, variable
from bench.config.values import Given
from bench.errors import RequestError, SpecError, UnknownName

Parsers = Mapping[Place, argparse.ArgumentParser]
ParserOf = Callable[[str], argparse.ArgumentParser]
#: Place and name of an option -> its value.
Level = dict[tuple[Place, str], Given]


def of_variables(parsers: Parsers) -> Level:
    """The values of variables; one that names the verb goes first. Empty ones are unset."""
    level = {}
    for place, parser in parsers.items():
        for name in options(parser):
            names = [variable(place[:depth], name) for depth in range(len(place), -1, -1)]
            held = next((name for name in names if os.environ.get(name)), None)
            if held is not None:
                level[place, name] = Given(os.environ[held], held, is_variable=True)
    return level


def of_file(file: Path, parsers: Parsers, verb: str, parser_of: ParserOf) -> Level:
    """The values of a file for a verb. Raises `SpecError` with all unknown keys, `RequestError`."""
    import tomllib  # here: a command line without a file needs none of it

    from bench import files

    try:
        tree = tomllib.loads(files.text(file))
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{OPTION} {file}: {error}") from None
    (actions,) = subparsers(parser_of(verb))
    reading = _Reading(file, verb, parsers, parser_of, tuple(actions._name_parser_map))
    return reading.level(tree)


@dataclass
class _Reading:
    """One file, read for one verb; other verbs are imported only where the file speaks of them."""

    file: Path
    verb: str
    parsers: Parsers
    parser_of: ParserOf
    verbs: tuple[str, ...]
    mistakes: list[str] = field(default_factory=list)

    def level(self, tree: Mapping[str, Any]) -> Level:
        """The values that count: those of the verb's table go before those at the top."""
        level: Level = {}
        for key, value in tree.items():
            if not isinstance(value, dict):
                level.update(self._at_top(key, value))
        for key, value in tree.items():
            if isinstance(value, dict) and key not in self.verbs:
                self._unknown("table", key, self.verbs)
            elif isinstance(value, dict):
                own = self.parsers if key == self.verb else self._of(key)
                held = dict(self._table((key,), value, own))
                level.update(held if key == self.verb else {})
        if self.mistakes:
            raise SpecError(str(self.file), self.mistakes)
        return level

    def _at_top(self, key: str, value: Any) -> Level:
        held = {
            (place, key): Given(value, str(self.file))
            for place, parser in self.parsers.items()
            if key in options(parser)
        }
        if not held:
            everywhere = [parser for verb in self.verbs for parser in self._of(verb).values()]
            known = {name for parser in everywhere for name in options(parser)}
            if key not in known:
                self._unknown("option", key, known)
        return held

    def _table(
        self, place: Place, table: Mapping[str, Any], parsers: Parsers
    ) -> Iterator[tuple[tuple[Place, str], Given]]:
        """What a table says for the verb or action of its name, and for the actions of that."""
        below = {held: parser for held, parser in parsers.items() if held[: len(place)] == place}
        known = {name for parser in below.values() for name in options(parser)}
        for key, value in table.items():
            if not isinstance(value, dict):
                if key not in known:
                    self._unknown(f"option of [{'.'.join(place)}]", key, known)
                for held, parser in below.items():
                    if key in options(parser):
                        yield (held, key), Given(value, str(self.file))
        for key, value in table.items():
            if isinstance(value, dict):
                if (*place, key) in parsers:
                    yield from self._table((*place, key), value, parsers)
                else:
                    self._unknown("table", ".".join([*place, key]), map(".".join, parsers))

    def _of(self, verb: str) -> Parsers:
        return parsers_of(self.parser_of(verb), verb)

    def _unknown(self, kind: str, key: str, known: Iterable[str]) -> None:
        self.mistakes.append(str(UnknownName(kind, key, known)))
