"""What the twins read: the training part of databricks-dolly-15k, as questions and answers.

Owns three decisions. The split is `bench.data.prepare`'s own, so no test question of Dolly and
no near duplicate of one is ever read in pretraining. A document is exactly what tuning shows a
model later (template, answer, end token). And since a model this small must find out from few
tokens that answers take up words of their question, answers that do so come more often, and
some rows are copying drills that hold no language at all; the model cards say both.

Not here: how often a model steps (`pretrain`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from bench import prompt, registry
from bench.data import prepare, sources
from bench.spec import Example

TEMPLATE = "qa"
CONTEXT = 512
SHORT = 256

#: Weight in the loss of a prompt's token; an answer's token weighs 1.
PROMPT_WEIGHT = 0.5
#: A restating document is read so many times an epoch, any other once.
RESTATING_COPIES = 3
#: Share of the question's long words that must come back in an answer that restates it.
RESTATING_SHARE = 0.5
#: Validation documents on which losses are measured: those of the smallest hashes.
VALIDATION = 192
#: The first so many of these are enough to tell whether weights still mean the same.
VERIFIED = 64


@dataclass(frozen=True)
class Corpus:
    """Training and validation examples, in the order of the source."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]


@dataclass(frozen=True)
class Document:
    """One example in tokens: `ids` begin with bos where the tokenizer adds one, and end with eos."""

    ids: tuple[int, ...]
    #: How many of `ids` belong to the prompt.
    cut: int
    restating: bool


#: Token ids, and for each the weight of predicting it (0: not predicted).
Row = tuple[list[int], list[float]]


def load(data: Path) -> Corpus:
    """The parts of a local copy of databricks-dolly-15k (JSONL)."""
    prepared = prepare.prepare(sources.from_file(registry.find_dataset("dolly"), data))
    validation = sorted(prepared.validation, key=lambda example: prepare.bucket(example.id))
    return Corpus(prepared.train, tuple(validation[:VALIDATION]))


def text(example: Example) -> str:
    """Prompt and answer, as the tokenizers are trained on them."""
    return prompt.render(example, TEMPLATE) + example.answers[0]


def restates(example: Example) -> bool:
    """Whether a short answer takes up at least half of its question's words of four letters or more.

    Never where a context is given: such an answer mostly takes up that, at twice the tokens.
    """
    if example.context:
        return False
    asked_words = set(re.findall(r"\w{4,}", example.question.lower()))
    answer = example.answers[0].lower()
    shared = sum(word in answer for word in asked_words)
    return bool(asked_words) and shared >= RESTATING_SHARE * len(asked_words) and len(answer.split()) <= 100


def document(example: Example, tokenizer: PreTrainedTokenizerBase) -> Document | None:
    """An example in tokens, its context cut at the end so that all fits; none where nothing would."""
    end = tokenizer.eos_token_id
    for _ in range(4):
        question = prompt.render(example, TEMPLATE)
        whole = tokenizer(question + example.answers[0], add_special_tokens=True)["input_ids"]
        cut = len(tokenizer(question, add_special_tokens=True)["input_ids"])
        if whole[-1] != end:  # BART's tokenizer ends every text by itself
            whole = [*whole, end]
        else:
            cut -= 1
        excess = len(whole) - CONTEXT
        if excess <= 0:
            return Document(tuple(whole), cut, restates(example))
        keep = len(example.context) - 6 * excess
        if keep <= 0:
            return None
        shorter = example.context[:keep]
        example = Example(example.id, example.question, example.answers, shorter, example.group)
    return None


def documents(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Document]:
    """All examples that fit, in their order."""
    encoded = (document(example, tokenizer) for example in examples)
    return [item for item in encoded if item is not None]


def weighted(item: Document) -> Row:
    """A document as a row: prompts weigh less than answers, and nothing predicts the first token."""
    answer = len(item.ids) - item.cut
    return list(item.ids), [0.0] + [PROMPT_WEIGHT] * (item.cut - 1) + [1.0] * answer


def epoch(items: Sequence[Document], chance: random.Random) -> list[Document]:
    """One shuffled pass, in which a restating document stands several times."""
    once = [item for item in items for _ in range(RESTATING_COPIES if item.restating else 1)]
    chance.shuffle(once)
    return once


def rows(items: Sequence[Document], chance: random.Random) -> Iterator[Row]:
    """Whole documents packed into rows of 256, or of 512 where a long one needs it; without end.

    Every row starts with a document's start, as a prompt does, and none is cut, so positions up
    to 512 are all in use. A row's rest is filled by the first of the next 40 documents that fits;
    what stays free is padded with weight 0.
    """
    while True:
        waiting = epoch(items, chance)[::-1]
        while waiting:
            ids, weights = weighted(waiting.pop())
            width = SHORT if len(ids) <= SHORT else CONTEXT
            tried = 0
            while tried < min(40, len(waiting)) and width - len(ids) > 12:
                tried += 1
                if len(waiting[-tried].ids) <= width - len(ids):
                    more = weighted(waiting.pop(-tried))
                    ids, weights, tried = ids + more[0], weights + more[1], tried - 1
            free = width - len(ids)
            yield ids + [ids[-1]] * free, weights + [0.0] * free


def drill(items: Sequence[Document], chance: random.Random) -> Row:
    """A row of 256 in which only copying helps: a jumble of tokens, then spans of it over and over."""
    base = jumble(items, chance, 24, 64)
    more, known = spans(base, SHORT - len(base), chance)
    return base + more, [0.0] * len(base) + known


def jumble(items: Sequence[Document], chance: random.Random, least: int, most: int) -> list[int]:
    """Tokens drawn from all documents, one by one: there is no language in them to learn."""
    return [chance.choice(chance.choice(items).ids) for _ in range(chance.randint(least, most))]


def spans(base: Sequence[int], length: int, chance: random.Random) -> tuple[list[int], list[float]]:
    """Spans of 4 to 12 tokens out of a jumble; a span's first token cannot be known and weighs 0."""
    ids: list[int] = []
    weights: list[float] = []
    while len(ids) < length:
        start = chance.randrange(len(base) - 4)
        span = base[start : start + chance.randint(4, 12)]
        ids += span
        weights += [0.0] + [1.0] * (len(span) - 1)
    return ids[:length], weights[:length]
