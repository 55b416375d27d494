"""`bench matrix`: one plan under several sets of package versions, in one table.

`--with trl==1.12.0,1.13.0 --with transformers==5.16.0,5.17.0` is every combination of the axes, in the
order given. The first column that has records is the reference: every other cell is held against the
same model's cell there, seed by seed and example by example, by the arithmetic of `bench compare`. A
combination that cannot be built or a run that dies is a cell with its reason, and the others go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean

from bench import stats
from bench.errors import EnvironmentUnsolvable, Incomparable, RequestError
from bench.judge.compare import ComparedRow, Comparison, compare, to_data
from bench.judge.pairing import Finding
from bench.render import words
from bench.spec import Contract
from bench.store.ledger import Ledger, Stored
from bench.store.record import Failure
from bench.store.scores import METRIC, aligned, series, units
from bench.store.sides import Side
from bench.verbs import Output, request, run
from bench.verbs.compare import write
from bench.versions import environment
from bench.versions.environment import Environment


@dataclass(frozen=True)
class Column:
    """One combination of versions with what its runs left."""

    name: str
    packages: Environment | None
    side: Side
    #: Why there is no such environment.
    problem: str = ""
    #: Against the reference column; none for that column itself and where nothing can be compared.
    comparison: Comparison | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench run`; `--with` takes several versions here."""
    run.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """Carry out what is missing of every column, write the table beside the records and print it."""
    ledger = Ledger(args.out)
    # All plans are made before the first run, so that every column has the same specs and data.
    planned = [_planned(args, wanted) for wanted in combinations(args.packages)]
    requests = [asked for _, asked in planned if asked]
    if not requests:
        raise EnvironmentUnsolvable("; ".join(column.problem for column, _ in planned))
    contract = requests[0].contract
    models = list(dict.fromkeys(planned.name for asked in requests for planned in asked.runs))
    columns = [_carried_out(args, column, asked, ledger) for column, asked in planned]
    columns = compared(columns)
    text = markdown(columns, models, contract, args.seeds)
    file = args.out / "matrix.md"
    write(file, text)
    data = {
        "contract": contract.model_dump(mode="json"),
        "columns": [
            {
                "name": column.name,
                "problem": column.problem,
                "runs": [stored.record.id for stored in column.side.records],
                "failures": {failure.id: failure.reason for failure in column.side.failures},
                "comparison": to_data(column.comparison) if column.comparison else None,
            }
            for column in columns
        ],
        "written": str(file),
    }
    died = any(column.problem or column.side.failures for column in columns)
    return Output(f"{text}\nwritten: {file}", data, 1 if died else 0)


def combinations(axes: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of `NAME==V1,V2,...` axes, the last axis fastest. Raises `RequestError`."""
    if not axes:
        raise RequestError("bench matrix needs an axis, such as --with trl==1.12.0,1.13.0")
    values = []
    for axis in axes:
        name, equals, versions = axis.partition("==")
        listed = [version.strip() for version in versions.split(",") if version.strip()]
        if not equals or not name.strip() or not listed:
            raise RequestError(f"--with {axis}: expected NAME==VERSION,VERSION,...")
        values.append([f"{name.strip()}=={version}" for version in dict.fromkeys(listed)])
    names = [axis.partition("==")[0].strip() for axis in axes]
    if len(set(names)) < len(names):
        raise RequestError("--with names one package twice; list its versions with commas")
    return list(product(*values))


def compared(columns: Sequence[Column]) -> list[Column]:
    """The columns with their comparisons against the first that has records."""
    reference = next((column for column in columns if column.side.records), None)
    judged = []
    for column in columns:
        comparison = None
        if reference is not None and column is not reference and column.side.records:
            try:
                comparison = compare(reference.side, column.side)
            except Incomparable:
                comparison = None
        judged.append(replace(column, comparison=comparison))
    return judged


def markdown(columns: Sequence[Column], models: Sequence[str], contract: Contract, seeds: str) -> str:
    """The table with its notes: a cell is the score with its interval, then the change."""
    notes: list[str] = []
    count = len(seeds.split(","))
    lines = [
        "# The same plan under other package versions",
        "",
        f"Tuned ROUGE-L with its 95% interval, {count} seed{'s' * (count > 1)}; below it the change from the "
        f"first column with its verdict. {contract.in_words()}",
        "",
        "| model | " + " | ".join(column.name.replace(",", "<br>") for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for model in models:
        cells = [_cell(model, column, notes) for column in columns]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    lines.append("| **all together** | " + " | ".join(_together(column) for column in columns) + " |")
    lines += ["", *(f"[{place}] {note}  " for place, note in enumerate(notes, 1))] if notes else []
    smallest = [_smallest(column) for column in columns if column.comparison]
    known = [value for value in smallest if value is not None]
    if known:
        lines += [
            "",
            f"Smallest drop of one model that this table would have found (power 80%): {max(known):.3f}.",
        ]
    return "\n".join(lines) + "\n"


def _planned(args: argparse.Namespace, wanted: tuple[str, ...]) -> tuple[Column, request.Request | None]:
    name = ",".join(wanted)
    try:
        packages = environment.solve(wanted)
        asked = request.resolve(args, packages.versions)
        environment.check_backend(asked.runs, packages)
    except EnvironmentUnsolvable as error:
        return Column(name, None, Side(name, ()), str(error)), None
    return Column(name, packages, Side(name, ())), asked


def _carried_out(
    args: argparse.Namespace, column: Column, asked: request.Request | None, ledger: Ledger
) -> Column:
    if asked is None or column.packages is None:
        return column
    try:
        run.carry_out(args, asked, ledger, column.packages)
    except EnvironmentUnsolvable as error:
        return replace(column, problem=str(error))
    ids = [planned.id for planned in asked.runs]
    records, messages = ledger.load(id for id in ids if ledger.finished(id))
    failures = tuple(failure for failure in ledger.failed() if failure.id in ids)
    return replace(column, side=Side(column.name, tuple(records), failures, tuple(messages)))


def _cell(model: str, column: Column, notes: list[str]) -> str:
    if column.problem:
        return f"cannot be built [{_note(column.problem, notes)}]"
    own = [stored for stored in column.side.records if stored.record.run.name == model]
    failed = [failure for failure in column.side.failures if failure.run.name == model]
    parts = []
    if own:
        value = _score(own)
        parts.append(f"{words.score(value.mean)} ({words.interval(value)})")
        row = _row(column, model)
        if row is not None:
            parts.append(_change(row))
    if failed:
        which = f"seed {', '.join(str(failure.run.seed) for failure in failed)} " if own else ""
        parts.append(f"{which}fails [{_note(_why(failed[0]), notes)}]")
    return "<br>".join(parts) or "no record"


def _change(row: ComparedRow) -> str:
    if row.difference is None:
        return f"{row.finding}: {row.reason}" if row.reason else str(row.finding)
    if row.identical:
        return "the same score for every example"
    return f"{words.change(row.difference.mean)} ({words.change_interval(row.difference)}) {row.finding}"


def _together(column: Column) -> str:
    if not column.comparison or not column.comparison.pooled:
        return ""
    pooled = column.comparison.pooled[0]
    shift = pooled.shift.interval
    word = "drift" if pooled.drift else "no drift"
    return f"{words.change(shift.mean)} ({words.change_interval(shift)}) {word}"


def _row(column: Column, model: str) -> ComparedRow | None:
    rows = column.comparison.rows if column.comparison else ()
    scored = [row for row in rows if row.model == model and row.finding is not Finding.NEWLY_FAILING]
    return scored[0] if scored else None


def _smallest(column: Column) -> float | None:
    rows = column.comparison.rows if column.comparison else ()
    return max((row.smallest for row in rows if row.smallest is not None), default=None)


def _score(stored: Sequence[Stored]) -> stats.Interval:
    """Mean over seeds, with an interval over examples and seeds."""
    scores = [series(stored_run, [METRIC]) for stored_run in stored]
    values, ids, groups = aligned(scores, METRIC)
    if values.shape[1] == 0:
        mean = fmean(float(scores_of_run.values[METRIC].mean()) for scores_of_run in scores)
        return stats.Interval(mean, mean, mean)
    names = [str(unit) for unit in units(ids, groups)]
    return stats.mean_interval(values, groups=names)


def _why(failure: Failure) -> str:
    return f"{failure.stage}: {failure.reason}"


def _note(text: str, notes: list[str]) -> int:
    """The number of a note; the same reason is noted once."""
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1
