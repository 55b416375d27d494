"""Rows become a split, deduplicated, leak-checked set of examples, with counts of all that went.

Decisions that this module owns:

- The split is by hash of the question's group, so paraphrases never straddle it, adding rows
  moves no old row, and no seed is involved.
- The test part never depends on the training part: where the two share a near duplicate, the
  training example goes. So two runs with other training data are scored on the same questions.
- What counts as a near duplicate is for `bench.data.near` to say; what of a text gives the evaluation
  away, for `bench.data.text`. A text has no test part: it is scored on another data set's questions.
- The validation part is never trained on. A handful of it follows a run's loss while it trains,
  and the whole of it is scored where a recipe is chosen (`--eval-split validation`), so that a recipe
  chosen there has been trained on exactly what it is trained on for the test questions.
- Prepared sets are cached under the digest of the spec, the source's content and `VERSION`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.cache import cache_root, keep
from bench.data import layout, leaks, shape, sources, text
from bench.data.near import without_leaks as without_leaks
from bench.digest import digest
from bench.errors import DataError, Unreadable
from bench.files import LARGEST, json_value
from bench.spec import Budget, DataRef, DatasetSpec, Example, Split

#: Raise when the same rows would be prepared into, or selected as, other examples.
VERSION = 3
#: Digests of version 2 whose data sets (course-qa) version 3 prepares alike: their records stay comparable.
UNCHANGED_SINCE_2 = frozenset({"c7e35920068bbcf00c2fe15eaec30a249c6e6c0cadbbf71fd2e7bd7e0a4b8f23"})
#: Raise when more rows are refused, so that no cache hands out what would be refused today.
READING = 2
SMALLEST_TEST = 20
#: Validation examples, those of the smallest hashes, on which a run's loss can be followed.
FOLLOWED = 32
#: What they are called where examples are counted.
FOLLOWING = "validation, to follow the loss"


@dataclass(frozen=True)
class Prepared:
    """Examples by part, and what became of every row that was read."""

    ref: DataRef
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    #: Reason -> rows: "read", "kept", and every reason for dropping.
    counts: dict[str, int]
    #: Which column was read as what, in words.
    columns: str

    @property
    def is_text(self) -> bool:
        """Whether these are passages to be trained on whole."""
        return any(part and part[0].is_text for part in (self.train, self.validation))


@dataclass(frozen=True)
class Selection:
    """What one contract trains on and is scored on, in stable order."""

    train: tuple[Example, ...]
    eval: tuple[Example, ...]
    #: Validation examples, for the loss while training: of the text that is trained on, else of the data set
    #: that is scored; may be empty.
    followed: tuple[Example, ...]
    counts: dict[str, int]
    #: Data set -> reason -> rows, of the data sets that this is taken from.
    prepared: dict[str, dict[str, int]]
    #: What arms retrieve beside the training rows, those that hold a test answer too; mostly nothing.
    passages: tuple[Example, ...] = ()


def reference(spec: DatasetSpec) -> DataRef:
    """Name and digest of a data set, without reading its rows."""
    elsewhere = {"file", "hub", "revision", "licence", "attribution", "passages"}
    described = spec.model_dump(mode="json", exclude=elsewhere)
    parts = [described, sources.identity(spec)]
    if spec.file is not None and (readings := layout.of_file(spec).readings):
        parts.append(readings)
    before = digest([2, *parts])
    return DataRef(
        name=spec.name, digest=before if before in UNCHANGED_SINCE_2 else digest([VERSION, *parts])
    )


def prepare(spec: DatasetSpec) -> Prepared:
    """A data set's examples, from the cache where they are there. Raises `DataError`."""
    ref = reference(spec)
    cached = cache_root() / "data" / f"{ref.name}-{ref.digest[:16]}-{READING}.json"
    with suppress(Unreadable, TypeError, KeyError, AttributeError):  # not prepared yet, or damaged since
        return _load(cached, ref)
    prepared = _prepare(spec, ref)
    keep(cached, json.dumps({**asdict(prepared), "ref": None}, ensure_ascii=False))
    return prepared


def select(
    train: Prepared, evaluation: Prepared, part: Split, limit: int | None, force: bool = False
) -> Selection:
    """Training and evaluation examples of a contract, with leaks removed from the training side.

    `limit` keeps the evaluation examples with the smallest hashes: a fixed, seedless subset.
    Raises `DataError` under `SMALLEST_TEST` evaluation examples, unless forced.
    """
    chosen = evaluation.test if part == "test" else evaluation.validation
    if limit is not None and len(chosen) > limit:
        keep = {example.id for example in first(chosen, limit)}
        chosen = tuple(example for example in chosen if example.id in keep)
    if len(chosen) < SMALLEST_TEST and not (force and chosen):
        remedy = "raise --test-fraction, or pass --force" if chosen else "raise --test-fraction, or add rows"
        raise DataError(
            f"data set '{evaluation.ref.name}': only {len(chosen)} {part} examples, under {SMALLEST_TEST} "
            f"no difference between models can be seen; {remedy}"
        )
    followed = tuple(first((train if train.is_text else evaluation).validation, FOLLOWED))
    kept: list[Example] = list(train.train)
    dropped: dict[str, int] = {}
    if train.is_text:  # by all held-out questions, so that neither limit nor part moves what is trained on
        kept, dropped = text.without_answers(train.train, evaluation.test + evaluation.validation)
    elif train.ref != evaluation.ref:  # within one data set, preparation has removed them
        kept, dropped = without_leaks(train.train, chosen + followed)
    if not kept:
        raise DataError(f"data set '{train.ref.name}': no training example is left after preparation")
    counts = {"train": len(kept), part: len(chosen), **dropped}
    if part != "validation":
        counts[FOLLOWING] = len(followed)
    prepared = {part.ref.name: part.counts for part in (train, evaluation)}
    held = {name: count for name, count in counts.items() if count}
    return Selection(tuple(kept), chosen, followed, held, prepared)


def check_parts(prepared: Prepared) -> None:
    """Raises `DataError` for a data set that leaves nothing to train on or nothing to score."""
    counts = prepared.counts
    for part, examples in (("training", prepared.train), ("test", prepared.test)):
        if not examples and not (prepared.is_text and part == "test"):
            raise DataError(
                f"data set '{prepared.ref.name}': no {part} example is left of {counts['read']} rows "
                f"({counts['kept']} of use, {_questions(prepared)} different questions); add rows, or "
                f"{'lower' if part == 'training' else 'raise'} --test-fraction"
            )


def _questions(prepared: Prepared) -> int:
    return len({e.group for part in (prepared.train, prepared.validation, prepared.test) for e in part})


def training_order(examples: Sequence[Example], budget: Budget, seed: int) -> list[Example]:
    """The examples that a budget sees, in order: whole epochs, each shuffled by the seed.

    The same for every model; length is exactly `budget.examples`.
    """
    order: list[Example] = []
    epoch = 0
    while len(order) < budget.examples:
        shuffled = list(examples)
        random.Random(f"{seed}:{epoch}").shuffle(shuffled)
        order += shuffled
        epoch += 1
    return order[: budget.examples]


def bucket(group: str) -> float:
    """Where in [0, 1) a group falls; the test part is the lowest stretch."""
    return int(hashlib.sha256(f"bench:{group}".encode()).hexdigest()[:8], 16) / 2**32


def first(examples: Sequence[Example], count: int | None) -> list[Example]:
    """The examples of the smallest hashes, `count` at most: a fixed, seedless subset."""
    return sorted(examples, key=lambda example: bucket(example.id))[:count]


def examples_of(spec: DatasetSpec) -> list[Example]:
    """The usable examples of a data set, each once. Raises `DataError`."""
    return _examples(spec)[0]


def passages(spec: DatasetSpec) -> DatasetSpec | None:
    """The passages that a data set was made from, as a text; a text is its own. None where it names none."""
    if spec.shape == "text":
        return spec
    if spec.passages is None:
        return None
    return DatasetSpec(name=spec.name, file=spec.passages, shape="text")


def _examples(spec: DatasetSpec) -> tuple[list[Example], Counter[str], layout.Layout]:
    """The examples, what became of every row, and which columns were read."""
    counts: Counter[str] = Counter()
    examples: list[Example] = []
    source = spec.file or spec.hub or spec.name
    rows = list(sources.rows(spec))
    columns = layout.layout(rows, spec, source)
    for number, row in enumerate(rows, start=1):
        counts["read"] += 1
        place = f"{source}: row {number}"
        if spec.shape == "text":
            example = text.to_passage(row, columns.columns, place)
        else:
            example = shape.to_example(row, spec, columns.columns, place)
        if isinstance(example, str):
            counts[example] += 1
        else:
            examples.append(example)
    examples = _deduplicated(examples, counts)
    if not examples:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "no rows"
        raise DataError(f"{source}: no usable example ({reasons})")
    counts["kept"] = len(examples)
    return examples, counts, columns


def split(examples: Iterable[Example], spec: DatasetSpec) -> dict[str, list[Example]]:
    """Part -> examples, before leaks are removed."""
    parts: dict[str, list[Example]] = {"test": [], "validation": [], "train": []}
    for example in examples:
        parts[_part(example, spec)].append(example)
    return parts


def _prepare(spec: DatasetSpec, ref: DataRef) -> Prepared:
    examples, counts, columns = _examples(spec)
    parts = split(examples, spec)
    apart = text.apart if spec.shape == "text" else partial(without_leaks, folded=leaks.Folded())
    train, dropped = apart(parts["train"], parts["test"] + parts["validation"])
    validation, also = apart(parts["validation"], parts["test"])
    counts.update(dropped)
    counts.update(also)
    counts.update({"train": len(train), "validation": len(validation), "test": len(parts["test"])})
    return Prepared(
        ref, tuple(train), tuple(validation), tuple(parts["test"]), dict(counts), columns.in_words()
    )


def _part(example: Example, spec: DatasetSpec) -> str:
    place = bucket(example.group)
    test = 0.0 if spec.shape == "text" else spec.test_fraction
    if place < test:
        return "test"
    return "validation" if place < test + spec.validation_fraction else "train"


def _deduplicated(examples: Iterable[Example], counts: Counter[str]) -> list[Example]:
    seen: set[tuple[str, ...]] = set()
    ids: Counter[str] = Counter()
    kept = []
    for example in examples:
        key = (shape.fold(example.question), shape.fold(example.context), *map(shape.fold, example.answers))
        if key in seen:
            counts["exact duplicate"] += 1
            continue
        seen.add(key)
        ids[example.id] += 1
        if ids[example.id] > 1:  # an id column that is not unique
            example = Example(**{**asdict(example), "id": f"{example.id}-{ids[example.id]}"})
        kept.append(example)
    return kept


def _load(file: Path, ref: DataRef) -> Prepared:
    raw = json_value(file, LARGEST)
    parts = {
        part: tuple(Example(**{**item, "answers": tuple(item["answers"])}) for item in raw[part])
        for part in ("train", "validation", "test")
    }
    return Prepared(ref=ref, counts=raw["counts"], columns=raw["columns"], **parts)
