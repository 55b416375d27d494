"""The digest of the code that can change a run's numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from records import make_run

from bench.harness import PACKAGE, PARTS, harness


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the program's source, to be edited."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "bench", ignore=shutil.ignore_patterns("_registry")))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    harness.cache_clear()


def test_a_copy_of_the_source_has_the_same_digest(copy: Path) -> None:
    assert harness(copy) == harness()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("prompt.py", "Question: {question}", "Q: {question}"),
        ("run/answers/generate.py", "do_sample=False", "do_sample=True"),
        ("train/fit.py", '"weight_decay": recipe.weight_decay', '"weight_decay": 0.0'),
        ("score/rouge.py", "def score(", "def score_of("),
        ("data/near.py", "NEAR = 0.8", "NEAR = 0.9"),
    ],
)
def test_an_edit_that_can_change_numbers_changes_the_digest(
    copy: Path, file: str, old: str, new: str
) -> None:
    edit(copy / file, old, new)
    assert harness(copy) != harness()


def test_comments_docstrings_and_renderers_do_not_count(copy: Path) -> None:
    edit(copy / "prompt.py", '"""Templates:', '"""Prompt templates, that is:')
    edit(copy / "run" / "answers" / "generate.py", "import torch\n", "import torch  # the library\n")
    edit(copy / "render" / "words.py", ".3f", ".4f")
    assert harness(copy) == harness()


def test_every_named_part_exists() -> None:
    assert all((PACKAGE / part).exists() for part in PARTS)


def test_other_code_is_another_run() -> None:
    """And a run of before the code was part of it keeps its id."""
    run = make_run()
    changed = run.model_copy(update={"harness": "a" * 64})
    assert run.harness is None
    assert changed.id != run.id
    assert changed.id != run.model_copy(update={"harness": "b" * 64}).id
