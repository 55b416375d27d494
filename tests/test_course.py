"""The shipped course: what a stranger may rely on."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from bench import registry
from bench.data import prepare
from bench.data.shape import fold

FILE = Path(__file__).parent.parent / "datasets" / "course-qa.jsonl"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def test_it_holds_at_least_900_pairs_in_12_units(rows: list[dict[str, str]]) -> None:
    assert len(rows) >= 900
    assert len({row["unit"] for row in rows}) == 12
    assert all(set(row) == {"id", "unit", "topic", "question", "answer", "group"} for row in rows)
    assert all(value.strip() == value and value for row in rows for value in row.values())


def test_ids_questions_and_answers_are_unique(rows: list[dict[str, str]]) -> None:
    for key in ("id", "question", "answer"):
        assert not [value for value, count in Counter(fold(row[key]) for row in rows).items() if count > 1]


def test_answers_are_one_to_three_sentences_of_about_thirty_words(rows: list[dict[str, str]]) -> None:
    words = [len(row["answer"].split()) for row in rows]
    assert 27 <= median(words) <= 35
    assert min(words) >= 10
    assert max(words) <= 60
    assert max(len(row["question"].split()) + len(row["answer"].split()) for row in rows) < 512


def test_a_third_of_the_topics_is_asked_in_several_ways(rows: list[dict[str, str]]) -> None:
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        groups[row["group"]].append(row["topic"])
    assert all(len(set(topics)) == 1 for topics in groups.values()), "a group is a topic"
    several = sum(len(topics) > 1 for topics in groups.values())
    assert 0.28 <= several / len(groups) <= 0.40


def test_no_two_groups_have_nearly_the_same_answer(rows: list[dict[str, str]]) -> None:
    pairs = []
    for row in rows:
        words = fold(row["answer"]).split()
        pairs.append({f"{a} {b}" for a, b in pairwise(words)})
    for i, one in enumerate(pairs):
        for j in range(i):
            if rows[i]["group"] != rows[j]["group"]:
                assert len(one & pairs[j]) < 0.5 * len(one | pairs[j]), (rows[i]["id"], rows[j]["id"])


def test_groups_never_straddle_the_split_and_at_least_200_questions_are_tested() -> None:
    prepared = prepare.prepare(registry.find_dataset("course-qa"))
    parts = [prepared.train, prepared.validation, prepared.test]
    groups = [{example.group for example in part} for part in parts]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert len(prepared.test) >= 200
    assert prepared.counts["kept"] == prepared.counts["read"], "nothing is dropped as a duplicate or a leak"
    assert {example.category for example in prepared.test} == {example.category for example in prepared.train}


def test_its_licence_is_stated() -> None:
    assert registry.find_dataset("course-qa").licence == "CC BY 4.0"
