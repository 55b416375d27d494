"""Which examples count as paraphrases of each other, and whether a record still says so.

Groups are no part of a question, so the digest of the test set does not hold them; but every interval
resamples by group. A record's groups are held against the data set where it has been prepared on this
machine, and against the other records that were scored on the same examples. Of records that disagree those
with the groups of most count, of as many the one that finished first.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

from bench.cache import cache_root
from bench.errors import Unreadable
from bench.files import LARGEST, json_value
from bench.spec import DataRef
from bench.store.record import Record


def groups_digest(ids: Sequence[str], groups: Sequence[str]) -> str:
    """Stands for the groups of some examples, whatever their order."""
    pairs = sorted(zip(ids, groups, strict=True))
    return hashlib.sha256("\0".join(chain.from_iterable(pairs)).encode("utf-8", "surrogatepass")).hexdigest()


def prepared_file(data: DataRef) -> Path | None:
    """The examples of a data set as `bench.data.prepare` keeps them; none where it was not prepared here."""
    folder = cache_root() / "data"
    return max(
        folder.glob(f"{data.name}-{data.digest[:16]}-*.json"), default=None, key=lambda file: file.name
    )


def changed_groups(record: Record, ids: Sequence[str], groups: Sequence[str], where: str) -> Iterator[str]:
    """The first example that has another group than its data set gives it."""
    file = prepared_file(record.run.contract.eval)
    known = _groups(file) if file else {}
    for id, group in zip(ids, groups, strict=True):
        if id in known and known[id] != group:
            name = record.run.contract.eval.name
            yield f"{where}: the group of example '{id}' is '{group}', data set '{name}' says '{known[id]}'"
            return


def at_odds(records: Mapping[str, tuple[Record, str]]) -> dict[str, str]:
    """Run id -> why, for records whose groups (by digest) are not those of others with the same examples."""
    alike: dict[tuple[str, str], list[tuple[Record, str]]] = defaultdict(list)
    for record, groups in records.values():
        alike[record.run.contract.eval.digest, record.data.eval_digest].append((record, groups))
    wrong: dict[str, str] = {}
    for members in alike.values():
        counts = Counter(groups for _, groups in members)
        if len(counts) < 2:
            continue
        first = min(
            members, key=lambda member: (-counts[member[1]], member[0].provenance.finished, member[0].id)
        )
        for record, groups in members:
            if groups != first[1]:
                wrong[record.id] = (
                    f"its groups of paraphrases are not those of {first[0].id}, which was scored on the same "
                    "examples; run it again"
                )
    return wrong


@lru_cache(maxsize=8)
def _groups(file: Path) -> dict[str, str]:
    try:
        content = json_value(file, LARGEST)
        return {one["id"]: one["group"] for part in ("validation", "test") for one in content[part]}
    except (Unreadable, TypeError, KeyError):  # damaged since; preparation makes it anew
        return {}
