"""`bench report`: the board of all records under a folder, in the forms that are asked for.

The markdown is always written and the board printed; what needs a heavier library is made only
on request.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import files
from bench.errors import RequestError, Unreadable
from bench.judge.beside.added import with_added
from bench.judge.beside.arms import with_arms
from bench.judge.board import Board, board
from bench.judge.effort.ladder import with_ladders
from bench.render import export
from bench.render.text import leaderboard
from bench.store.ledger import Ledger, Stored
from bench.verbs import Output
from bench.verbs.options import width

NAME = "leaderboard"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `bench report`."""
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="folder of the records"
    )
    parser.add_argument(
        "--html", action="store_true", help=f"also write {NAME}.html, one self-contained page"
    )
    parser.add_argument("--svg", action="store_true", help=f"also write the chart, {NAME}.svg and {NAME}.png")
    parser.add_argument("--csv", action="store_true", help=f"also write {NAME}.csv")
    parser.add_argument("--parquet", action="store_true", help=f"also write {NAME}.parquet")
    parser.add_argument(
        "--readme", type=Path, metavar="FILE", help="also put the board between the board markers of a README"
    )


def execute(args: argparse.Namespace) -> Output:
    """Write the reports and print the board."""
    if args.readme and not files.is_file(args.readme):
        raise RequestError(f"--readme {args.readme}: is no file")
    ledger = Ledger(args.out)
    stored, messages = ledger.load()
    measured, _ = ledger.measured()
    whole = board(stored, ledger.failed(), left_out=ledger.left_out(), measured=measured)
    shown = with_ladders(with_arms(with_added(whole, messages), messages))
    if args.svg and not any(group.rows for group in shown.groups):
        raise RequestError("--svg: there is no finished run to draw; start with: bench run --models all")
    readme = [_readme(args.readme, stored)] if args.readme else []  # first: it may lack the markers
    written = [write(shown, args.out / f"{NAME}.{kind}") for kind in _kinds(args)] + readme
    lines = [leaderboard.terminal(shown, width()), ""]
    messages += shown.messages
    lines += [f"left out: {message}" for message in messages]
    lines += [f"written: {file}" for file in written]
    data = {**export.as_data(shown), "unreadable": messages, "written": [str(file) for file in written]}
    return Output("\n".join(lines), data)


def write(shown: Board, file: Path) -> Path:
    """One report; its form is the file's suffix."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise RequestError(f"{file}: is no file but a link, a folder or a pipe; remove it")
        _WRITERS[file.suffix](shown, file)
    except OSError as error:
        raise RequestError(f"{file}: cannot be written ({error.strerror})") from None
    return file


def _readme(file: Path, stored: Sequence[Stored]) -> Path:
    try:
        text = leaderboard.in_readme(files.text(file), stored)
        file.write_text(text, encoding="utf-8")
    except Unreadable as error:
        raise RequestError(f"--readme {error}") from None
    except OSError as error:
        raise RequestError(f"--readme {file}: {error.strerror}") from None
    except ValueError as error:
        raise RequestError(f"--readme {file}: {error}; add the two lines where the board belongs") from None
    return file


def _kinds(args: argparse.Namespace) -> list[str]:
    """Suffixes in the order of writing: the markdown embeds the chart that lies beside it."""
    asked = [kind for kind in ("csv", "parquet", "html") if getattr(args, kind)]
    return [*(["svg", "png"] if args.svg else []), "md", *asked]


def _markdown(shown: Board, file: Path) -> None:
    chart = file.with_suffix(".svg")
    text = leaderboard.markdown(shown, chart.name if chart.is_file() else None)
    file.write_text(text, encoding="utf-8")


def _html(shown: Board, file: Path) -> None:
    from bench.render.page import page

    file.write_text(page(shown), encoding="utf-8", errors="replace")


def _svg(shown: Board, file: Path) -> None:
    from bench.render.chart import svg

    file.write_text(svg(shown), encoding="utf-8")


def _png(shown: Board, file: Path) -> None:
    from bench.render.chart import write_png

    write_png(shown, file)


_WRITERS: dict[str, Callable[[Board, Path], None]] = {
    ".md": _markdown,
    ".html": _html,
    ".svg": _svg,
    ".png": _png,
    ".csv": lambda shown, file: export.write_csv(shown, file),
    ".parquet": lambda shown, file: export.write_parquet(shown, file),
}
