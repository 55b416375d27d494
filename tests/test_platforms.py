"""Where the program is read and where it runs: Windows has no fork and none of Unix's modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.errors import RequestError
from bench.launch.process import check_platform

#: Standard modules that Windows lacks, and what of others it lacks.
WITHOUT = """
import sys, signal, select, os
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
for module, name in (
    (signal, "SIGKILL"), (signal, "SIGHUP"), (select, "PIPE_BUF"), (select, "poll"),
    (os, "fork"), (os, "killpg"), (os, "setpgid"),
):
    delattr(module, name)
"""


@pytest.mark.parametrize(
    "verb", ["report", "compare", "history", "show", "check", "list", "gate", "run", "plan"]
)
def test_a_verb_loads_without_the_modules_of_unix(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT}\nimport bench.verbs.{verb}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_on_windows_a_run_is_refused_in_one_line_with_the_remedy() -> None:
    with pytest.raises(RequestError, match="use WSL2") as refused:
        check_platform("win32")
    assert "\n" not in str(refused.value)
    check_platform("linux")
    check_platform("darwin")
