"""What stands around a table of the board: its title, its notes, its failures, its environment.

The facts are gathered here once, so markdown, terminal and page say the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from bench.judge.board import MAIN, BoardRow, Group, ReferenceRow
from bench.judge.doubts.table import clearly_above, table_doubts
from bench.render import words
from bench.render.doubts import badge
from bench.spec import called
from bench.store.record import Provenance


@dataclass(frozen=True)
class Note:
    """A badge with its reason and the models that bear it, each with its amount if it has one."""

    badge: str
    reason: str
    models: tuple[str, ...]


def name(row: BoardRow) -> str:
    """What a row is called: a twin is never called by its sibling's name alone."""
    return called(row.model, "mini" if is_twin(row) else "full")


def sized_name(row: BoardRow) -> str:
    """The name with the size of a twin, which is far from its sibling's."""
    return f"{name(row)}, {words.count(row.cost.parameters)}" if is_twin(row) else row.model


def is_twin(row: BoardRow) -> bool:
    """Whether a row's model is a miniature twin."""
    return row.first.run.checkpoint.kind == "twin"


def title(group: Group) -> str:
    """Data, budget and scale in a few words."""
    contract = group.contract
    data = contract.eval.name
    if contract.train.name != data:
        data = f"{contract.train.name} \N{RIGHTWARDS ARROW} {data}"
    trial = f", with {', '.join(group.trial)}" if group.trial else ""
    return f"{data}, budget {contract.budget}, {group.scale} scale{trial}"


def notes(group: Group) -> list[Note]:
    """Every doubt about the group, the models that share its name and reason together."""
    names = [name(row) for row in group.rows]
    names_of = {row.model: name(row) for row in group.rows}
    raised = [doubt for row in group.rows for doubt in row.doubts]
    if group.exact:  # a board too large for scores per example has no doubts about them
        raised += table_doubts({row.model: list(row.stored) for row in group.rows})
    bearers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for doubt in raised:
        shown = badge(doubt)
        who = f"{names_of.get(doubt.model, doubt.model) or 'the whole board'} {shown.amount}".rstrip()
        bearers[shown.name, shown.reason].append(who)
    return [
        Note(label, reason, ("all",) if models == names and len(names) > 1 else tuple(models))
        for (label, reason), models in bearers.items()
    ]


def failed(group: Group) -> list[str]:
    """Per run that died, one line: which, when in its life, and why."""
    lines = []
    for stored in sorted(group.failures, key=lambda failure: failure.id):
        reason = " ".join(stored.reason.split())
        lines.append(f"{stored.run.name}, seed {stored.run.seed}: failed in stage '{stored.stage}': {reason}")
    return lines


def missing(group: Group) -> list[str]:
    """Per model that could not be run at all, one line: which and why."""
    return [f"{model.model}: {model.why}; {model.reason}" for model in group.missing]


def versions(group: Group) -> str:
    """The packages that the rows' numbers depend on; where rows differ, who has which."""
    holders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in group.rows:
        for package, version in row.first.run.versions.items():
            holders[package][version].append(name(row))
    parts = []
    for package, versions_of in sorted(holders.items()):
        if len(versions_of) == 1:
            parts.append(f"{package} {next(iter(versions_of))}")
        else:
            parts.append(
                f"{package} "
                + ", ".join(f"{version} ({', '.join(who)})" for version, who in versions_of.items())
            )
    return "; ".join(parts)


def places(group: Group) -> str:
    """Commit, Python and hardware of the rows."""
    origins = [stored.record.provenance for row in group.rows for stored in row.stored]
    commits = dict.fromkeys(_commit(origin) for origin in origins)
    pythons = dict.fromkeys(f"Python {origin.python}" for origin in origins)
    hardware = dict.fromkeys(
        f"{origin.gpu}, {origin.hardware}" if origin.gpu else origin.hardware for origin in origins
    )
    return "; ".join([", ".join(commits), ", ".join(pythons), " / ".join(hardware)])


def command(group: Group) -> str:
    """The command that left the newest of these records."""
    newest = max(
        (stored.record.provenance for row in group.rows for stored in row.stored),
        key=lambda value: value.finished,
    )
    return newest.command


def seeds(group: Group) -> str:
    """How many runs stand behind each row."""
    counts = {len(row.seeds) for row in group.rows}
    each = str(counts.pop()) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return f"{each} seed{'' if each == '1' else 's'} a row"


def reading(group: Group) -> str:
    """How to read the table, in one sentence or two."""
    examples = group.rows[0].first.written["tuned"].examples
    how = (
        "rows whose ranks overlap cannot be told apart"
        if group.exact
        else "ranks come from intervals alone, as there are too many rows to pair example by example"
    )
    runs = f"{seeds(group)}, "
    over = " 'Over base' is the paired difference to the same model untuned."
    if not group.rows[0].first.run.trained:
        runs, over = "", " No model was trained."
    return (
        f"ROUGE F between 0 and 1 on {examples} {group.contract.eval_split} examples, {runs}"
        f"with 95% intervals; {how}.{over}"
    )


def left_out(group: Group) -> str:
    """What the table does not show; empty where it shows all."""
    if not group.left_out:
        return ""
    records = "1 record" if group.left_out == 1 else f"{group.left_out} records"
    return (
        f"{records} of these models under other versions or recipes left out; "
        "see `bench history MODEL` and `bench compare`."
    )


def _commit(provenance: Provenance) -> str:
    if provenance.commit is None:
        return "no commit"
    return f"commit {provenance.commit[:7]}{' with uncommitted changes' if provenance.dirty else ''}"


def citation(group: Group) -> str:
    """How to cite these numbers: program, version, year, and the contract that they hold under."""
    newest = max(
        (stored.record for row in group.rows for stored in row.stored),
        key=lambda value: value.provenance.finished,
    )
    version, year = newest.run.versions.get("bench", "?"), newest.provenance.finished[:4]
    return (
        f"bench {version}: fine-tuning benchmarks whose numbers can be trusted ({year}); "
        f"{title(group)}, contract {group.contract.digest[:12]}."
    )


def _clearly_above(group: Group, bar: ReferenceRow) -> list[BoardRow]:
    """The rows above a reference by a paired test; by their intervals where scores are not read."""
    above = [row for row in group.rows if row.tuned[MAIN].mean > bar.scores[MAIN].mean]
    if not group.exact:
        return [row for row in above if row.tuned[MAIN].low > bar.scores[MAIN].mean]
    clear = clearly_above({row.model: list(row.stored) for row in group.rows}, bar.name, MAIN)
    return [row for row in above if row.model in clear]


def headline(group: Group) -> str:
    """What the table says, in two sentences."""
    rows, total = group.rows, len(group.rows)
    if total == 1:
        lead = f"{name(rows[0])} scores {words.score(rows[0].tuned[MAIN].mean)} ROUGE-L"
    else:
        leaders = [name(row) for row in rows if row.rank[0] == 1]
        if len(leaders) == 1:
            lead = f"{leaders[0]} is best"
        elif len(leaders) <= 4:
            lead = f"{', '.join(leaders[:-1])} or {leaders[-1]} is best; the data cannot say which"
        else:
            things = "twins" if all(map(is_twin, rows)) else "models"
            lead = f"{leaders[0]} leads, but any of {len(leaders)} {things} may be best"
    gained = sum(row.gain[MAIN].low > 0 for row in rows)
    text = f"{lead}. {gained} of {total} clearly improved on the same model untuned"
    if not rows[0].first.run.trained:
        text = f"{lead}. {'It was' if total == 1 else 'They were'} not trained"
    if group.references:
        bar = group.references[0]
        above = len(_clearly_above(group, bar))
        count = f"{above} of {total}" if above else "none"
        score = words.score(bar.scores[MAIN].mean)
        text += f", and {count} clearly beat{'s' * (above < 2)} the {bar.words} ({score})"
    return text + "."
