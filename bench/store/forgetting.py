"""What a model has forgotten: its loss on a fixed text before and after tuning, in `forgetting.json`.

It is measured after a record was sealed, so like added metrics it is a file of its own, which carries the
digests of the weights that were measured and of itself. There is a value for each paragraph of the text, in
nats a token of the model, and the mean is over paragraphs. Models of other tokenizers have other tokens:
the change is compared between them, never the loss.
"""

from __future__ import annotations

from math import isfinite

from bench.digest import digest
from bench.errors import RecordError
from bench.store import sealed
from bench.store.ledger import Stored

FILE = "forgetting.json"


class Forgetting(sealed.Sealed):
    """The losses of one run on the paragraphs of one text."""

    #: Digest over the files of the weights.
    weights: str
    #: The column's name, with the digest of the text.
    metric: str
    before: list[float]
    after: list[float]


def weights_digest(stored: Stored) -> str:
    """What stands for the weights of a record."""
    return digest(stored.record.artifacts)


def measured(stored: Stored) -> Forgetting | None:
    """What was measured of a record; none where nothing was.

    Raises `RecordError` where the file was edited, or is of other weights than the record's.
    """
    file = stored.folder / FILE
    content = sealed.read(file, Forgetting, "a measurement of forgetting")
    if content is None:
        return None
    if (content.record, content.weights) != (stored.record.id, weights_digest(stored)):
        raise RecordError(f"{file}: is of other weights than this record's; {sealed.AGAIN}")
    losses = content.before + content.after
    if not content.before or len(content.before) != len(content.after) or not all(map(isfinite, losses)):
        raise RecordError(f"{file}: does not hold two losses of every paragraph; {sealed.AGAIN}")
    return content


def keep(stored: Stored, made: Forgetting) -> None:
    """Put a measurement beside its record, in place of an earlier one."""
    sealed.write(stored.folder / FILE, made)
