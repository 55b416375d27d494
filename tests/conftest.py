"""Fixtures with plain names."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from absl import logging as absl_logging

ROOT = Path(__file__).parent.parent
#: Lines that a test wants a reader of the run to see.
REPORT = pytest.StashKey[list[str]]()


# Whoever configures logging anew closes all handlers (uvicorn does). absl's closes its stream too, which is
# what pytest captures output with, and then every later test of the process fails.
absl_logging.get_absl_handler().python_handler.close = lambda: None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(REPORT, []):
        terminalreporter.write_line(line)
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    terminalreporter.write_line(f"{len(skipped)} tests skipped{':' if skipped else ''}")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"  {count:>4}  {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is installed, on CI, a skipped test is a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and tokenizers that are not part of the project."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("../shared (real data and tokenizers) is not on this machine")
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test session prepares data into a cache of its own."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
