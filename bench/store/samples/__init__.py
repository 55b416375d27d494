"""Per-sample scores that other evaluation harnesses logged: lm-evaluation-harness and inspect_ai.

Both sides of a comparison become `Samples`: for each task and metric a score for each document's id, with a
digest of the document where the log allows one, so that ids that stand for different documents are never
paired. The formats are read in `lines` and `logs`; nothing is imported from either harness.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import RequestError
from bench.files import is_folder
from bench.store.samples.lines import read_lines
from bench.store.samples.logs import read_log
from bench.store.samples.tables import Key, Sample, Samples

__all__ = ["Key", "Sample", "Samples", "read_samples"]

SUFFIXES = {".jsonl": read_lines, ".json": read_log, ".eval": read_log}
KINDS = "samples_*.jsonl of lm-evaluation-harness or its folder, .json or .eval of inspect_ai"


def read_samples(name: str) -> Samples:
    """The samples in a file or folder. Raises `Unreadable`, `RequestError`."""
    path = Path(name)
    if is_folder(path):
        return read_lines(path)
    reader = SUFFIXES.get(path.suffix.lower())
    if reader is None:
        raise RequestError(f"{name}: holds no samples that are known; expected {KINDS}")
    return reader(path)
