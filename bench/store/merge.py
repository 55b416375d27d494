"""Records of several folders become one folder, and nothing is lost on the way.

Decisions that this module owns:

- A record is taken only if it is whole (`bench.store.damage`). A damaged one is named and left where it lies.
- Nothing in the target is overwritten. Where two whole records have one id and different digests, the first
  keeps its place and the other is kept beside it, under `conflicts/<digest>/<id>`: a folder of records, so
  `bench compare` takes it as a side. A conflict says whether answers and scores are equal, as they are where
  two machines carried out one run, or not.
- A damaged record of the target gives way to a whole one, and is kept under `damaged/`.
- Only the files of a record are copied: links and other files are not, so a stranger's folder brings
  nothing along. Weights whose digest differs from the record's are left out and named.
- A failure is taken where the target holds neither its record nor a newer failure. Baselines are whole
  files that a name belongs to, and are left where they are.

The copy is made in the target's work folder, checked there, and renamed into place, so that an interrupted
merge leaves no half record and the same command goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.digest import file_digest
from bench.errors import RecordError, RequestError
from bench.store.damage import damage
from bench.store.forgetting import FILE as FORGETTING
from bench.store.ledger import Ledger, Stored, read
from bench.store.metrics import FILE as METRICS
from bench.store.record import CARD, COMPLETIONS, LOG, PARTS, RECORD, SCORES, Failure, Record, weights_folder
from bench.store.sides import moment

CONFLICTS, DAMAGED = "conflicts", "damaged"
#: Digits of a record's digest that name the folder of a conflict.
SHORT = 12


@dataclass(frozen=True)
class Conflict:
    """Two whole records of one run: the one that stays in its place, and the one beside it."""

    id: str
    #: Where the other record came from, and where it is kept.
    source: Path
    kept: Path
    #: Whether both hold the same answers and scores, so that only times and places differ.
    alike: bool
    #: Mean tuned ROUGE-L of the record in its place, and of the other.
    scores: tuple[float, float]


@dataclass
class Merged:
    """What a merge did; every record of every source is in one of the lists."""

    copied: list[str] = field(default_factory=list)
    #: Records that the target had already, to the last byte.
    held: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    #: One line for each record or weight file that was left out, and why.
    damaged: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], out: Path, weights: bool = True) -> Merged:
    """Copy the records of the source folders into `out`; sources are only read.

    Raises `RequestError` for a source that holds no records, or is the target.
    """
    target = Ledger(out)
    folders = [(source, _runs_of(source, target)) for source in sources]
    done = Merged()
    for source, runs in folders:
        for folder in sorted(path for path in runs.glob("[!.]*") if path.is_dir()):
            if runs == source and not (folder / RECORD).is_file():  # a folder with other things in it
                continue
            try:
                stored = _whole(folder)
            except RecordError as error:
                done.damaged.append(str(error))
            else:
                _take(stored, target, done, weights)
    for source, _ in folders:
        done.failures += _take_failures(Ledger(source), target)
    return done


def _runs_of(source: Path, target: Ledger) -> Path:
    """The folder of record folders in a source. Raises `RequestError`."""
    if not source.is_dir():
        raise RequestError(f"{source}: is no folder")
    runs = source / "runs" if (source / "runs").is_dir() else source
    if runs == source and not (any(source.glob(f"*/{RECORD}")) or Ledger(source).failures.is_dir()):
        raise RequestError(f"{source}: holds no records; expected runs/ in it, or folders with a {RECORD}")
    if runs.resolve() == target.runs.resolve():
        raise RequestError(f"{source}: is where the records go; name only the other folders")
    return runs


def _whole(folder: Path) -> Stored:
    """The record in a folder. Raises `RecordError` where it is damaged."""
    if folder.is_symlink():
        raise RecordError(f"{folder}: is a link, and links are not followed; name the folder itself")
    record = read(folder)
    for mistake in damage(record, folder):
        raise RecordError(mistake)
    return Stored(record, folder)


def _take(stored: Stored, target: Ledger, done: Merged, weights: bool) -> None:
    id = stored.record.id
    place = target.runs / id
    if not place.exists():
        _copy(stored, place, target, done, weights)
        done.copied.append(id)
        return
    try:
        present = _whole(place)
    except RecordError:
        aside = target.out / DAMAGED / f"{id}-{len(list((target.out / DAMAGED).glob(f'{id}-*')))}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        place.replace(aside)
        done.damaged.append(
            f"{place}: was damaged; moved to {aside}, its place has the copy of {stored.folder}"
        )
        _copy(stored, place, target, done, weights)
        done.copied.append(id)
        return
    if present.digest == stored.digest:
        done.held.append(id)
        return
    beside = target.out / CONFLICTS / stored.digest[:SHORT] / id
    if not beside.exists():
        _copy(stored, beside, target, done, weights)
    done.conflicts.append(_conflict(present, stored, beside))


def _conflict(present: Stored, other: Stored, kept: Path) -> Conflict:
    first, second = present.record, other.record
    return Conflict(
        id=first.id,
        source=other.folder,
        kept=kept,
        alike=all(first.files[name] == second.files[name] for name in (SCORES, COMPLETIONS)),
        scores=(first.scores["tuned"]["rougeL"].mean, second.scores["tuned"]["rougeL"].mean),
    )


def _copy(stored: Stored, place: Path, target: Ledger, done: Merged, weights: bool) -> None:
    """Copy a record's own files, check the copy, and rename it into place."""
    fresh = target.work / "merge" / stored.record.id
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in (RECORD, *PARTS, LOG, METRICS, FORGETTING):
        _copy_file(stored.folder / name, fresh / name)
    if weights:
        for name in _weights(stored.record, stored.folder, done):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            _copy_file(stored.folder / name, fresh / name)
    _whole(fresh)  # the source may have changed meanwhile, or the disk be full
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh.replace(place)
    (target.failures / f"{stored.record.id}.json").unlink(missing_ok=True)


def _weights(record: Record, folder: Path, done: Merged) -> Iterator[str]:
    """The names of the weights' files that are there and are the record's; deleted ones are no fault."""
    inside = weights_folder(record.run.recipe.adapter)
    for name, wanted in record.artifacts.items():
        parts = Path(name).parts
        if not parts or parts[0] != inside or ".." in parts:
            done.damaged.append(f"{folder}: names weights outside its folder ({name}); left out")
        elif _is_plain(folder, name):
            if file_digest(folder / name) == wanted:
                yield name
            else:
                done.damaged.append(f"{folder / name}: is not the file that the record names; left out")
    if _is_plain(folder, f"{inside}/{CARD}"):
        yield f"{inside}/{CARD}"


def _is_plain(folder: Path, name: str) -> bool:
    """Whether a name is a file in the folder itself, by no link."""
    file = folder / name
    return file.is_file() and file.resolve() == folder.resolve() / name


def _copy_file(source: Path, place: Path) -> None:
    if source.is_file() and not source.is_symlink():
        shutil.copy2(source, place)


def _take_failures(source: Ledger, target: Ledger) -> list[str]:
    held = {failure.id: failure for failure in target.failed()}
    taken = []
    for failure in _failures(source):
        older = held.get(failure.id)
        if target.finished(failure.id) or (older and moment(older) >= moment(failure)):
            continue
        target.fail(failure)
        held[failure.id] = failure
        taken.append(failure.id)
    return taken


def _failures(source: Ledger) -> Iterator[Failure]:
    """The failures of a source, which stays as it is: `Ledger.failed` would set damaged files aside."""
    for file in sorted(source.failures.glob("*.json")):
        try:
            failure = Failure.model_validate_json(file.read_bytes())
        except (OSError, ValueError):
            continue
        if failure.id == failure.run.id:  # it names the file that it is written to
            yield failure
