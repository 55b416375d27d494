"""A file that is added beside a record after it was sealed, with a digest of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from bench import files
from bench.digest import digest
from bench.errors import RecordError, Unreadable

FORMAT = 1
AGAIN = "remove it and run bench score again"


class Sealed(BaseModel):
    """The content of such a file; every kind adds what it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    #: Id of the record.
    record: str
    digest: str = ""

    @property
    def own_digest(self) -> str:
        """The digest that a whole file carries."""
        return digest(self.model_dump(mode="json", exclude={"digest"}))


Content = TypeVar("Content", bound=Sealed)


def read(file: Path, kind: type[Content], what: str) -> Content | None:
    """The content of a file; none where there is no file.

    Raises `RecordError` where it is not `what`, or was edited. Whose it is, is for the caller to check.
    """
    try:
        content = kind.model_validate(orjson.loads(files.content(file)))
    except Unreadable as error:
        if error.missing:
            return None
        raise RecordError(str(error)) from None
    except (ValueError, ValidationError):
        raise RecordError(f"{file}: is not {what}; {AGAIN}") from None
    if content.format != FORMAT or content.digest != content.own_digest:
        raise RecordError(
            f"{file}: does not match its digest; edited, cut short or of a later program; {AGAIN}"
        )
    return content


def write(file: Path, content: Sealed) -> None:
    """Seal a content and put it in the place of an earlier file, in one step. Raises `OSError`."""
    whole = content.model_copy(update={"digest": content.own_digest})
    files.put(file, json.dumps(whole.model_dump(mode="json"), ensure_ascii=False) + "\n")
