"""Where an answer ends although the model writes on: the stop rule of its template.

A model that has not learnt to end writes the next question by itself and answers that too. The rule ends
an answer where a line begins as the template's own question does. A score is never changed by it: it is
the server's default, and `effect` says what it would change.
"""

from __future__ import annotations

from collections.abc import Sequence

#: template -> texts at which an answer ends
STOPS: dict[str, tuple[str, ...]] = {
    "qa": ("\nQuestion:", "\nContext:"),
    "instruct": ("\n### Instruction:", "\n### Input:"),
}


def stops_of(template: str) -> tuple[str, ...]:
    """The texts at which an answer in this template ends; none for a template that has no rule."""
    return STOPS.get(template, ())


def cut(text: str, stops: Sequence[str]) -> str:
    """The text up to the first of the stops, without white space at its end.

    >>> cut("A mean.\\nQuestion: what else?", STOPS["qa"])
    'A mean.'
    """
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return text[: min(places)].rstrip() if places else text


def effect(texts: Sequence[str], template: str) -> list[str]:
    """The texts as the rule would leave them."""
    return [cut(text, stops_of(template)) for text in texts]
