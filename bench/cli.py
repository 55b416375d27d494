"""The command line: the only module that prints or exits.

`VERBS` is the one visible table from verb to module; a module is imported when its verb is
used. A `BenchError`, or what the system refuses (a full disk, too many open files), becomes one
line on standard error and an exit code; every other exception is a defect and keeps its traceback.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from bench import __version__, config
from bench.errors import BenchError, RequestError, UnknownName
from bench.render.clean import printable
from bench.verbs import Output

#: verb -> (module, what it does)
VERBS: dict[str, tuple[str, str]] = {
    "run": ("bench.verbs.run", "train and score models under one budget, then print the board"),
    "tune": ("bench.verbs.tune", "the same number of recipes tried for every model"),
    "plan": ("bench.verbs.plan", "show what would run; nothing runs"),
    "new": ("bench.verbs.new", "a model's spec file, written from its checkpoint, to change and keep"),
    "list": ("bench.verbs.list", "models, datasets or runs"),
    "check": ("bench.verbs.check", "specs, data and records: every mistake, with its remedy"),
    "show": ("bench.verbs.show", "one run: record, curve, answers side by side"),
    "report": ("bench.verbs.report", "the board as markdown, HTML, chart or data"),
    "score": ("bench.verbs.score", "more metrics of stored answers; nothing is generated again"),
    "compare": ("bench.verbs.compare", "what changed between two sets of records, and is it real"),
    "merge": ("bench.verbs.merge", "records of several folders into one, conflicts named"),
    "baseline": ("bench.verbs.baseline", "save a set of records under a name"),
    "gate": ("bench.verbs.gate", "exit 1 on a regression against a baseline"),
    "history": ("bench.verbs.history", "one model's values over versions, with change points"),
    "explain": ("bench.verbs.explain", "which stage moved: training, decoding or scoring"),
    "matrix": ("bench.verbs.matrix", "one plan under several package versions"),
    "bisect": ("bench.verbs.bisect", "the release of a package that changed the numbers"),
    "data": ("bench.verbs.data", "data sets: look at them, check them, make them of your files"),
    "verify": ("bench.verbs.verify", "make a row again from its weights, and say whether it reproduces"),
    "ask": ("bench.verbs.ask", "a run's answers to your own questions, tuned and untuned"),
    "chat": ("bench.verbs.chat", "a page in the browser: tuned and untuned answers side by side"),
    "export": ("bench.verbs.export", "adapter, merged weights or GGUF, checked by answering the test anew"),
    "serve": ("bench.verbs.serve", "runs behind an HTTP API, OpenAI's included"),
    "env": ("bench.verbs.env", "program, machine and settings, as a report of a defect needs them"),
    "help": ("bench.verbs.help", "a topic of the documentation, or a verb's options"),
    "completion": ("bench.verbs.completion", "a script that completes verbs, options and names in a shell"),
    "twins": ("bench.verbs.twins", "build or verify the miniature models"),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the `bench` command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(run_verb(arguments))


def run_verb(arguments: list[str]) -> int:
    """Carry out one command line; its exit code."""
    _accept_any_character()
    verb = next((word for word in arguments if not word.startswith("-")), None)
    try:
        if verb is not None and verb not in VERBS:
            raise UnknownName("verb", verb, VERBS)
        if verb is None:
            parser = parser_of(None)
            parser.parse_args(arguments)
            parser.print_help()
            return 0
        args = config.parsed(parser_of, verb, arguments)
    except RequestError as error:
        _complain(error, as_json="--json" in arguments)
        return error.exit_code
    try:
        output = import_module(VERBS[args.verb][0]).execute(args)
        if output.pieces is not None and not args.json:
            for piece in output.pieces:
                print(printable(piece), end="", flush=True)
    except BenchError as error:
        _complain(error, args.json, config.with_source(str(error), args))
        return error.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted; the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return _leave_pipe()
    except OSError as error:
        if error.errno is None:  # a library's own, not the system's
            raise
        refused = RequestError(f"{error.filename or 'the system'}: {error.strerror}")
        _complain(refused, as_json=args.json)
        return refused.exit_code
    return _show(output, as_json=args.json)


def _show(output: Output, as_json: bool) -> int:
    """Print what a verb has to say; the exit code."""
    text = printable(output.text)
    if as_json:
        text = json.dumps(output.data, indent=1, ensure_ascii=False, default=str)
    elif sys.stdout is not None and sys.stdout.isatty():  # it is none where the caller closed it
        text = _for_terminal(text)
    try:
        if text:
            print(text, flush=True)
    except BrokenPipeError:
        return _leave_pipe()
    except OSError as error:
        print(f"bench: the output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return int(output.exit_code)


def _leave_pipe() -> int:
    """The reader went away; without this Python would complain once more when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class _Parser(argparse.ArgumentParser):
    """Mistakes on the command line are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message}; see: {self.prog} --help")


def parser_of(verb: str | None) -> argparse.ArgumentParser:
    """The parser; only the verb that is asked for is imported and configured."""
    parser = _Parser(
        prog="bench",
        description="Fine-tuning benchmarks whose numbers can be trusted.",
        epilog="Start with: bench run --models all",
    )
    parser.add_argument("--version", action="version", version=f"bench {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, (module, purpose) in VERBS.items():
        sub = verbs.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
        sub.add_argument("--json", action="store_true", help="print JSON")
        config.add(sub)
        if name == verb:
            import_module(module).configure(sub)
    return parser


def _accept_any_character() -> None:
    """A terminal that has only ASCII or Latin-1 shows `?` for the rest, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _for_terminal(text: str) -> str:
    from bench.render import colour  # late: a pipe needs no colours

    return colour.painted(text)


def _complain(error: BenchError, as_json: bool, message: str = "") -> None:
    message = message or str(error)
    if as_json:
        print(json.dumps({"error": type(error).__name__, "message": message}))
    for line in message.splitlines():
        print(f"bench: {printable(line)}", file=sys.stderr)


if __name__ == "__main__":
    main()
