"""Rows become a split, deduplicated, leak-checked set of examples, with counts of all that went.

Decisions that this module owns:

- The split is by hash of the question's group, so paraphrases never straddle it, adding rows
  moves no old row, and no seed is involved.
- The test part never depends on the training part: where the two share a near duplicate, the
  training example goes. So two runs with other training data are scored on the same questions.
- A near duplicate is a pair whose question and context share 80% of their word pairs
  (Jaccard), or whose long answers are equal; or a question or long answer in another spelling, as
  `bench.data.leaks` decides.
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
from pathlib import Path

from bench.cache import cache_root, keep
from bench.data import layout, leaks, shape, sources
from bench.data.near import overlap
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
NEAR = 0.8
#: Answers of fewer words than this are equal by chance ("Paris", "Yes").
LONG_ANSWER = 8
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


@dataclass(frozen=True)
class Selection:
    """What one contract trains on and is scored on, in stable order."""

    train: tuple[Example, ...]
    eval: tuple[Example, ...]
    #: Validation examples of the data set that is scored, for the loss while training; may be empty.
    followed: tuple[Example, ...]
    counts: dict[str, int]
    #: Data set -> reason -> rows, of the data sets that this is taken from.
    prepared: dict[str, dict[str, int]]


def reference(spec: DatasetSpec) -> DataRef:
    """Name and digest of a data set, without reading its rows."""
    described = spec.model_dump(mode="json", exclude={"file", "hub", "revision", "licence", "attribution"})
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
    followed = tuple(first(evaluation.validation, FOLLOWED))
    kept: list[Example] = list(train.train)
    dropped: dict[str, int] = {}
    if train.ref != evaluation.ref:  # within one data set, preparation has removed them
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
        if not examples:
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


def _examples(spec: DatasetSpec) -> tuple[list[Example], Counter[str], layout.Layout]:
    """The examples, what became of every row, and which columns were read."""
    counts: Counter[str] = Counter()
    examples: list[Example] = []
    source = spec.file or spec.hub or spec.name
    rows = list(sources.rows(spec))
    columns = layout.layout(rows, spec, source)
    for number, row in enumerate(rows, start=1):
        counts["read"] += 1
        example = shape.to_example(row, spec, columns.columns, f"{source}: row {number}")
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
    folded = leaks.Folded()
    train, dropped = without_leaks(parts["train"], parts["test"] + parts["validation"], folded)
    validation, also = without_leaks(parts["validation"], parts["test"], folded)
    counts.update(dropped)
    counts.update(also)
    counts.update({"train": len(train), "validation": len(validation), "test": len(parts["test"])})
    return Prepared(
        ref, tuple(train), tuple(validation), tuple(parts["test"]), dict(counts), columns.in_words()
    )


def _part(example: Example, spec: DatasetSpec) -> str:
    place = bucket(example.group)
    if place < spec.test_fraction:
        return "test"
    return "validation" if place < spec.test_fraction + spec.validation_fraction else "train"


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


def without_leaks(
    candidates: Sequence[Example], held_out: Sequence[Example], folded: leaks.Folded | None = None
) -> tuple[list[Example], dict[str, int]]:
    """The candidates that are no exact or near duplicate of a held-out example, and the counts.

    `folded` keeps held-out texts as they are compared, for a second call with the same ones.
    """
    groups = {example.group for example in held_out}
    answers = {a for e in held_out for a in map(shape.fold, e.answers) if a.count(" ") >= LONG_ANSWER - 1}
    reasons = [_exact(example, groups, answers) for example in candidates]
    rest = [number for number, reason in enumerate(reasons) if not reason]
    others = overlap.WordPairs([_asked(example) for example in held_out], NEAR)
    for number, near in zip(rest, others.near([_asked(candidates[n]) for n in rest]), strict=True):
        reasons[number] = "near duplicate of the held-out part" if near else ""
    dropped = Counter(filter(None, reasons))
    kept = [example for example, reason in zip(candidates, reasons, strict=True) if not reason]
    respelled = leaks.HeldOut(held_out, folded).leaks(kept)
    dropped.update(leak.reason for leak in respelled.values())
    return [example for number, example in enumerate(kept) if number not in respelled], dict(dropped)


def _exact(example: Example, groups: set[str], answers: set[str]) -> str:
    """Why an example goes whose question or long answer is a held-out one, word for word; else ""."""
    if example.group in groups:
        return "group also in the held-out part"
    if any(shape.fold(answer) in answers for answer in example.answers):
        return "answer also in the held-out part"
    return ""


def _asked(example: Example) -> str:
    return shape.fold(f"{example.question} {example.context}")


def _load(file: Path, ref: DataRef) -> Prepared:
    raw = json_value(file, LARGEST)
    parts = {
        part: tuple(Example(**{**item, "answers": tuple(item["answers"])}) for item in raw[part])
        for part in ("train", "validation", "test")
    }
    return Prepared(ref=ref, counts=raw["counts"], columns=raw["columns"], **parts)
