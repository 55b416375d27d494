"""Arms of a run: the untuned and the tuned model answer with training rows and passages in the context.

The index holds the training examples that the contract selects, all of them: the budget may let a model see
fewer. No test example is among them, and that is checked here once more. Where the data was made from
passages it holds these too, all of them: whoever retrieves has the documents, and the passage that answers is
there to be found. Of text only the passages are indexed, what is trained on among them.

Both arms read the same prompts, so `retrieved` against the untuned row is what retrieval brings, and `both`
against the tuned row what it brings on top of tuning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.data.prepare import Selection
from bench.errors import DataError
from bench.retrieval.contexts import Filled, filled
from bench.retrieval.dense import DenseIndex, check_same, is_dense
from bench.retrieval.embedding import embedding_of, shipped
from bench.retrieval.index import RowIndex, engine
from bench.retrieval.recall import Searched, recall
from bench.run.encode import encode_prompt, room_for_prompt
from bench.run.identity import Run
from bench.spec import Example, Retrieval
from bench.store.record import Retrieved

#: No prompt is longer, so none is cut.
_ANY_LENGTH = 1 << 40


@dataclass(frozen=True)
class Arms:
    """What the arms of a run read: a prompt for each test question, and what it took to make them."""

    names: tuple[str, ...]
    prompts: tuple[list[int], ...]
    contexts: tuple[Filled, ...]
    #: For the record.
    facts: Retrieved


def arms_of(
    run: Run, tokenizer: Any, selection: Selection, plain: Sequence[list[int]], embedding: Path | None = None
) -> Arms | None:
    """The arms that a run's contract asks for; `plain` are the prompts without retrieval.

    `embedding` is the folder of a dense retriever's model. Raises `DataError` where a test example stands
    among the training examples, or the model is not the contract's.
    """
    asked = run.contract.retrieval
    if asked is None:
        return None
    check_apart(selection.train, selection.eval)
    make = _maker(asked, embedding)
    begin = time.perf_counter()
    index = make(indexed_rows(selection))
    indexed = time.perf_counter()
    found = [index.search(example.question, asked.rows) for example in selection.eval]
    searched = time.perf_counter()
    room = room_for_prompt(run.contract.max_length, run.contract.decoding, run.model.objective)

    def encoded(example: Example, length: int) -> list[int]:
        contract = run.contract
        return encode_prompt(example, tokenizer, run.template, length, contract.decoding, run.model.objective)

    contexts = [
        filled(example, [index.rows[place] for place in places], room, lambda e: len(encoded(e, _ANY_LENGTH)))
        for example, places in zip(selection.eval, found, strict=True)
    ]
    prompts = [encoded(context.example, run.contract.max_length) for context in contexts]
    quality = recall(index, selection.eval, found)
    facts = Retrieved(
        index_rows=sum(not row.is_text for row in index.rows),
        index_passages=sum(row.is_text for row in index.rows),
        index_seconds=round(indexed - begin, 4),
        search_seconds=round(searched - indexed, 4),
        recall=quality.value,
        recall_questions=quality.questions,
        recall_passages=quality.by_passage,
        rows_in_context=fmean(len(context.rows) for context in contexts),
        context_tokens=fmean(
            len(with_rows) - len(without) for with_rows, without in zip(prompts, plain, strict=True)
        ),
        short=sum(context.short for context in contexts),
        nothing_found=sum(not places for places in found),
    )
    return Arms(asked.arms, tuple(prompts), tuple(contexts), facts)


def _maker(asked: Retrieval, folder: Path | None) -> Callable[[Sequence[Example]], Searched]:
    """What makes the index that a contract asks for; loading a library or a model is no part of its price."""
    if not is_dense(asked):
        engine()
        return RowIndex
    embedding = embedding_of(folder or shipped())
    check_same(asked, embedding)
    _ = embedding.model
    return lambda rows: DenseIndex(rows, embedding)


def indexed_rows(selection: Selection) -> tuple[Example, ...]:
    """What is searched: the training rows, then the passages."""
    rows = () if any(example.is_text for example in selection.train) else selection.train
    return (*rows, *selection.passages)


def check_apart(train: Sequence[Example], test: Sequence[Example]) -> None:
    """Raise `DataError` where an index of `train` would hold a test example or a paraphrase of one."""
    ids = {example.id for example in test}
    groups = {example.group for example in test if example.group}
    for example in train:
        if example.id in ids or (example.group and example.group in groups):
            raise DataError(
                f"training example '{example.id}' is, or paraphrases, a test example; nothing was indexed"
            )
