"""The line that stands before every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from records import make_record

from bench.judge.compare import Comparison, compare
from bench.render.text.comparison import markdown, terminal
from bench.render.text.verdict import verdict
from bench.store.sides import Side

MODELS = ("gpt2", "phi-1.5", "llama-2-7b")


def compared(
    out: Path,
    seeds: Sequence[int] = (0, 1, 2),
    shifts: Sequence[float] = (0.0, 0.0, 0.0),
    changed: float = 0.0,
) -> Comparison:
    """Three models before and after an upgrade, each shifted by its own amount."""
    a, b = [], []
    for model, shift in zip(MODELS, shifts, strict=True):
        for seed in seeds:
            a.append(make_record(out, model, seed))
            newer = {"trl": "1.15.0"}
            b.append(make_record(out, model, seed, versions=newer, shift=shift, changed=changed))
    return compare(Side("A", tuple(a)), Side("B", tuple(b)))


def test_equal_scores_are_safe_and_counted(tmp_path: Path) -> None:
    """Three models, three seeds, sixty examples."""
    assert verdict(compared(tmp_path)) == "Safe: all 540 scores are identical."


def test_a_drop_is_named_with_its_size_the_largest_first(tmp_path: Path) -> None:
    """A model that improves beside it does not make it better."""
    text = verdict(compared(tmp_path, shifts=(-0.04, -0.09, 0.05)))
    assert text.startswith("Regressed: phi-1.5 twin by 0.0")
    assert text.index("phi-1.5 twin") < text.index("gpt2 twin")
    assert "llama" not in text


def test_an_improvement_says_that_nothing_regressed(tmp_path: Path) -> None:
    """One model rose, the others are as before."""
    text = verdict(compared(tmp_path, shifts=(0.06, 0.0, 0.0)))
    assert text.startswith("Improved: gpt2 twin by 0.0")
    assert text.endswith("no model regressed.")


def test_changed_answers_that_prove_nothing_are_undecided(tmp_path: Path) -> None:
    """Half of the answers differ by chance on one seed of sixty examples."""
    text = verdict(compared(tmp_path, seeds=(0,), changed=0.9))
    assert text.startswith("Undecided: ")
    assert "too uncertain to tell; no model regressed for certain" in text


def test_one_seed_is_said_in_the_verdict(tmp_path: Path) -> None:
    """A drop on one seed may be luck in training."""
    assert verdict(compared(tmp_path, seeds=(0,), shifts=(-0.09, 0.0, 0.0))).startswith(
        "Regressed on this seed: "
    )


@pytest.mark.parametrize("render", [terminal, markdown])
def test_the_answer_comes_before_every_table(tmp_path: Path, render: object) -> None:
    """In the terminal and in markdown."""
    text = render(compared(tmp_path))  # type: ignore[operator]
    assert text.index("Safe: all 540") < text.index("A = A")
