"""`bench matrix`: one plan under several sets of package versions, in one table.

`--with trl==1.12.0,1.13.0 --with transformers==5.16.0,5.17.0` is every combination of the axes, in the
order given. The first column that has records is the reference: every other cell is held against the
same model's cell there, seed by seed and example by example, by the arithmetic of `bench compare`. A
combination that cannot be built or a run that dies is a cell with its reason, and the others go on.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from bench.errors import EnvironmentUnsolvable, Incomparable, RequestError
from bench.judge.compare import compare, to_data
from bench.judge.intervals import Intervals
from bench.render.text.versions.matrix import Column, markdown, terminal
from bench.stats import Interval
from bench.store.ledger import Ledger, Stored
from bench.store.sides import Side
from bench.verbs import Output, request, run
from bench.verbs.compare import write
from bench.verbs.options import width
from bench.versions import environment
from bench.versions.environment import Environment


@dataclass(frozen=True)
class _Plan:
    """One combination of versions before its runs; `problem` says why there is no such environment."""

    name: str
    packages: Environment | None = None
    request: request.Request | None = None
    problem: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench run`; `--with` takes several versions here."""
    run.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """Carry out what is missing of every column, write the table beside the records and print the verdict."""
    ledger = Ledger(args.out)
    # All plans are made before the first run, so that every column has the same specs and data.
    plans = [_planned(args, wanted) for wanted in combinations(args.packages)]
    requests = [plan.request for plan in plans if plan.request]
    if not requests:
        raise EnvironmentUnsolvable("; ".join(plan.problem for plan in plans))
    contract = requests[0].contract
    models = list(dict.fromkeys(single.name for request in requests for single in request.runs))
    ran = [_carried_out(args, plan, ledger) for plan in plans]
    intervals = Intervals(ledger.load()[0])
    columns = compared([replace(column, scores=scores(column.side, intervals)) for column in ran], intervals)
    scale = requests[0].runs[0].scale
    file = args.out / "matrix.md"
    write(file, markdown(columns, models, contract, scale, args.seeds))
    text = terminal(columns, models, contract, scale, args.seeds, width())
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
    return Output(f"{text}\n\nwritten: {file}", data, 1 if died else 0)


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


def scores(side: Side, intervals: Intervals) -> dict[str, Interval]:
    """Model -> its score over the seeds of a column, as a board gives it."""
    runs: dict[str, list[Stored]] = defaultdict(list)
    for stored in sorted(side.records, key=lambda stored: stored.record.run.seed):
        runs[stored.record.run.name].append(stored)
    return {model: intervals.of(its) for model, its in runs.items()}


def compared(columns: Sequence[Column], intervals: Intervals | None = None) -> list[Column]:
    """The columns with their comparisons against the first that has records."""
    reference = next((column for column in columns if column.side.records), None)
    judged = []
    for column in columns:
        comparison = None
        if reference is not None and column is not reference and column.side.records:
            try:
                comparison = compare(reference.side, column.side, intervals=intervals)
            except Incomparable:
                comparison = None
        judged.append(replace(column, comparison=comparison))
    return judged


def _planned(args: argparse.Namespace, wanted: tuple[str, ...]) -> _Plan:
    name = ",".join(wanted)
    try:
        packages = environment.solve(wanted)
        resolved = request.resolve(args, packages.versions)
        environment.check_backend(resolved.runs, packages)
    except EnvironmentUnsolvable as error:
        return _Plan(name, problem=str(error))
    return _Plan(name, packages, resolved)


def _carried_out(args: argparse.Namespace, plan: _Plan, ledger: Ledger) -> Column:
    if plan.request is None or plan.packages is None:
        return Column(plan.name, Side(plan.name, ()), plan.problem)
    try:
        run.carry_out(args, plan.request, ledger, plan.packages)
    except EnvironmentUnsolvable as error:
        return Column(plan.name, Side(plan.name, ()), str(error))
    ids = [single.id for single in plan.request.runs]
    records, messages = ledger.load(id for id in ids if ledger.finished(id))
    failures = tuple(failure for failure in ledger.failed() if failure.id in ids)
    return Column(plan.name, Side(plan.name, tuple(records), failures, tuple(messages)))
