"""Programs in processes of their own, and what they cost."""

from __future__ import annotations

import os
import subprocess
import sys


def printed(*words: str) -> tuple[str, float]:
    """What Python prints for these arguments, and the processor seconds that it took.

    Processor time, not the clock: other tests share the machine.
    """
    before = os.times()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, used
