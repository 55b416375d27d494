"""How long answers are and how they end: length ratio, run-on, cut.

- The length ratio is the answer's words over those of the nearest reference in length; more than 1 is longer.
  It has no better side.
- An answer runs on where a line of it begins the template's next question (`bench.serve.stops`): the model
  has not learnt to end. It is a fact of the text alone, so it is known of every record.
- An answer is cut where the limit of new tokens came before its end. Only the run itself can tell: tokens
  that are counted anew from a stripped text differ by a few. Records of before this was kept say how many
  answers were cut and not which; unless that is none or all, their answers have no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.serve.stops import stops_of

#: Raised when any value changes.
VERSION = 1


def length_ratio(references: Sequence[str], answer: str) -> float | None:
    """Words of the answer over words of the reference that is nearest in length; none without such words."""
    words = len(answer.split())
    lengths = [count for count in (len(text.split()) for text in references) if count]
    return words / min(lengths, key=lambda count: (abs(count - words), count)) if lengths else None


def runs_on(answer: str, template: str) -> float | None:
    """1 where the next question begins in the answer, else 0; none where the template has no rule."""
    stops = stops_of(template)
    if not stops:
        return None
    text = f"\n{answer}"  # a stripped answer may begin with it
    return float(any(stop in text for stop in stops))


def was_cut(line: Mapping[str, Any], row: str, counted: tuple[int, int]) -> float | None:
    """1 where an answer reached the limit of new tokens, else 0; none where the record does not say.

    `line` is one of the record's completions; `counted` is how many of how many answers of the row were cut.
    """
    if "cut" in line:
        return float(bool(line["cut"][row]))
    cut_answers, all_answers = counted
    return float(cut_answers > 0) if cut_answers in (0, all_answers) else None
