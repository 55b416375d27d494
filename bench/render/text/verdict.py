"""What a comparison says, in the one line that stands before every table."""

from __future__ import annotations

from bench.judge.compare import JUDGED, ComparedRow, Comparison
from bench.judge.pairing import Finding
from bench.render.tables import listed
from bench.spec import called

#: More names than this are counted, not listed.
MOST = 4


def verdict(comparison: Comparison) -> str:
    """The line: what regressed, else what improved, else whether it is safe or undecided."""
    word, rest = parts(comparison)
    return f"{word}: {rest}."


def parts(comparison: Comparison) -> tuple[str, str]:
    """The word and what follows it."""
    worse = _moved(comparison, Finding.REGRESSED, "by")
    worse += [f"{name} fails now" for name in _names(comparison.found(Finding.NEWLY_FAILING))]
    drops = [shift for shift in comparison.pooled if shift.is_drop]
    worse += [
        f"all models together by {abs(shift.shift.interval.mean):.3f} {shift.metric}" for shift in drops
    ]
    luck = " on this seed" if comparison.on_one_seed else ""
    if worse:
        return f"Regressed{luck}", _with_rest(comparison, _some(worse))
    if better := _moved(comparison, Finding.IMPROVED, "by"):
        return f"Improved{luck}", _with_rest(comparison, f"{_some(better)}; no model regressed")
    if changed := _moved(comparison, Finding.CHANGED, "by"):
        return f"Changed{luck}", _with_rest(comparison, f"{_some(changed)}; this metric has no better side")
    judged = [row for row in comparison.rows if row.finding in JUDGED]
    if judged and all(row.identical or row.difference is None for row in judged):
        scores = sum(row.examples * len(row.seeds) for row in judged)
        return "Safe", _with_rest(comparison, f"all {scores:,} scores are identical")
    if unsure := _names(comparison.found(Finding.UNCERTAIN)):
        few = f"{listed(unsure, MOST)} {'is' if len(unsure) == 1 else 'are'} too uncertain to tell"
        return "Undecided", _with_rest(comparison, f"{few}; no model regressed for certain")
    count = len(_names(judged))
    models = f"{count} model{'s' * (count != 1)}"
    return "Safe", _with_rest(comparison, f"{models} unchanged, to within {comparison.threshold:g}")


def _moved(comparison: Comparison, finding: Finding, how: str) -> list[str]:
    rows = [row for row in comparison.found(finding) if row.difference is not None]
    rows.sort(key=lambda row: -abs(row.difference.mean if row.difference else 0.0))
    metric = len(comparison.metrics) > 1
    return [
        f"{called(row.model, row.scale)} {how} {abs(row.difference.mean):.3f}"
        f"{f' {row.metric}' if metric else ''}"
        for row in rows
        if row.difference
    ]


def _names(rows: list[ComparedRow]) -> list[str]:
    return list(dict.fromkeys(called(row.model, row.scale) for row in rows))


def _some(items: list[str]) -> str:
    return ", ".join(items[:MOST]) + (f" and {len(items) - MOST} more" if items[MOST:] else "")


def _with_rest(comparison: Comparison, text: str) -> str:
    """With what could not be judged, which no verdict covers."""
    apart = _names([*comparison.found(Finding.INCOMPARABLE), *comparison.found(Finding.GONE)])
    if comparison.messages:
        count = len(comparison.messages)
        apart.append(f"{count} unreadable record{'s' * (count != 1)}")
    return f"{text}; not judged: {listed(apart, MOST)}" if apart else text
