"""`bench serve RUN ...`: runs behind an HTTP API.

Only this machine reaches it unless `--host` says otherwise, and then a token is demanded. The first run
answers plain questions; all are models of the OpenAI-compatible part.
"""

from __future__ import annotations

import argparse
import os
from importlib.metadata import PackageNotFoundError, version

from bench.errors import RequestError
from bench.verbs import Output, run_options
from bench.verbs.options import seconds, whole

NEEDED = ("fastapi", "uvicorn", "prometheus_client")
#: Where the token may stand, so that it need not be on the command line.
TOKEN = "BENCH_TOKEN"
SHORTEST_TOKEN = 16


def configure(parser: argparse.ArgumentParser) -> None:
    """The runs, the address and the limits."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help=run_options.RUN)
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address (127.0.0.1: this machine only)")
    where.add_argument("--port", type=whole(0, 65535), default=8000, help="port (8000); 0 for a free one")
    where.add_argument(
        "--token", help=f"demand it of every client (or set {TOKEN}); {SHORTEST_TOKEN} characters"
    )
    where.add_argument("--no-auth", action="store_true", help="serve other machines without a token")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--batch", type=whole(1, 1024), default=32, metavar="N", help="answered together (32)"
    )
    limits.add_argument(
        "--waiting", type=whole(1, 100_000), default=256, metavar="N", help="then 429 is answered (256)"
    )
    limits.add_argument(
        "--time-limit", type=seconds, default=120.0, metavar="SECONDS", help="an answer (120)"
    )
    limits.add_argument("--threads", type=whole(1), metavar="N", help="of the processor (default: the run's)")
    run_options.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """Serve until a signal. Raises `RequestError`, `RecordError` before anything is served."""
    for name in NEEDED:
        try:
            version(name)
        except PackageNotFoundError:
            raise RequestError(
                f"bench serve: {name} is not installed; pip install 'bench-sft[serve]'"
            ) from None
    stored = [run_options.stored(name, args) for name in args.runs]
    if len({run.record.id for run in stored}) < len(stored):
        raise RequestError("bench serve: a run is named twice; name each once")
    from bench.serve.http import listen

    address = listen.Address(args.host, args.port)
    token = _token(args, address.is_loopback)
    with listen.bind(address) as bound:
        run_options.prepare(*stored)
        from bench.serve.engine import Engine  # here: they load torch
        from bench.serve.http import app
        from bench.serve.http.desk import Desk
        from bench.serve.http.metrics import Metrics
        from bench.serve.queue import Queue

        engines = [Engine.load(stored[0], args.base, args.threads or stored[0].record.provenance.threads)]
        engines += [engines[0].beside(run, args.base) for run in stored[1:]]
        metrics = Metrics()
        queue = Queue(
            {engine.id: engine for engine in engines},
            args.batch,
            args.waiting,
            on_batch=metrics.batches.observe,
        )
        metrics.wait_is(lambda: len(queue))
        desk = Desk(engines, queue, metrics, args.time_limit)
        hosts = listen.LOOPBACK if address.is_loopback else None
        names = [engine.id for engine in engines]
        listen.listen(app.create(desk, token, hosts), bound, names, args.time_limit)
    return Output("", {"served": names})


def _token(args: argparse.Namespace, is_loopback: bool) -> str | None:
    """The token to demand. Raises `RequestError` where other machines would need none."""
    token: str | None = args.token or os.environ.get(TOKEN) or None
    if token is not None and args.no_auth:
        raise RequestError("bench serve: --token and --no-auth exclude each other")
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii()):
        raise RequestError(f"--token: at least {SHORTEST_TOKEN} ASCII characters")
    if token is None and not is_loopback and not args.no_auth:
        raise RequestError(
            f"--host {args.host} can be reached from other machines; give --token, or say --no-auth"
        )
    return token
