"""Whether the shipped twins are what their cards say: digests, loading, validation loss.

A digest tells that a file is the one that was committed; the loss tells that the weights still
mean the same under the installed versions of torch and transformers. The second needs the data
and takes seconds, so it is done where a copy of databricks-dolly-15k is given, and on the first 64
of the validation documents only: the card tells the loss over these too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.digest import file_digest
from bench.twins import architectures, build, card, corpus, loss

#: Nats a token by which a loss may differ from its card: other kernels sum in another order.
TOLERANCE = 0.01


@dataclass(frozen=True)
class CheckedFile:
    """One thing that is not as the card says."""

    family: str
    #: The file, or "model".
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.family}/{self.where}: {self.what}"


def verify(root: Path, data: Path | None = None) -> list[CheckedFile]:
    """Everything that is wrong with the twins under `root`; an empty list where all is well.

    `data` is a local copy of databricks-dolly-15k; without it no loss is compared. A folder whose
    files fail their digests is not loaded. Raises `DataError` where `data` cannot be read.
    """
    texts = corpus.load(data) if data is not None else None
    findings: list[CheckedFile] = []
    for family in architectures.FAMILIES:
        problems = list(_files(family, root / family))
        findings += problems or _model(family, root / family, texts)
    return findings


def _files(family: str, folder: Path) -> Iterator[CheckedFile]:
    try:
        facts = card.read(folder)
        expected = dict(facts["sha256"])
    except FileNotFoundError:
        yield CheckedFile(family, "card.json", "is missing")
        return
    except (ValueError, KeyError, TypeError):
        yield CheckedFile(family, "card.json", "cannot be read as a twin's card")
        return
    if facts.get("final") is not True:
        yield CheckedFile(family, "card.json", "says that pretraining was not finished")
    present = {file.name for file in folder.iterdir()} - {"card.json"}
    for name in sorted(present - expected.keys()):
        yield CheckedFile(family, name, "is not named in card.json")
    for name, digest in expected.items():
        if name not in present:
            yield CheckedFile(family, name, "is missing")
        elif file_digest(folder / name) != digest:
            yield CheckedFile(family, name, "differs from its digest in card.json")


def _model(family: str, folder: Path, texts: corpus.Corpus | None) -> list[CheckedFile]:
    try:
        model, tokenizer = build.load(folder), build.tokenizer_of(folder)
    except Exception as error:  # whatever transformers raises is the finding
        return [CheckedFile(family, "model", f"does not load: {type(error).__name__}: {error}")]
    if texts is None:
        return []
    facts = card.read(folder)
    recorded = facts["verified_loss"]
    documents = corpus.documents(texts.validation, tokenizer)[: facts["verified_documents"]]
    loss_now = loss.validation(model, documents)["all"]
    if abs(loss_now - recorded) <= TOLERANCE:
        return []
    return [CheckedFile(family, "model", f"validation loss {loss_now:.4f}, its card says {recorded:.4f}")]
