"""From a word on the command line to one run's folder.

A word is a run's folder, its id, the beginning of one, or a model's name. A model may have many runs:
`newest` takes the one that finished last, without it the user is asked to name one.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from bench.errors import RecordError, RequestError, UnknownName
from bench.store.ledger import Ledger, Stored, whole
from bench.store.record import RECORD
from bench.store.sides import moment, trial_of

#: The file by which a folder is known that holds an exported run.
MANIFEST = "bench.json"


def find(name: str, ledger: Ledger, newest: bool = False) -> Path:
    """The folder of the run that a name stands for.

    With `newest` a model's name stands for its run that finished last, trials of other versions aside.
    Raises `UnknownName` with the nearest ids, and `RequestError` where several runs are meant.
    """
    if (Path(name) / RECORD).is_file():
        return Path(name).resolve()
    ids = sorted(folder.parent.name for folder in ledger.runs.glob("[!.]*/record.json"))
    if name in ids:
        return ledger.folder(name)
    of_model = [id for id in ids if _model(id) == name]
    if newest and of_model:
        return _newest(of_model, ledger)
    matching = of_model or [id for id in ids if id.startswith(name)]
    if not matching:
        raise UnknownName("run", name, _near(name, ids))
    if len(matching) > 1:
        shown = ", ".join(matching[:6]) + (f" and {len(matching) - 6} more" if len(matching) > 6 else "")
        raise RequestError(f"'{name}' stands for {len(matching)} runs; name one: {shown}")
    return ledger.runs / matching[0]


def find_newest(name: str, ledger: Ledger) -> Stored:
    """The run that a name stands for, its record whole. Raises what `find` and `whole` raise."""
    return whole(find(name, ledger, newest=True))


def _newest(ids: Sequence[str], ledger: Ledger) -> Path:
    stored, messages = ledger.load(ids)
    if not stored:
        raise RecordError(messages[0])
    own = [run for run in stored if not trial_of(run)] or stored
    return max(own, key=moment).folder


def _model(id: str) -> str:
    """The model of an id: all before scale, seed and digest."""
    return id.rsplit("-", 3)[0]


def _near(name: str, ids: Sequence[str]) -> Sequence[str]:
    """Few models and ids that may have been meant; thousands would be no help."""
    models = sorted({_model(id) for id in ids})
    return get_close_matches(name, [*models, *ids], n=6, cutoff=0.3) or models[:6]
