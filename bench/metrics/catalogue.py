"""Names of further metrics become values for every answer that a record holds.

Rows are those whose answers are stored (tuned, untuned, and each arm that was asked for) and, where it costs
nothing, the copy of the question. All columns follow the order of the record's completions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import RequestError, UnknownName
from bench.metrics import endings, squad
from bench.metrics.chrf import chrf
from bench.metrics.judge import Judge
from bench.metrics.similarity import Similarity
from bench.store.ledger import Stored
from bench.store.metrics import Added, AddedColumn

NAMES = {
    "em": "exact match, after SQuAD's normalisation",
    "f1": "token F1 with precision and recall, after the same",
    "chrf": "character n-grams, by sacrebleu (extra [scores])",
    "length": "words of the answer over words of the reference",
    "runon": "share of answers that go on to the next question",
    "cut": "share of answers that reached the limit of new tokens",
    "similarity": "cosine of sentence embeddings (--embedding FOLDER)",
    "judge": "verdicts of a model (--endpoint URL --model M)",
    "forgetting": "loss on a fixed text before and after tuning, from stored weights",
}
DECIMALS = 6
Line = Mapping[str, Any]
#: A line of completions and a row's name -> precision, recall, value; or the value alone; or none.
Scorer = Callable[[Line, str], "tuple[float, float, float] | float | None"]


@dataclass(frozen=True)
class Instruments:
    """What some metrics need beside the record."""

    judge: Judge | None = None
    similarity: Similarity | None = None


def check(names: Sequence[str], asked: Instruments) -> None:
    """Refuse what cannot be computed, before anything is. Raises `UnknownName`, `RequestError` and kinds."""
    if not names:
        raise RequestError(f"--metrics: name at least one of {', '.join(NAMES)}")
    for name in names:
        if name not in NAMES:
            raise UnknownName("metric", name, NAMES)
    if "chrf" in names:
        chrf()
    if "judge" in names and asked.judge is None:
        raise RequestError("metric 'judge' needs --endpoint URL and --model M; it asks them for a verdict")
    if "similarity" in names and asked.similarity is None:
        raise RequestError("metric 'similarity' needs --embedding FOLDER, a sentence-transformers model")


def score(stored: Stored, names: Sequence[str], asked: Instruments) -> Added:
    """The metrics of one record's answers. Raises `RecordError` where they are not the record's."""
    lines = stored.completions
    models = [row for row in ("tuned", "base", "retrieved", "both") if row in lines[0]]
    made: Added = {}
    for name in names:
        identity, scorer, reason = _scorer(name, stored, asked)
        rows = models if name in ("cut", "judge") else [*models, "copy"]
        made[identity] = {row: _column(lines, row, scorer, reason, asked.judge) for row in rows}
    return made


def answer(line: Line, row: str) -> str:
    """What a row answered to one question."""
    return str(line["question" if row == "copy" else row])


def _scorer(name: str, stored: Stored, asked: Instruments) -> tuple[str, Scorer, str]:
    """A metric's identity, what computes it, and why an answer may have no value."""
    squads = f"{squad.VERSION} normalisation={squad.NORMALISATION}"
    if name == "em":
        return f"em/{squads}", lambda line, row: squad.exact_match(line["references"], answer(line, row)), ""
    if name == "f1":
        return f"f1/{squads}", _f1, ""
    if name == "chrf":
        value, signature = chrf()
        version = signature.rpartition("version:")[2]
        identity = f"chrf/{version} {signature}"
        return identity, lambda line, row: value(line["references"], answer(line, row)), ""
    if name == "length":
        why = "its references hold no word"
        return f"length/{endings.VERSION} words", _length, why
    if name == "runon":
        template = stored.record.run.template
        why = f"the template '{template}' does not show where a next question begins"
        identity = f"runon/{endings.VERSION} template={template}"
        return identity, lambda line, row: endings.runs_on(answer(line, row), template), why
    if name == "cut":
        written = {row: (value.truncated, value.examples) for row, value in stored.record.written.items()}
        why = "the record is of before it was kept which answers were cut"
        limit = stored.record.run.contract.decoding.max_new_tokens
        identity = f"cut/{endings.VERSION} limit={limit}"
        return identity, lambda line, row: endings.was_cut(line, row, written[row]), why
    if name == "similarity":
        similarity = asked.similarity
        assert similarity is not None, "checked before"
        return (
            similarity.identity,
            lambda line, row: similarity.score(line["references"], answer(line, row)),
            "",
        )
    judge = asked.judge
    assert judge is not None, "checked before"
    return (
        judge.identity,
        lambda line, row: judge.score(line["question"], line["references"], answer(line, row)),
        "",
    )


def _f1(line: Line, row: str) -> tuple[float, float, float]:
    found = squad.token_f1(line["references"], answer(line, row))
    return found.precision, found.recall, found.f


def _length(line: Line, row: str) -> float | None:
    return endings.length_ratio(line["references"], answer(line, row))


def _column(lines: Sequence[Line], row: str, scorer: Scorer, reason: str, judge: Judge | None) -> AddedColumn:
    if judge is not None:
        judge.unscored.clear()
    values = [scorer(line, row) for line in lines]
    triples = [value for value in values if isinstance(value, tuple)]
    missing = Counter({reason: values.count(None)} if reason else judge.unscored if judge else {})
    return AddedColumn(
        f=[_rounded(value[2] if isinstance(value, tuple) else value) for value in values],
        p=[_rounded(value[0]) for value in triples],
        r=[_rounded(value[1]) for value in triples],
        unscored={why: count for why, count in missing.items() if count},
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
