"""What a model has forgotten: its loss on a fixed text before and after tuning, in `forgetting.json`.

It is measured after a record was sealed, so like added metrics it is a file of its own, which carries the
digests of the weights that were measured and of itself. There is a value for each paragraph of the text, in
nats a token of the model, and the mean is over paragraphs. Models of other tokenizers have other tokens:
the change is compared between them, never the loss.
"""

from __future__ import annotations

import json
import os
from math import isfinite

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from bench import files
from bench.digest import digest
from bench.errors import RecordError, Unreadable
from bench.store.ledger import Stored

FILE = "forgetting.json"
FORMAT = 1


class Forgetting(BaseModel):
    """The losses of one run on the paragraphs of one text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    record: str
    #: Digest over the files of the weights.
    weights: str
    #: The column's name, with the digest of the text.
    metric: str
    before: list[float]
    after: list[float]
    digest: str = ""

    @property
    def own_digest(self) -> str:
        """The digest that a whole file carries."""
        return digest(self.model_dump(mode="json", exclude={"digest"}))


def weights_digest(stored: Stored) -> str:
    """What stands for the weights of a record."""
    return digest(stored.record.artifacts)


def measured(stored: Stored) -> Forgetting | None:
    """What was measured of a record; none where nothing was.

    Raises `RecordError` where the file was edited, or is of other weights than the record's.
    """
    file = stored.folder / FILE
    again = "remove it and run bench score again"
    try:
        content = Forgetting.model_validate(orjson.loads(files.content(file)))
    except Unreadable as error:
        if error.missing:
            return None
        raise RecordError(str(error)) from None
    except (ValueError, ValidationError):
        raise RecordError(f"{file}: is not a measurement of forgetting; {again}") from None
    if content.format != FORMAT or content.digest != content.own_digest:
        raise RecordError(
            f"{file}: does not match its digest; edited, cut short or of a later program; {again}"
        )
    if (content.record, content.weights) != (stored.record.id, weights_digest(stored)):
        raise RecordError(f"{file}: is of other weights than this record's; {again}")
    losses = content.before + content.after
    if not content.before or len(content.before) != len(content.after) or not all(map(isfinite, losses)):
        raise RecordError(f"{file}: does not hold two losses of every paragraph; {again}")
    return content


def keep(stored: Stored, made: Forgetting) -> None:
    """Put a measurement beside its record, in place of an earlier one."""
    sealed = made.model_copy(update={"digest": made.own_digest})
    file = stored.folder / FILE
    fresh = file.with_suffix(f".{os.getpid()}.tmp")
    fresh.write_text(json.dumps(sealed.model_dump(mode="json")) + "\n", encoding="utf-8")
    fresh.replace(file)
