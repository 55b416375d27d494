"""`bench score RUN --metrics NAME,...`: more metrics of stored answers and weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import RecordError, RequestError
from bench.judge.beside.added import estimates
from bench.judge.compare import to_data
from bench.render.text.beside import added as added_text
from bench.serve.origin import saved_weights
from bench.store import forgetting as kept
from bench.store import metrics as added_metrics
from bench.store.ledger import Ledger, Stored, whole
from bench.store.lookup import find
from bench.verbs import Output
from bench.verbs.options import seconds

#: Requests after which progress is told again.
EVERY = 20
NAMED = "em, f1, chrf, length, runon, cut, similarity, judge, forgetting"


def configure(parser: argparse.ArgumentParser) -> None:
    """Which runs, which metrics, and what some of them need."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's id, its beginning, a model (all its runs), or: all"
    )
    parser.add_argument("--metrics", required=True, metavar="NAME,...", help=NAMED)
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="folder of the records (reports)"
    )
    judge = parser.add_argument_group("judge, a model that is asked for verdicts")
    judge.add_argument("--endpoint", metavar="URL", help="OpenAI-compatible, as in https://HOST/v1")
    judge.add_argument("--model", metavar="M", help="the endpoint's name of the model")
    judge.add_argument("--timeout", type=seconds, default=120.0, metavar="S", help="of a request (120)")
    judge.add_argument(
        "--key", default="OPENAI_API_KEY", metavar="VARIABLE", help="of the environment (OPENAI_API_KEY)"
    )
    similarity = parser.add_argument_group("similarity")
    similarity.add_argument("--embedding", type=Path, metavar="FOLDER", help="a sentence-transformers model")
    forgetting = parser.add_argument_group("forgetting, from stored weights")
    forgetting.add_argument("--base", type=Path, metavar="PATH", help="where a local checkpoint lies")


def execute(args: argparse.Namespace) -> Output:
    """Score, keep beside the records, and show. Raises `UnknownName`, `RequestError`, `RecordError`."""
    from bench.metrics import catalogue, forgetting  # here: `bench --help` needs none of it

    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in args.metrics.split(",")))))
    asked = _asked(args, names)
    catalogue.check(names, asked)
    if args.base is not None and forgetting.NAME not in names:
        raise RequestError("--base is of the metric 'forgetting'; name it in --metrics")
    of_answers = [name for name in names if name != forgetting.NAME]
    ledger = Ledger(args.out)
    runs = list({run.record.id: run for name in args.runs for run in _runs(name, ledger)}.values())
    measurable, lines = _measurable(runs) if forgetting.NAME in names else ([], [])
    data = []
    identities = dict[str, None]()
    for stored in runs:
        lost = forgetting.measure(stored, args.base) if stored in measurable else None
        made = catalogue.score(stored, of_answers, asked)
        try:
            if made:
                added_metrics.add(stored, made)
            if lost:
                kept.keep(stored, lost)
        except OSError as error:
            raise RequestError(f"{stored.folder}: cannot be written ({error.strerror})") from None
        new = [*made, *([lost.metric] if lost else [])]
        found = [estimate for estimate in estimates([stored]) if estimate.metric in new]
        identities.update(dict.fromkeys(new))
        lines += [stored.record.id, *added_text.table(found), ""]
        data.append({"id": stored.record.id, "metrics": [to_data(estimate) for estimate in found]})
    lines += added_text.identities(identities)
    written = [added_metrics.FILE] * bool(of_answers) + [kept.FILE] * (forgetting.NAME in names)
    lines.append(f"written: {' and '.join(written)} beside {len(runs)} record{'s' * (len(runs) != 1)}")
    requests = asked.judge.sent if asked.judge else 0
    if asked.judge:
        lines.append(f"{requests} requests to {args.model}; verdicts that were known cost none")
    return Output("\n".join(lines), {"runs": data, "requests": requests})


def _asked(args: argparse.Namespace, names: tuple[str, ...]) -> Any:
    """What the metrics need. Raises `RequestError` for options that belong together or to no metric."""
    from bench.metrics.catalogue import Instruments

    judge = similarity = None
    if bool(args.endpoint) != bool(args.model):
        raise RequestError("--endpoint and --model belong together")
    if args.endpoint and "judge" not in names:
        raise RequestError("--endpoint is of the metric 'judge'; name it in --metrics")
    if args.endpoint:
        from bench.curate.pairs.endpoint import endpoint_of
        from bench.metrics.judge import Judge

        judge = Judge(endpoint_of(args.endpoint, args.model, 1, args.key, args.timeout), _note)
    if args.embedding:
        from bench.metrics.similarity import similarity_of

        similarity = similarity_of(args.embedding)
    return Instruments(judge, similarity)


def _runs(name: str, ledger: Ledger) -> list[Stored]:
    """The runs of a name. Raises `RequestError` and its kinds."""
    held, messages = ledger.load()
    chosen = [stored for stored in held if name in ("all", stored.record.run.name)]
    if chosen:
        return chosen
    if name == "all":
        raise RecordError(messages[0]) if messages else RequestError(f"{ledger.runs}: holds no record")
    return [whole(find(name, ledger))]


def _measurable(runs: Sequence[Stored]) -> tuple[list[Stored], list[str]]:
    """The runs of which forgetting can be measured, and a line for each other one of several.

    Raises `RequestError` before anything is loaded, for weights that were not kept, and for a single run.
    """
    from bench.metrics import forgetting

    kept_runs, lines = [], []
    for stored in runs:
        if reason := forgetting.unfit(stored):
            if len(runs) == 1:
                raise RequestError(reason)
            lines.append(reason)
        else:
            saved_weights(stored)
            kept_runs.append(stored)
    return kept_runs, lines


def _note(sent: int) -> None:
    if sent == 1 or sent % EVERY == 0:
        print(f"verdict {sent} is asked for", file=sys.stderr, flush=True)
