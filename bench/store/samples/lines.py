"""Samples of lm-evaluation-harness: `samples_TASK_DATE.jsonl`, one line for each document and filter.

`--log_samples` writes one file for each task into a folder named after the model, and beside it
`results_DATE.json`, which says of each metric whether higher is better. A metric under a filter other than
`none` is called `metric,filter`, as in the results. What is not one number for a document (the pairs of
perplexities) is left out. Of several files of a task the newest counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import files
from bench.errors import RequestError, Unreadable
from bench.store.samples.tables import Gathered, Key, Samples

HARNESS = "lm-evaluation-harness"
NAME = re.compile(r"samples_(?P<task>.+?)(_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+))?\.jsonl")
#: What a line holds beside its metrics; only needed for logs of before `metrics` named them.
BESIDE = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
#: Bytes of one line.
LONGEST_LINE = 1 << 26


def read_lines(path: Path) -> Samples:
    """The samples of a file, or of the newest files in a folder. Raises `Unreadable`, `RequestError`."""
    chosen = _files(path) if files.is_folder(path) else [path]
    gathered = Gathered()
    lower: set[Key] = set()
    messages: list[str] = []
    for file in chosen:
        named = NAME.fullmatch(file.name)
        task = named["task"] if named else file.stem
        left_out = _read(file, task, gathered)
        messages += [f"{file}: {metric} is not one number for a document, left out" for metric in left_out]
        lower |= _lower(file.parent / f"results_{named['date'] if named else ''}.json", task, gathered)
    if not gathered.held:
        raise Unreadable(path, "holds no score of any sample")
    return Samples(
        str(path), HARNESS, gathered.tables(), frozenset(lower), (*messages, *gathered.messages(str(path)))
    )


def _files(folder: Path) -> list[Path]:
    """The newest file of every task; of one model only."""
    every = sorted(folder.glob("samples_*.jsonl")) or sorted(folder.glob("*/samples_*.jsonl"))
    if not every:
        raise RequestError(f"{folder}: holds no samples_*.jsonl; was lm_eval run with --log_samples?")
    models = sorted({file.parent.name for file in every})
    if len(models) > 1:
        raise RequestError(f"{folder}: holds samples of {len(models)} models; name one: {', '.join(models)}")
    newest: dict[str, tuple[str, Path]] = {}
    for file in every:
        named = NAME.fullmatch(file.name)
        assert named is not None
        newest[named["task"]] = max(newest.get(named["task"], ("", file)), (named["date"] or "", file))
    return [file for _, file in newest.values()]


def _read(file: Path, task: str, gathered: Gathered) -> list[str]:
    """Gather a file's scores; the metrics that are no numbers."""
    left_out: dict[str, None] = {}
    seen: set[tuple[str, str]] = set()
    for number, row in _rows(file):
        id, filtered = row.get("doc_id"), row.get("filter", "none")
        if not isinstance(id, int | str) or not isinstance(filtered, str):
            raise Unreadable(file, f"line {number} is no sample of {HARNESS}: it has no 'doc_id'")
        if (str(id), filtered) in seen:
            raise Unreadable(file, f"line {number} is a second sample of document {id}; separate the runs")
        seen.add((str(id), filtered))
        document = row.get("doc_hash")
        for metric in _metrics(row):
            name = metric if filtered == "none" else f"{metric},{filtered}"
            if isinstance(row.get(metric), int | float):
                content = document if isinstance(document, str) else None
                gathered.add(Key(task, name), str(id), content, row[metric])
            else:
                left_out[name] = None
    return list(left_out)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with files.opened(file) as handle:
        number = 0
        while line := handle.readline(LONGEST_LINE):
            number += 1
            if line.strip():
                yield number, files.json_object(line, file, f"line {number} ")


def _metrics(row: dict[str, Any]) -> list[str]:
    named = row.get("metrics")
    if isinstance(named, list):
        return [name for name in named if isinstance(name, str)]
    return [name for name in row if name not in BESIDE and not name.endswith("_hash")]


def _lower(results: Path, task: str, gathered: Gathered) -> set[Key]:
    """The tables of a task of which the results say that lower is better; none where they are not there."""
    try:
        said = files.json_value(results)["higher_is_better"][task]
        own = [key for key in gathered.held if key.task == task]
        return {key for key in own if said.get(key.metric.partition(",")[0]) is False}
    except (Unreadable, KeyError, TypeError, AttributeError):
        return set()
