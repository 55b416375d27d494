"""`bench bisect PACKAGE GOOD BAD`: the release that changed the numbers or broke the runs.

Options that are left out take the smallest values that can answer: with `--fails` the smoke budget
and one causal twin, since code that breaks does so in the first steps; with a metric all models that
are run at the ends, and then the one that moved. A run that died of an exception is not repeated
when the search resumes; one that was killed is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from bench import registry
from bench.errors import EnvironmentUnsolvable, RequestError, UnknownName
from bench.judge.bisection import Bisection, Trial, first_changed, first_failing
from bench.judge.verdicts import THRESHOLD
from bench.render.text.versions.bisection import Report, Tried, markdown
from bench.score.rouge import Rouge
from bench.store.ledger import Ledger, Stored
from bench.store.record import Failure
from bench.store.scores import METRIC, Floats, aligned, series
from bench.verbs import Output, request, run
from bench.verbs.compare import write
from bench.versions import environment, solver
from bench.versions.environment import Environment

#: What `--fails` runs where no other run is requested.
SMALLEST = {"budget": "smoke", "eval_limit": 20, "max_new_tokens": 16}


def configure(parser: argparse.ArgumentParser) -> None:
    """Package, both ends, what to look at, and the options of `bench run`."""
    parser.add_argument("package", metavar="PACKAGE", help="a distribution's name, such as trl")
    parser.add_argument("good", metavar="GOOD", help="the older release, known to be good")
    parser.add_argument("bad", metavar="BAD", help="the newer release, known to be bad")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--metric", default=METRIC, help=f"look at this score ({METRIC})")
    what.add_argument("--fails", action="store_true", help="look at whether the runs die")
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        metavar="X",
        help=f"smaller changes do not count ({THRESHOLD})",
    )
    run.configure(parser)
    parser.set_defaults(models=None, budget=None, eval_limit=None, max_new_tokens=None, seeds=None)


def execute(args: argparse.Namespace) -> Output:
    """Search, write the report beside the records and print it."""
    if args.metric not in Rouge.KINDS:
        raise UnknownName("metric", args.metric, Rouge.KINDS)
    if args.seeds is not None:
        raise RequestError("--seeds: bench bisect takes as many seeds as a step needs; leave it out")
    _fill(args)
    ledger = Ledger(args.out)
    releases = solver.releases(args.package, args.good, args.bad)
    attempts = _Attempts(args, ledger)
    models = _names(args)
    if args.fails:
        result = first_failing(releases, models, attempts)
    else:
        result = first_changed(releases, models, attempts, args.threshold)
    text = markdown(_report(args, releases, result, attempts))
    file = args.out / f"bisect-{args.package}-{args.good}-{args.bad}.md"
    write(file, text)
    data = {
        "package": args.package,
        "releases": releases,
        "last_good": result.last,
        "first_bad": result.first,
        "between": list(result.between),
        "reason": result.reason,
        "model": result.model,
        "effect": result.effect and vars_of(result.effect),
        "steps": [
            {**vars(step), "difference": step.difference and vars_of(step.difference)}
            for step in result.steps
        ],
        "written": str(file),
    }
    return Output(f"{text}\nwritten: {file}", data, 0 if result.first else 2)


def vars_of(interval: object) -> dict[str, float]:
    """An interval as data."""
    return {end: float(getattr(interval, end)) for end in ("mean", "low", "high")}


def _report(args: argparse.Namespace, releases: list[str], result: Bisection, attempts: _Attempts) -> Report:
    tried = {
        release: Tried(
            moved={
                name: version
                for name, version in attempts.environments.get(release, Environment()).moved.items()
                if name != canonicalize_name(args.package)
            },
            records=tuple(attempts.records.get(release, ())),
            failures=tuple(attempts.failures.get(release, ())),
            versions=attempts.requests[release].runs[0].versions,
        )
        for release in attempts.requests
    }
    return Report(
        package=args.package,
        good=args.good,
        bad=args.bad,
        metric=args.metric,
        models=(result.model,) if result.model else tuple(_names(args)),
        run=attempts.requests[result.steps[0].release].runs[0],
        releases=tuple(releases),
        result=result,
        tried=tried,
    )


@dataclass
class _Attempts:
    """Carries out the runs of one release, and keeps what they left as evidence."""

    args: argparse.Namespace
    ledger: Ledger
    environments: dict[str, Environment] = field(default_factory=dict)
    requests: dict[str, request.Request] = field(default_factory=dict)
    records: dict[str, list[Stored]] = field(default_factory=dict)
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    plans: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def __call__(self, release: str, models: Sequence[str], seeds: int) -> Trial:
        args = argparse.Namespace(**vars(self.args))
        args.models, args.seeds = ",".join(models), ",".join(map(str, range(seeds)))
        try:
            packages = environment.solve([*args.packages, f"{args.package}=={release}"])
            requested = request.resolve(args, packages.versions)
            self._same_plan(requested)
            self.environments[release], self.requests[release] = packages, requested
            known = self._known(requested)
            if not known:
                run.carry_out(args, requested, self.ledger, packages)
        except EnvironmentUnsolvable as error:
            return Trial(release, unbuildable=str(error))
        failed = known or self._known(requested, died=True)
        records, messages = self.ledger.load(
            planned.id for planned in requested.runs if self.ledger.finished(planned.id)
        )
        self.records[release], self.failures[release] = records, failed
        if failed or len(records) < len(requested.runs):
            why = failed[0].reason if failed else "; ".join(messages) or "left no record"
            return Trial(release, error=why)
        return self._scores(release, records, models)

    def _same_plan(self, requested: request.Request) -> None:
        """Raise `RequestError` where a spec was edited while the search went on."""
        for planned in requested.runs:
            plan = (planned.recipe, planned.checkpoint, planned.contract)
            if self.plans.setdefault(planned.name, plan) != plan:
                raise RequestError(
                    f"model '{planned.name}' or its data changed during the search; start it again"
                )

    def _known(self, requested: request.Request, died: bool = False) -> list[Failure]:
        """Failures of these runs; those by an exception come again, unlike a kill, and need no repeat."""
        ids = {planned.id for planned in requested.runs if not self.ledger.finished(planned.id)}
        return [
            failure for failure in self.ledger.failed() if failure.id in ids and (died or failure.traceback)
        ]

    def _scores(self, release: str, records: Sequence[Stored], models: Sequence[str]) -> Trial:
        scores: dict[str, Floats] = {}
        groups: tuple[str, ...] = ()
        for model in models:
            own = sorted(
                (stored for stored in records if stored.record.run.name == model),
                key=lambda s: s.record.run.seed,
            )
            values, _, groups = aligned(
                [series(stored, [self.args.metric]) for stored in own], self.args.metric
            )
            scores[model] = values
        return Trial(release, scores, groups)


def _fill(args: argparse.Namespace) -> None:
    """Fill options that were left out with the smallest values that can answer."""
    usual = {"budget": "short", "eval_limit": 250, "max_new_tokens": 96}
    for name, value in (SMALLEST if args.fails else usual).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.models is None:
        args.models = _one_causal() if args.fails else "all"


def _one_causal() -> str:
    """The causal model of fewest parameters that has a twin."""
    causal = [spec for spec in registry.models().values() if spec.objective == "causal" and spec.twin]
    return min(causal, key=lambda spec: spec.parameters).name


def _names(args: argparse.Namespace) -> list[str]:
    probe = argparse.Namespace(**{**vars(args), "seeds": "0"})
    return list(dict.fromkeys(planned.name for planned in request.resolve(probe).runs))
