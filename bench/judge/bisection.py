"""Which release of a package broke the runs, or changed the numbers: what is asked, in which order.

Pure but for `attempt`, which carries out runs under one release: the tests pass fakes.

Both ends are tried first. If the newer one dies, the first release that dies is looked for. Otherwise
the numbers decide, and the plan is the smallest that can tell: one seed first, since on one machine
releases that do not differ give the same scores to the last digit; then more seeds, until a model's
difference D between the ends is clear and the power calculation says that half of it can be seen.
That one model is then followed through the releases. A release is on the newer side when the interval
of its difference from the older end lies beyond D/2, on the older side when it lies short of it; in
between it gets more seeds, and is left open when there are no more.

The looks at the ends share the error rate, as do the models of one look. Left out: more than one
change between the ends (one of them is found).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from bench.judge.pairing import Finding
from bench.judge.verdicts import THRESHOLD, Judged, judge
from bench.stats import Interval
from bench.stats.pivot import by_group
from bench.store.scores import Floats

#: Seeds at the looks after the first, which has one seed and can only find scores that are the same.
SEED_COUNTS = (3, 5, 8)
CLEAR = (Finding.IMPROVED, Finding.REGRESSED)


class ReleaseSide(StrEnum):
    """On which side of the change a release lies."""

    GOOD = "like the older end"
    BAD = "like the newer end"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Trial:
    """What the runs under one release gave: scores, or what they died of."""

    release: str
    #: Model -> (seeds, n), the same examples in the same order for every release.
    scores: Mapping[str, Floats] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    #: Why a run died.
    error: str = ""
    #: Why there is no environment to run in.
    unbuildable: str = ""


#: Runs these models with this many seeds under a release.
Attempt = Callable[[str, Sequence[str], int], Trial]


@dataclass(frozen=True)
class Probe:
    """What was found of one release."""

    release: str
    side: ReleaseSide
    reason: str
    seeds: int = 0
    value: float | None = None
    #: From the older end.
    difference: Interval | None = None


@dataclass(frozen=True)
class Bisection:
    """The answer: `first` is none where there was nothing to find, and `reason` then says why."""

    reason: str
    steps: tuple[Probe, ...]
    last: str | None = None
    first: str | None = None
    #: Releases between `last` and `first` that could not be judged: any of them may be the first.
    between: tuple[str, ...] = ()
    model: str | None = None
    effect: Interval | None = None
    seeds: int = 1


def search(releases: Sequence[str], judged: Callable[[str], ReleaseSide]) -> tuple[str, str, tuple[str, ...]]:
    """The last good and first bad release, and those between them that cannot be judged.

    The first of `releases` is good and the last is bad. A release that cannot be judged is passed over
    for the nearest to the middle that can.
    """
    low, high, unknown = 0, len(releases) - 1, set[int]()
    while open_ := [place for place in range(low + 1, high) if place not in unknown]:
        middle = min(open_, key=lambda place: (abs(2 * place - low - high), place))
        side = judged(releases[middle])
        if side is ReleaseSide.GOOD:
            low = middle
        elif side is ReleaseSide.BAD:
            high = middle
        else:
            unknown.add(middle)
    return releases[low], releases[high], tuple(releases[low + 1 : high])


def first_failing(releases: Sequence[str], models: Sequence[str], attempt: Attempt) -> Bisection:
    """The first release under which the runs die; one seed is enough to see that."""
    steps: list[Probe] = []

    def side(release: str) -> ReleaseSide:
        steps.append(_by_failure(attempt(release, models, 1)))
        return steps[-1].side

    older, newer = releases[0], releases[-1]
    if side(older) is not ReleaseSide.GOOD:
        return Bisection(f"{older} is no good end: {steps[-1].reason}", tuple(steps))
    if side(newer) is not ReleaseSide.BAD:
        return Bisection(f"nothing breaks: {newer} {steps[-1].reason}", tuple(steps))
    last, first, between = search(releases, side)
    return Bisection(_step(steps, first).reason, tuple(steps), last, first, between)


def first_changed(
    releases: Sequence[str],
    models: Sequence[str],
    attempt: Attempt,
    threshold: float = THRESHOLD,
    alpha: float = 0.05,
) -> Bisection:
    """The first release whose scores are those of the newer end and not of the older."""
    older, newer = releases[0], releases[-1]
    a, b = attempt(older, models, 1), attempt(newer, models, 1)
    for end in (a, b):
        if end.unbuildable or (end is a and end.error):
            return Bisection(f"{end.release}: {end.unbuildable or end.error}", (_by_failure(end),))
    if b.error:
        return first_failing(releases, models, attempt)
    moving = [model for model in models if not np.array_equal(a.scores[model], b.scores[model])]
    if not moving:
        steps = (_same(a, models[0], ReleaseSide.GOOD), _same(b, models[0], ReleaseSide.GOOD))
        return Bisection(f"{older} and {newer} give the same score for every example", steps)
    for look in SEED_COUNTS:
        a, b = attempt(older, moving, look), attempt(newer, moving, look)
        if a.error or b.error:
            return Bisection(f"a further seed died: {a.error or b.error}", (_by_failure(a), _by_failure(b)))
        judged = dict(zip(moving, _judged(a, b, moving, threshold, alpha / len(SEED_COUNTS)), strict=True))
        clear = {model: judged_row for model, judged_row in judged.items() if judged_row.finding in CLEAR}
        strong = [
            model
            for model, judged_row in clear.items()
            if judged_row.smallest <= abs(judged_row.difference.mean) / 2
        ]
        if strong or (clear and look == SEED_COUNTS[-1]):
            break
    else:
        smallest = min(judged_row.smallest for judged_row in judged.values())
        closest = min(judged, key=lambda model: judged[model].p_adjusted)
        ends = (_first(a, closest, look), _last(b, closest, look, judged[closest].difference))
        reason = f"{older} and {newer} differ, but not clearly with {look} seeds; a drop of {smallest:.3f} "
        return Bisection(f"{reason}would have been found", ends, model=closest, seeds=look)
    model = max(strong or clear, key=lambda name: abs(judged[name].difference.mean) / judged[name].smallest)
    effect = judged[model].difference
    tried = [_first(a, model, look), _last(b, model, look, effect)]
    judging = _Judging(model, a, b, effect.mean, look, attempt, tried)
    last, first, between = search(releases, judging)
    reason = _step(tried, first).reason
    return Bisection(reason, tuple(tried), last, first, between, model, effect, look)


@dataclass
class _Judging:
    """Tells on which side of the change a release lies, with as many seeds as that takes."""

    model: str
    a: Trial
    b: Trial
    effect: float
    seeds: int
    attempt: Attempt
    steps: list[Probe]

    def __call__(self, release: str) -> ReleaseSide:
        self.steps.append(self.judged(release))
        return self.steps[-1].side

    def judged(self, release: str) -> Probe:
        trial = self.attempt(release, [self.model], 1)
        for look in (1, *(seeds for seeds in SEED_COUNTS if seeds >= self.seeds)):
            if look > 1:
                trial = self.attempt(release, [self.model], look)
            if trial.error or trial.unbuildable:
                return Probe(release, ReleaseSide.UNKNOWN, trial.unbuildable or f"dies: {trial.error}")
            for end, side in ((self.a, ReleaseSide.GOOD), (self.b, ReleaseSide.BAD)):
                if np.array_equal(trial.scores[self.model], end.scores[self.model][:look]):
                    return _same(trial, self.model, side, end.release)
            if look == 1:
                continue
            if len(self.a.scores[self.model]) < look:
                self.a = self.attempt(self.a.release, [self.model], look)
            [verdict] = _judged(self.a, trial, [self.model], 0.0, 0.05)
            value = float(trial.scores[self.model].mean())
            ends = sorted(end / self.effect for end in (verdict.difference.low, verdict.difference.high))
            if ends[0] > 0.5 or ends[1] < 0.5:
                side = ReleaseSide.BAD if ends[0] > 0.5 else ReleaseSide.GOOD
                return Probe(release, side, "by its scores", look, value, verdict.difference)
        return Probe(release, ReleaseSide.UNKNOWN, "too uncertain to tell", look, value, verdict.difference)


def _judged(a: Trial, b: Trial, models: Sequence[str], threshold: float, alpha: float) -> list[Judged]:
    """Differences over examples that stand for themselves: the groups of paraphrases where there are any."""
    groups = np.asarray(a.groups) if len(set(a.groups)) > 1 else None
    return judge([by_group(b.scores[m] - a.scores[m], groups) for m in models], threshold, alpha)


def _by_failure(trial: Trial) -> Probe:
    if trial.unbuildable:
        return Probe(trial.release, ReleaseSide.UNKNOWN, trial.unbuildable)
    if trial.error:
        return Probe(trial.release, ReleaseSide.BAD, trial.error)
    means = [float(scores.mean()) for scores in trial.scores.values()]
    return Probe(trial.release, ReleaseSide.GOOD, "runs", 1, means[0] if means else None)


def _same(trial: Trial, model: str, side: ReleaseSide, end: str = "") -> Probe:
    reason = f"every score as under {end}" if end else "every score the same at both ends"
    scores = trial.scores[model]
    return Probe(trial.release, side, reason, len(scores), float(scores.mean()))


def _first(a: Trial, model: str, seeds: int) -> Probe:
    return Probe(a.release, ReleaseSide.GOOD, "the older end", seeds, float(a.scores[model].mean()))


def _last(b: Trial, model: str, seeds: int, difference: Interval) -> Probe:
    value = float(b.scores[model].mean())
    return Probe(b.release, ReleaseSide.BAD, "the newer end", seeds, value, difference)


def _step(steps: Sequence[Probe], release: str) -> Probe:
    return next(step for step in steps if step.release == release)
