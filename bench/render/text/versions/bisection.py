"""The report of `bench bisect`: the answer, every release that was tried, and the evidence of both sides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.judge.bisection import Bisection, Probe, ReleaseSide
from bench.render import words
from bench.run.identity import Run
from bench.store.ledger import Stored
from bench.store.record import Failure

#: Last lines of a traceback that are shown.
TRACE = 12
#: Records that are shown for a release.
RECORDS = 3


@dataclass(frozen=True)
class Tried:
    """What the runs under one release left, and what else that environment changed."""

    #: Package -> version, of what moved beside the package that is bisected.
    moved: Mapping[str, str]
    records: tuple[Stored, ...]
    failures: tuple[Failure, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """All that the report says."""

    package: str
    good: str
    bad: str
    metric: str
    models: tuple[str, ...]
    #: Any run of the search, for contract, scale and device.
    run: Run
    releases: tuple[str, ...]
    result: Bisection
    tried: Mapping[str, Tried]


def markdown(report: Report) -> str:
    """The report as markdown."""
    result, run = report.result, report.run
    lines = [
        f"# {report.package} {report.good} to {report.bad}: {_headline(report)}",
        "",
        _answer(report),
        "",
        f"Tried with {', '.join(report.models)}, {result.seeds} seed{'s' * (result.seeds > 1)}, "
        f"scale {run.scale}, on {run.device}. {run.contract.in_words()}",
        "",
        f"| {report.package} | finding | seeds | {report.metric} | change from {report.good} (95%) | why | "
        "moved beside it |",
        "|---|---|---|---|---|---|---|",
    ]
    by_release = {step.release: step for step in result.steps}
    lines += [_row(by_release.get(release), release, report) for release in report.releases]
    for title, release in (("Last good", result.last), ("First bad", result.first)):
        if release:
            lines += ["", *_evidence(f"{title}: {report.package} {release}", release, report)]
    return "\n".join(lines) + "\n"


def _headline(report: Report) -> str:
    result = report.result
    if result.first is None:
        return "nothing found"
    verb = "broke the runs" if result.effect is None else f"changed {report.metric}"
    count = len(result.between) + 1
    return f"{result.first} {verb}" if count == 1 else f"one of {count} releases {verb}"


def _answer(report: Report) -> str:
    result = report.result
    if result.first is None:
        return f"There is nothing to find: {result.reason}."
    which = f"**{report.package} {result.first}**"
    if result.between:
        which += f" or one of {', '.join(result.between)}, which cannot be judged,"
    if result.effect is None:
        return f"{which} is the first release under which the runs die: `{result.reason}`"
    interval = words.change_interval(result.effect)
    effect = f", by {words.change(result.effect.mean)} ({interval}) between the ends"
    return f"{which} is the first release that changed {report.metric}{effect}."


def _row(step: Probe | None, release: str, report: Report) -> str:
    if step is None:
        return f"| {release} | not tried |  |  |  |  |  |"
    value = "" if step.value is None else words.score(step.value)
    difference = ""
    if step.difference:
        difference = f"{words.change(step.difference.mean)} ({words.change_interval(step.difference)})"
    moved = report.tried[release].moved if release in report.tried else {}
    beside = ", ".join(f"{name} {version}" for name, version in sorted(moved.items()))
    why = step.reason.replace("|", "\\|")
    finding = "dies" if step.side is ReleaseSide.BAD and step.value is None else step.side.value
    return f"| {release} | {finding} | {step.seeds or ''} | {value} | {difference} | {why} | {beside} |"


def _evidence(title: str, release: str, report: Report) -> list[str]:
    tried = report.tried[release]
    lines = [f"## {title}", ""]
    for stored in tried.records[:RECORDS]:
        estimate = stored.record.scores["tuned"][report.metric]
        loss = stored.record.final_loss
        trained = (
            "not trained" if loss is None else f"final loss {loss:.4f}, {stored.record.spent.steps} steps"
        )
        lines.append(f"- `{stored.record.id}`: {report.metric} {words.score(estimate.mean)}, {trained}")
    for failure in tried.failures[:1]:
        lines += [f"- `{failure.id}` died at stage '{failure.stage}': `{failure.reason}`", "", "```text"]
        lines += [*_anywhere(failure.traceback).strip().splitlines()[-TRACE:], "```"]
    versions = ", ".join(f"{name} {version}" for name, version in tried.versions.items())
    return [*lines, "", f"Versions: {versions}."]


def _anywhere(traceback: str) -> str:
    """A traceback whose files are named from their package on: the same on every machine."""
    return re.sub(r'File "[^"]*?/(?:site-packages|environments/[^/"]+)/', 'File "', traceback)
