"""The command line as a whole: quick to start, and true to its table of verbs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from processes import printed

from bench.cli import VERBS


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys\nfrom bench.cli import run_verb\n"
        "try: run_verb(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'pydantic', 'numpy') if m in sys.modules])"
    )
    assert fresh(code).strip().endswith("[]")
    assert min(printed("-m", "bench.cli", "--help")[1] for _ in range(5)) < 0.25


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_without_torch(verb: str) -> None:
    code = (
        "import sys\nfrom bench.cli import run_verb\n"
        f"try: run_verb(['{verb}', '--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "print('torch' in sys.modules)"
    )
    assert fresh(code).strip().endswith("False")


def test_a_clone_carries_no_record_that_the_first_command_would_take_for_its_own() -> None:
    """`make leaderboard` on a fresh clone must train, so the project's own board lies elsewhere."""
    root = Path(__file__).parent.parent
    tracked = subprocess.run(
        ["git", "-C", str(root), "ls-files", "reports/runs", "reports/leaderboard.md"],
        capture_output=True,
        text=True,
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    assert tracked.stdout == ""
