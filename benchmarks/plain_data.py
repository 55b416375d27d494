"""The script that one writes with pandas and datasketch: rows are read, split, and near duplicates dropped.

Questions, and answers of some length, are compared by their 5-grams of letters: MinHash of 128 permutations,
LSH at a Jaccard similarity of 0.7. The other side of `benchmarks.data`; it needs: pip install datasketch
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PERMUTATIONS, SIMILARITY, SHINGLE = 128, 0.7, 5
LONG_ANSWER = 8
TEST, VALIDATION = 0.3, 0.1


def parts(file: Path, folder: Path) -> dict[str, list[str]]:
    """Part -> the ids of its rows, after near duplicates went; the parts are written as JSON lines."""
    import pandas as pd

    rows = pd.read_json(file, lines=True)
    rows["question"] = rows["question"].map(_cleaned)
    rows["answer"] = rows["answer"].map(_cleaned)
    rows = rows[(rows["question"] != "") & (rows["answer"] != "")]
    rows = rows.drop_duplicates(["question", "answer", "context"])
    shuffled = rows.sample(frac=1, random_state=0)
    test, validation = int(TEST * len(rows)), int((TEST + VALIDATION) * len(rows))
    made = {
        "test": shuffled[:test],
        "validation": shuffled[test:validation],
        "train": shuffled[validation:],
    }
    made["train"] = _apart(made["train"], pd.concat([made["test"], made["validation"]]))
    made["validation"] = _apart(made["validation"], made["test"])
    for name, part in made.items():
        part.to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    return {name: part["id"].tolist() for name, part in made.items()}


def _cleaned(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _apart(rows: Any, held_out: Any) -> Any:
    """The rows without those that are near one of the others, by question or by long answer."""
    near = _near(rows["question"], held_out["question"])
    long, others = (_long(part["answer"]) for part in (rows, held_out))
    near |= _near(long, others)
    return rows[~rows.index.isin(list(near))]


def _long(answers: Any) -> Any:
    return answers[answers.str.count(" ") >= LONG_ANSWER - 1]


def _near(texts: Any, others: Any) -> set[Any]:
    """The labels of the texts that are near one of the others."""
    from datasketch import MinHashLSH

    found = MinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS)
    with found.insertion_session() as session:
        for number, sketch in enumerate(_sketches(others)):
            session.insert(number, sketch)
    return {label for label, sketch in zip(texts.index, _sketches(texts), strict=True) if found.query(sketch)}


def _sketches(texts: Iterable[str]) -> Any:
    from datasketch import MinHash

    return MinHash.generator((_shingles(text) for text in texts), num_perm=PERMUTATIONS, seed=1)


def _shingles(text: str) -> set[bytes]:
    letters = text.lower().encode()
    return {letters[at : at + SHINGLE] for at in range(max(len(letters) - SHINGLE + 1, 1))}
