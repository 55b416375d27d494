"""The leaderboard as one HTML file that needs nothing else: no network, no server, no library.

Jinja2 fills the templates, because it escapes by default; the drawing is SVG made on this side
and the behaviour some hundred lines of plain JavaScript. Plotly (4 MB) would not fit into the
2 MB that a page may have, and a front-end framework would be most of the page for one table and
one list. The table and the plots are there without JavaScript; it sorts, filters and opens answers.

A content security policy forbids every request and every script but the page's own, by its hash:
whatever a model answers stays text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.judge.board import Board
from bench.judge.compare import Comparison
from bench.judge.history import History
from bench.render import words
from bench.render.page import comparison as comparisons
from bench.render.page import ladder as ladders
from bench.render.page.answers import Packs, embedded
from bench.render.page.view import view
from bench.render.text import costs

#: Rows of a table that are in the document from the start; the script knows the same number.
FEW = 100
ASSETS = Path(__file__).parent / "assets"


def page(board: Board) -> str:
    """The whole leaderboard page."""
    packs = Packs()
    groups = [view(group, number, packs) for number, group in enumerate(board.groups)]
    finished = [stored.record.provenance.finished for stored in board.runs]
    return render(
        "leaderboard.html.j2",
        ["page.js", "texts.js", "leaderboard.js"],
        title="Leaderboard",
        groups=groups,
        ladders=[ladders.view(ladder, number) for number, ladder in enumerate(board.ladders)],
        costs=costs.cells(board.costs),
        few=FEW,
        families=_distinct(groups, "family"),
        methods=_distinct(groups, "method"),
        scales=sorted({group["scale"] for group in groups}),
        newest=max(finished, default=""),
        packs=packs.texts,
        data={
            "answers": {group["key"]: group["answers"] for group in groups if group["answers"]},
            "rest": {
                group["key"]: packs.always(_rest(group)) for group in groups if len(group["rows"]) > FEW
            },
        },
    )


def _rest(group: dict[str, Any]) -> list[list[Any]]:
    """Rows beyond `FEW`: what they are filtered and sorted by, and their HTML, made into rows when shown."""
    line = _environment().get_template("row.html.j2").module.line  # type: ignore[attr-defined]
    return [
        [
            row["model"],
            row["family"],
            row["method"],
            row["scale"],
            row["order"],
            str(line(group, row)).strip(),
        ]
        for row in group["rows"][FEW:]
    ]


def comparison_page(comparison: Comparison, histories: Sequence[History] = ()) -> str:
    """The whole page of a comparison; `histories` are drawn where they are given."""
    shown = comparisons.view(comparison, histories)
    scripts = ["page.js", "texts.js", "comparison.js"]
    return render("comparison.html.j2", scripts, title=f"{comparison.a} and {comparison.b} compared", **shown)


def render(template: str, scripts: Sequence[str], data: object, **values: Any) -> str:
    """A page of the project: template, shared style, scripts, embedded data, policy."""
    code = "\n".join(map(asset, scripts))
    hashed = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashed}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(asset("page.css")),
            script=Markup(code),
            policy=policy,
            data=Markup(embedded(data)),
            words=words,
            **values,
        )
    )


def asset(name: str) -> str:
    """The text of one file that goes into the page as it is."""
    return (ASSETS / name).read_text(encoding="utf-8")


@lru_cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _distinct(groups: list[dict[str, Any]], key: str) -> list[str]:
    return sorted({str(row[key]) for group in groups for row in group["rows"]})
