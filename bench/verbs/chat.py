"""`bench chat RUN`: a page in the browser that answers with the tuned and the untuned model side by side.

Only this machine reaches it; `bench serve` is for others.
"""

from __future__ import annotations

import argparse
import sys
import threading
from importlib.metadata import PackageNotFoundError, version

from bench.errors import RequestError
from bench.verbs import Output, run_options
from bench.verbs.options import whole


def configure(parser: argparse.ArgumentParser) -> None:
    """The run and the port."""
    parser.add_argument("run", metavar="RUN", help=run_options.RUN)
    parser.add_argument("--port", type=whole(0, 65535), default=7860, help="port (7860); 0 for a free one")
    run_on = "do not end an answer where it begins another question"
    parser.add_argument("--run-on", action="store_true", help=run_on)
    run_options.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """Show the page until an interrupt. Raises `RequestError`, `RecordError` before anything is loaded."""
    try:
        version("gradio")
    except PackageNotFoundError:
        raise RequestError("bench chat: gradio is not installed; pip install 'bench-sft[chat]'") from None
    stored = run_options.stored(args.run, args)
    port = free_port(args.port)
    run_options.prepare(stored)
    from bench.serve.engine import Engine  # here: they load torch
    from bench.serve.pages import chat
    from bench.serve.stops import stops_of

    engine = Engine.load(stored, args.base)
    page = chat.page(engine, () if args.run_on else stops_of(engine.run.template))
    address = chat.launch(page, port)
    print(f"bench: {engine.id} at {address} (interrupt to end)", file=sys.stderr, flush=True)
    try:
        wait()
    except KeyboardInterrupt:
        page.close(verbose=False)
    return Output("", {"run": engine.id, "address": address})


def wait() -> None:
    """Do nothing until an interrupt."""
    threading.Event().wait()


def free_port(port: int) -> int:
    """The port, if nobody has it, or a free one for 0. Raises `RequestError`."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RequestError(f"--port {port}: {error.strerror}; choose another --port") from None
        return int(probe.getsockname()[1])
