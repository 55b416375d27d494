"""An explanation as text for a terminal and as markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.judge.explain import Explanation, Part
from bench.render import words
from bench.render.tables import columns, md, pipes, wrap
from bench.render.text.comparison import ARROW, DOT, p_value

HEAD = ["part", "B \N{MINUS SIGN} A", "95% interval", "p", "share", ""]
NUMBERS = (1, 3, 4)
MOSTLY = 0.5


def terminal(explanations: Sequence[Explanation]) -> str:
    """Every model's split in at most 100 columns."""
    parts = []
    for explanation in explanations:
        lines = [
            _title(explanation),
            "=" * len(_title(explanation)),
            *columns([HEAD, *_rows(explanation)], NUMBERS),
            "",
        ]
        lines += wrap(verdict(explanation))
        lines += [line for text in _remarks(explanation) for line in wrap(text, "    ", "  - ")]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def markdown(explanations: Sequence[Explanation]) -> str:
    """The same for a file."""
    parts = ["# Which stage moved"]
    for explanation in explanations:
        parts += [
            f"## {md(_title(explanation))}",
            "\n".join(pipes([HEAD, *_rows(explanation)], NUMBERS)),
            md(verdict(explanation)),
        ]
        parts.append("\n".join(f"- {md(text)}" for text in _remarks(explanation)))
    return "\n\n".join(parts) + "\n"


def verdict(explanation: Explanation) -> str:
    """The answer in a sentence."""
    if explanation.p > 0.05:
        luck = " The two sides have other seeds: such a difference is training luck." * bool(
            explanation.other_seeds
        )
        return f"No clear difference to explain: the interval of the total holds zero.{luck}"
    largest = max(explanation.parts, key=lambda part: part.share or 0.0)
    name = _name(largest)
    if largest.share is None or largest.share < MOSTLY or largest.p > 0.05:
        return "No single part accounts for most of the difference."
    together = " (not told apart)" if len(largest.stages) > 1 else ""
    luck = ", where the seed differs" if explanation.other_seeds and "training" in largest.stages else ""
    return f"Put down to {name}{together}{luck}: {_percent(largest.share)} of the difference."


def _title(explanation: Explanation) -> str:
    seeds = f"seed{'s' * (len(explanation.seeds) > 1)} {', '.join(map(str, explanation.seeds))}"
    if explanation.other_seeds:
        seeds += f" {ARROW} {', '.join(map(str, explanation.other_seeds))}"
    values = f"{explanation.metric} {words.score(explanation.a)} {ARROW} {words.score(explanation.b)}"
    return f"{explanation.model}{DOT}{values}{DOT}{explanation.examples} examples{DOT}{seeds}"


def _rows(explanation: Explanation) -> list[list[str]]:
    rows = [_cells(part) for part in explanation.parts]
    ends = words.change_interval(explanation.total)
    return [*rows, ["total", words.change(explanation.total.mean), ends, p_value(explanation.p), "", ""]]


def _cells(part: Part) -> list[str]:
    share = "" if part.share is None else _percent(part.share)
    ends = words.change_interval(part.value)
    unknown = "together: cannot be told apart" if len(part.stages) > 1 else ""
    return [_name(part), words.change(part.value.mean), ends, p_value(part.p), share, unknown]


def _percent(share: float) -> str:
    whole = round(100 * share)
    return f"{whole}%".replace("-", "\N{MINUS SIGN}")


def _name(part: Part) -> str:
    return " + ".join(part.stages)


def _remarks(explanation: Explanation) -> Iterator[str]:
    yield from explanation.notes
    yield from explanation.evidence
