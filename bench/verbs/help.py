"""`bench help TOPIC`: what the documentation says about one topic, or the options of a verb.

A topic's text stands in a page under `docs/`, between `<!-- help: TOPIC -->` and `<!-- end of help -->`. Two
topics are made here: `commands`, the page of all verbs, and `schema`, the JSON schema of a record.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from bench import files
from bench.config import parsers
from bench.errors import UnknownName
from bench.packaged import ROOT
from bench.render import tables
from bench.verbs import Output
from bench.verbs.options import width

MARKED = re.compile(r"<!-- help: ([\w-]+) -->\n(.*?)<!-- end of help -->", re.DOTALL)
#: The mark of an item of a list, a block of code, and a line break within a paragraph or an item.
ITEM = re.compile(r"(- |\d+\. )")
CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
BREAK = re.compile(r"(?<=[^\n])\n(?!\n|\Z|- |\d+\. |[|#]) *")
#: What parts the cells of a table's line.
CELLS = re.compile(r"(?<!\\)\|")
#: Topics that are made from the program itself.
MADE = ("commands", "schema")
#: The verb whose options many others share, and from how many on they are not told again.
FIRST, MANY = "run", 10


def configure(parser: argparse.ArgumentParser) -> None:
    """The topic."""
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="a topic or a verb (default: list them)")


def execute(args: argparse.Namespace) -> Output:
    """The text. Raises `UnknownName`."""
    root = parsers.complete(args.parser_of)
    verbs = {place[0]: held for place, held in parsers.walk((), root).items() if len(place) == 1}
    texts = topics()
    if args.topic is None:
        lines = ["topics: " + ", ".join([*texts, *MADE]), "verbs: " + ", ".join(verbs)]
        return Output("\n".join(lines), {"topics": [*texts, *MADE], "verbs": list(verbs)})
    if args.topic == "commands":
        return _of(args.topic, commands(root))
    if args.topic == "schema":
        return Output(json.dumps(schema(), indent=1), schema())
    if args.topic in texts:
        return _of(args.topic, laid_out(texts[args.topic], width()))
    if args.topic in verbs:
        return _of(args.topic, verbs[args.topic].format_help().rstrip())
    raise UnknownName("topic", args.topic, [*texts, *MADE, *verbs])


def topics() -> dict[str, str]:
    """Topic -> its text in the pages, links as their words."""
    held = {}
    for page in sorted((ROOT / "docs").glob("*.md")):
        for name, text in MARKED.findall(files.text(page)):
            held[name] = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).strip()
    return dict(sorted(held.items()))


def laid_out(text: str, columns: int) -> str:
    """Markdown with its paragraphs, items and tables broken anew at a width; code stays as it is."""
    parts = CODE.split(text)
    return "".join(part if number % 2 else _broken(part, columns) for number, part in enumerate(parts))


def _broken(text: str, columns: int) -> str:
    lines = []
    for is_table, held in groupby(BREAK.sub(" ", text).split("\n"), lambda line: line.startswith("|")):
        if is_table:
            lines += _table(list(held), columns)
            continue
        for line in held:
            mark = ITEM.match(line)
            fixed = not line or line[0] == "#"
            lines += [line] if fixed else tables.wrap(line, " " * len(mark[0]) if mark else "", width=columns)
    return "\n".join(lines)


def _table(lines: list[str], width: int) -> list[str]:
    """A table as aligned columns, the cells of its widest column broken where it is too wide."""
    rows = [[cell.strip() for cell in CELLS.split(line.strip("|"))] for line in lines]
    rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widest = max(range(len(widths)), key=lambda place: widths[place])
    room = max(width - sum(widths) - 2 * (len(widths) - 1) + widths[widest], 20)
    broken = []
    for row in rows:
        for number, part in enumerate(tables.wrap(row[widest], width=room) or [""]):
            cells = row if number == 0 else [""] * len(row)
            broken.append([*cells[:widest], part, *cells[widest + 1 :]])
    return tables.columns(broken)


def schema() -> dict[str, Any]:
    """The JSON schema of `record.json`, its own digest included."""
    from bench.store.record import RECORD, Record  # here: the other topics need no pydantic

    held = Record.model_json_schema(mode="serialization")
    held["properties"]["digest"] = {
        "title": "Digest",
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "SHA-256 of all the rest as canonical JSON.",
    }
    held["required"] = [*held["required"], "digest"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **held, "title": RECORD}


def commands(root: argparse.ArgumentParser) -> str:
    """All verbs and their options, as a page in markdown."""
    lines = [
        "# Commands",
        "",
        "Made by `bench help commands`; `bench VERB --help` says the same. Every verb takes `--json` and",
        "`--config`; see [options in a file](index.md#options-in-a-file).",
        "",
    ]
    lines += ["| verb | what it does |", "| --- | --- |"]
    held = parsers.walk((), root)
    (verbs,) = parsers.subparsers(root)
    purposes = {choice.dest: choice.help for choice in verbs._choices_actions}
    lines += [f"| [{verb}](#bench-{verb}) | {_cell(purpose)} |" for verb, purpose in purposes.items()]
    first = _rows(held[(FIRST,)])
    for place, parser in held.items():
        if place:
            lines += _command(
                place, _rows(parser), {} if place == (FIRST,) else first, str(parser.description)
            )
    return "\n".join(lines)


def _command(
    place: parsers.Place, rows: dict[str, str], first: dict[str, str], description: str
) -> Iterator[str]:
    """One verb; options that are those of the first verb are named and no more."""
    yield from ("", f"{'#' * (len(place) + 1)} bench {' '.join(place)}", "", description)
    shared = [name for name, row in rows.items() if first.get(name) == row]
    shared = shared if len(shared) > MANY else []
    own = [row for name, row in rows.items() if name not in shared]
    if own:
        yield from ("", "| | | default |", "| --- | --- | --- |", *own)
    if shared:
        names = " ".join(f"`--{name}`" for name in shared)
        yield from ("", f"As in [bench {FIRST}](#bench-{FIRST}): {names}")


def _rows(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Name -> row of the table, of every argument and option that is a verb's own."""
    rows = {}
    for action in [action for group in parser._action_groups for action in group._group_actions]:
        common = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        if common or action.help == argparse.SUPPRESS or action.dest in ("json", "config"):
            continue
        name = f"--{parsers.name_of(action)}" if action.option_strings else ""
        value = "" if action.nargs == 0 else str(action.metavar or _choices(action))
        value = f"{value} ..." if action.nargs in ("+", "*") else value
        shown = " ".join(filter(None, (name, value)))
        row = f"| `{_cell(shown)}` | {_cell(str(action.help or ''))} | {_default(action)} |"
        rows[parsers.name_of(action)] = row
    return rows


def _choices(action: argparse.Action) -> str:
    if action.choices is not None:
        return ",".join(map(str, action.choices))
    return action.dest.upper().replace("_", "-") if action.option_strings else action.dest.upper()


def _default(action: argparse.Action) -> str:
    """The default, where it is the same on every machine."""
    value = action.default
    if value in (None, "", False, argparse.SUPPRESS) or value == [] or str(value).startswith(str(ROOT)):
        return "required" if action.required and action.option_strings else ""
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def _cell(text: str) -> str:
    return text.replace("%%", "%").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _of(topic: str, text: str) -> Output:
    return Output(text, {"topic": topic, "text": text})
