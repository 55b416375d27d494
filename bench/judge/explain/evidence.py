"""What two records show of a change beside the scores: losses, weights, texts, lengths, circumstances.

None of it enters the split of `explain`; it is what a reader would look up next.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import RecordError
from bench.judge.changes import differences
from bench.judge.pairing import shown
from bench.store.ledger import Stored

ARROW = "\N{RIGHTWARDS ARROW}"


def evidence(a: Stored, b: Stored) -> Iterator[str]:
    """One sentence for each fact, most telling first."""
    yield from _weights(a, b)
    yield from _losses(a, b)
    yield from _texts(a, b)
    if a.record.run.seed != b.record.run.seed:
        yield f"seed: {a.record.run.seed} {ARROW} {b.record.run.seed}, so order and initial adapter differ"
    contract = a.record.run.contract.differences(b.record.run.contract)
    if contract:
        parts = (f"{what} {shown(x)} {ARROW} {shown(y)}" for what, (x, y) in contract.items())
        yield f"contract: {', '.join(parts)}"
    changed = differences(a.record, b.record)
    parts = (f"{what} {x} {ARROW} {y}" for what, (x, y) in changed.items())
    other = a.record.run.seed != b.record.run.seed or bool(contract)
    nothing = f"nothing {'else ' * other}that is recorded differs"
    yield f"changed: {', '.join(parts)}" if changed else nothing


def same_weights(a: Stored, b: Stored) -> bool | None:
    """Whether both left the same weights, by digest; none where one left none."""
    left, right = _weight_files(a), _weight_files(b)
    return left == right if left and right else None


def written(stored: Stored, row: str) -> dict[str, str]:
    """Example id -> what a row ("tuned", "base") wrote; empty where the record's texts cannot be read."""
    try:
        return {line["id"]: line[row] for line in stored.completions}
    except (RecordError, KeyError):
        return {}


def _weight_files(stored: Stored) -> dict[str, str]:
    """Without configuration files, which name the versions that wrote them."""
    files = stored.record.artifacts.items()
    return {name: digest for name, digest in files if name.endswith((".safetensors", ".bin"))}


def _weights(a: Stored, b: Stored) -> Iterator[str]:
    same = same_weights(a, b)
    if same is not None:
        yield f"weights: {'the same' if same else 'different'} by digest"


def _losses(a: Stored, b: Stored) -> Iterator[str]:
    before, after = a.record.final_loss, b.record.final_loss
    if before is None or after is None:
        return
    yield f"final training loss {before:.4f} {ARROW} {after:.4f}"
    try:
        left, right = (
            {row["step"]: row["loss"] for row in stored.curve if "loss" in row} for stored in (a, b)
        )
    except (RecordError, KeyError):
        return
    common = sorted(left.keys() & right.keys())
    if common:
        gap = max(abs(left[step] - right[step]) for step in common)
        same = "are the same" if gap == 0 else f"differ by at most {gap:.4f}"
        yield f"training curves {same} over {len(common)} logged steps"


def _texts(a: Stored, b: Stored) -> Iterator[str]:
    left, right = a.record.written.get("tuned"), b.record.written.get("tuned")
    if left and right:
        yield f"answers of {left.mean_words:.1f} {ARROW} {right.mean_words:.1f} words on average"
        if left.truncated != right.truncated:
            yield f"{left.truncated} {ARROW} {right.truncated} answers reached the limit of new tokens"
    before, after = written(a, "tuned"), written(b, "tuned")
    common = before.keys() & after.keys()
    if common:
        same = sum(before[id] == after[id] for id in common)
        yield f"{same} of {len(common)} answers are the same to the letter"
