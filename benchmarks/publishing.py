"""The driver's own work without any training: runs that their workers finished are published and reported.

A finished run that waits to be published is made from a committed record, so a fault can be planted at every
operation of the driver in milliseconds. Nothing here may start a process: where a run would be carried out
again, something that was finished is lost.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import provenance
from bench.cli import VERBS, run_verb
from bench.errors import BenchError
from bench.launch.drive import Settings, drive
from bench.launch.process import Pool
from bench.run.identity import Run
from bench.run.job import LOCK, PENDING, Job
from bench.store.ledger import Ledger, read
from bench.store.record import RECORD, Failure, Record, weights_folder
from benchmarks.faults import ERRORS, Action, Ended, Fault, forked

for _verb in ("report", "baseline", "check", "list", "show", "compare", "gate", "history", "data", "plan"):
    import_module(VERBS[_verb][0])  # once, so that no fork does it again

Verbs = tuple[str, ...]
VERBS_AFTER: Verbs = ("report", "baseline save main")
RECORDS = Path(__file__).parent.parent / "reports" / "twins" / "runs"


class Lost(Exception):
    """A finished run would be carried out again."""


class _NoProcesses(Pool):
    def submit(self, job: Job, environment: Mapping[str, str]) -> None:
        raise Lost(job.run.id)


class _Unwatched:
    def began(self, run: Run) -> None: ...
    def heard(self, run: Run, event: dict[str, Any]) -> None: ...
    def ended(self, run: Run, record: Record | None, failure: Failure | None) -> None: ...


def finished(out: Path, sources: Sequence[Path] = ()) -> list[Run]:
    """Runs whose workers are done and that no driver has published yet, from the folders of records."""
    runs = []
    for source in sources or sorted(RECORDS.iterdir())[:1]:
        record = read(source)
        workspace = Ledger(out).workspace(record.id)
        shutil.copytree(source, workspace, dirs_exist_ok=True)
        (workspace / RECORD).unlink()
        (workspace / PENDING).write_text(record.model_dump_json(), encoding="utf-8")
        (workspace / LOCK).touch()
        (workspace / weights_folder(adapter=record.run.recipe.method != "full")).mkdir(exist_ok=True)
        runs.append(record.run)
    return runs


def publish(runs: list[Run], out: Path, verbs: Verbs = VERBS_AFTER) -> int:
    """What is done after the last of the workers: publish, then these verbs; the exit status."""
    settings = Settings(jobs=1, threads=1, command="bench run", tree=provenance.Tree(None, False))
    missing = [(run, None, out / "selection.json") for run in runs if not Ledger(out).finished(run.id)]
    failures = drive(missing, Ledger(out), settings, _Unwatched(), _NoProcesses(1))
    codes = [run_verb([*words.split(), "--out", str(out)]) for words in verbs]
    return max([1 if failures else 0, *codes])


def operations(out: Path, verbs: Verbs = VERBS_AFTER) -> int:
    """How many operations on files an undisturbed driver does."""
    runs = finished(out)
    return forked(lambda: publish(runs, out, verbs), Fault("none", -1, out, looks=True)).operations


def disturbed(out: Path, fault: Fault, verbs: Verbs = VERBS_AFTER) -> list[str]:
    """What is wrong after a driver met a fault and the same command was given again; nothing is best."""
    runs = finished(out)
    first = forked(lambda: publish(runs, out, verbs), fault)
    wrong = _badly_ended(first, (0, 1, 2, -9) if fault.action == "kill" else (0, 1, 2))
    again = forked(lambda: publish(runs, out, verbs))
    wrong += [f"again: {text}" for text in _badly_ended(again, (0,))]
    return wrong + _not_whole(out, runs)


def any_fault(generator: random.Random, out: Path, count: int) -> Fault:
    """A fault at one of the driver's operations."""
    actions: list[Action] = ["kill", "fail", "fail", "delay", "full"]
    action = generator.choice(actions)
    at = generator.randrange(40_000) if action == "full" else generator.randrange(count)
    return Fault(action, at, out, generator.choice(ERRORS), looks=True)


def _badly_ended(ended: Ended, allowed: tuple[int, ...]) -> list[str]:
    if ended.hung:
        return ["no answer within 10 s"]
    if ended.status not in allowed or "Traceback" in ended.output:
        return [f"exit {ended.status}: {ended.output[-600:]}"]
    return []


def _not_whole(out: Path, runs: list[Run]) -> list[str]:
    """What is missing of an output folder in which every run is published."""
    ledger = Ledger(out)
    wrong = []
    for run in runs:
        try:
            published = read(ledger.runs / run.id)
        except BenchError as error:
            wrong.append(str(error))
            continue
        if published.files != read(RECORDS / run.id).files or not ledger.finished(run.id):
            wrong.append(f"{run.id} is not what its worker left")
        if (ledger.work / run.id).exists():
            wrong.append(f"{run.id} is left in {ledger.work}")
    wrong += [f"failed: {failure.id}" for failure in ledger.failed()]
    return wrong
