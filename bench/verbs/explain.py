"""`bench explain A B`: is it training, decoding or scoring?

A's stored texts are scored anew by B's scorer, and A's saved weights are decoded anew in B's environment
under B's decoding; `report.explain` does the arithmetic. A piece that cannot be had (weights deleted,
another device, versions that cannot be built) is missing with its reason, and its parts are then given
together. Contracts may differ here: what they differ in is what is looked for.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import devices, provenance
from bench.errors import BenchError, EnvironmentUnsolvable, Incomparable, UnknownName
from bench.judge.compare import to_data
from bench.judge.explain import Explanation, Pieces, explain_seeds
from bench.judge.explain.evidence import same_weights
from bench.render.text import explanation as explain_text
from bench.score.identity import scorer
from bench.score.rows import score_texts
from bench.serve import origin
from bench.spec import Example
from bench.store.ledger import Ledger, Stored
from bench.store.metrics import resolved
from bench.store.names import KINDS, select
from bench.store.scores import METRIC
from bench.store.sides import moment
from bench.verbs import Output
from bench.verbs.compare import write
from bench.versions import environment
from bench.versions.environment import Environment
from bench.versions.redecode import Task, redecode

#: Whose versions are part of a run but cannot be laid over the installed ones.
FIXED = ("bench", "torch")


def configure(parser: argparse.ArgumentParser) -> None:
    """The two sets, and how far to go."""
    parser.add_argument("a", metavar="A", help=f"the reference: {KINDS}")
    parser.add_argument("b", metavar="B", help="what is held against it, named likewise")
    parser.add_argument("--metric", default=METRIC, metavar="NAME", help=f"({METRIC})")
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="where the records are (reports)"
    )
    parser.add_argument(
        "--yes", action="store_true", help="install the package versions of B's record where they differ"
    )
    parser.add_argument("--records-only", action="store_true", help="load no model: decode nothing anew")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write markdown")


def execute(args: argparse.Namespace) -> Output:
    """Pair, score and decode anew, explain. Raises `UnknownName`, `Incomparable`."""
    ledger = Ledger(args.out)
    pairs = paired(select(args.a, ledger).records, select(args.b, ledger).records)
    if not pairs:
        raise Incomparable(f"'{args.a}' and '{args.b}' share no model at one scale")
    (metric,) = resolved([args.metric], [stored for pair in pairs for stored in pair])
    explanations = explained(pairs, metric, decode=not args.records_only, yes=args.yes)
    if args.markdown:
        write(args.markdown, explain_text.markdown(explanations))
    return Output(explain_text.terminal(explanations), [to_data(explanation) for explanation in explanations])


def explained(
    pairs: Sequence[tuple[Stored, Stored]], metric: str = METRIC, decode: bool = True, yes: bool = False
) -> list[Explanation]:
    """One explanation a model, over its seeds; `yes` allows to install what B's record names."""
    decoded, reasons = _redecoded(pairs, yes) if decode else ({}, {})
    models: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, (a, _) in enumerate(pairs):
        models[a.record.run.name, a.record.run.scale].append(place)
    explanations = []
    for places in models.values():
        pieces, notes = [], dict[str, None]()
        for place in places:
            a, b = pairs[place]
            rescored, redecoded = None, None
            try:
                rescored = scores_of(a, b, [row["tuned"] for row in a.completions], metric)
                if place in decoded:
                    redecoded = scores_of(a, b, decoded[place], metric)
            except BenchError as error:
                notes[str(error)] = None
            if place in reasons:
                notes[reasons[place]] = None
            pieces.append(Pieces(a, b, rescored, redecoded))
        explanation = explain_seeds(pieces, metric)
        explanations.append(replace(explanation, notes=(*explanation.notes, *notes)))
    return explanations


def scores_of(a: Stored, b: Stored, texts: Sequence[str], metric: str = METRIC) -> dict[str, float]:
    """Example id -> score of texts for A's examples, by B's scorer. Raises `UnknownName`, `RecordError`."""
    examples = [
        Example(id=row["id"], question=row["question"], answers=tuple(row["references"]))
        for row in a.completions
    ]
    table = score_texts(scorer(b.record.run.contract.scorer), examples, {"tuned": list(texts)})
    if metric not in table["tuned"]:
        raise UnknownName("metric", metric, table["tuned"])
    values = table["tuned"][metric]["f"]
    return {example.id: value for example, value in zip(examples, values, strict=True)}


def paired(a: Iterable[Stored], b: Iterable[Stored]) -> list[tuple[Stored, Stored]]:
    """Runs of one model, scale and seed; where several contracts stand against each other, the nearest.

    One run against one other of the same model is a pair whatever their seeds: the seed is training.
    """
    left, right = _by_model(a), _by_model(b)
    pairs = []
    for key in (key for key in left if key in right):
        both = [(x, y) for x in left[key] for y in right[key]]
        x_only, y_only = left[key], right[key]
        if len(x_only) == len(y_only) == 1:
            pairs += both
            continue
        same_seed = [(x, y) for x, y in both if x.record.run.seed == y.record.run.seed]
        if not same_seed:
            continue
        apart = [len(x.record.run.contract.differences(y.record.run.contract)) for x, y in same_seed]
        nearest = [pair for pair, distance in zip(same_seed, apart, strict=True) if distance == min(apart)]
        newest = {(x.record.run.seed): (x, y) for x, y in sorted(nearest, key=_moments)}
        pairs += [newest[seed] for seed in sorted(newest)]
    return pairs


def _moments(pair: tuple[Stored, Stored]) -> tuple[object, object]:
    return moment(pair[0]), moment(pair[1])


def _by_model(records: Iterable[Stored]) -> dict[tuple[str, str], list[Stored]]:
    by_model: dict[tuple[str, str], list[Stored]] = defaultdict(list)
    for stored in records:
        by_model[stored.record.run.name, stored.record.run.scale].append(stored)
    return by_model


@dataclass(frozen=True)
class _Place:
    """Where tasks can share a process."""

    packages: Environment
    threads: int
    bare: bool

    @property
    def key(self) -> tuple[str, int, bool]:
        return str(self.packages.folder), self.threads, self.bare


def _redecoded(
    pairs: Sequence[tuple[Stored, Stored]], yes: bool
) -> tuple[dict[int, list[str]], dict[int, str]]:
    """Place of a pair -> the texts that A's weights write in B's environment, or why there are none."""
    groups: dict[tuple[str, int, bool], tuple[_Place, list[tuple[int, Task]]]] = {}
    texts: dict[int, list[str]] = {}
    reasons: dict[int, str] = {}
    for place, (a, b) in enumerate(pairs):
        if same_weights(a, b):
            continue  # then B's own texts are what A's weights write there
        try:
            packages = _allowed(environment.solve(_requirements(b)), yes)
            task = _task(a, b)
        except BenchError as error:
            reasons[place] = f"A's weights were not decoded anew: {error}"
            continue
        where = _Place(packages, task.threads, task.run.backend == "unsloth")
        groups.setdefault(where.key, (where, []))[1].append((place, task))
    for where, tasks in groups.values():
        print(f"bench: decoding {len(tasks)} runs anew under {where.packages.name}", file=sys.stderr)
        answers = redecode([task for _, task in tasks], environment.build(where.packages).variables)
        for (place, _), answer in zip(tasks, answers, strict=True):
            if isinstance(answer, str):
                reasons[place] = f"A's weights were not decoded anew: {answer}"
            else:
                texts[place] = answer
    return texts, reasons


def _requirements(b: Stored) -> list[str]:
    """What must be laid over the installed packages to have those of a run.

    A record may come from a stranger, so only this program's own libraries are ever installed.
    """
    here, there = provenance.versions(), b.record.run.versions
    for name in FIXED[1:]:
        if here.get(name) != there.get(name):
            raise EnvironmentUnsolvable(f"B ran with {name} {there.get(name)}, here is {here.get(name)}")
    differing = {
        name: version for name, version in there.items() if name not in FIXED and here.get(name) != version
    }
    strangers = [name for name in differing if name not in provenance.NAMED]
    if strangers:
        raise EnvironmentUnsolvable(
            f"B's record names '{strangers[0]}', which is none of this program's libraries; not installed"
        )
    return [f"{name}=={version}" for name, version in differing.items()]


def _allowed(packages: Environment, yes: bool) -> Environment:
    """The environment, if it may be used: what is not yet installed is installed only when allowed."""
    if packages.folder is not None and not packages.folder.is_dir() and not yes:
        pins = ", ".join(f"{name} {version}" for name, version in sorted(packages.moved.items()))
        raise EnvironmentUnsolvable(f"this would install {pins}; allow it by --yes")
    return packages


def _task(a: Stored, b: Stored) -> Task:
    """Raises `Incomparable` and what `preflight` raises where A's weights cannot be used here."""
    first, second = a.record.run, b.record.run
    if second.device != devices.here().device:
        raise Incomparable(f"B ran on {second.device}, which is not here")
    weights = origin.saved_weights(a)
    local = origin.checkpoint(first)
    changes = {"contract": second.contract, "versions": second.versions}
    return Task(
        run=first.model_copy(update=changes),
        template=second.template,
        checkpoint_folder=str(local) if local else None,
        weights=str(weights.resolve()),
        threads=b.record.provenance.threads,
        prompts=tuple((row["question"], row["context"]) for row in a.completions),
    )
