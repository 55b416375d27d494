"""Faults for the tests: a process of one's own is stopped, failed or delayed at its n-th file operation.

The program under test knows nothing of it. Python tells an audit hook of every operation before it is done;
a hook that raises makes the operation fail, and one that kills leaves what a power cut would leave. What the
hook cannot see is the n-th byte of a write: there a limit on the size of files stands for the full disk.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

Action = Literal["kill", "fail", "delay", "full", "none"]
#: Audit events of operations that change what lies in a folder.
CHANGES = (
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"),
    *("os.truncate", "os.link", "os.symlink"),
)
#: Events of operations that look at it.
LOOKS = ("os.scandir", "os.listdir")
#: What an operation fails with: no space, no permission, a defective disk, too many open files.
ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EMFILE)
#: Exit status of a forked process that ends by an exception, which is always a defect.
DEFECT = 70
SECONDS = 10


@dataclass(frozen=True)
class Fault:
    """What happens at which operation below a folder; `full` limits every file to `at` bytes instead."""

    action: Action
    at: int
    below: Path
    error: int = errno.ENOSPC
    #: Whether opening to read and listing count as operations too.
    looks: bool = False


@dataclass(frozen=True)
class Ended:
    """How a forked process ended."""

    #: Its exit status, or the negative number of its signal.
    status: int
    #: Operations below the folder that it came to.
    operations: int
    #: What it printed.
    output: str

    @property
    def hung(self) -> bool:
        """Whether it was ended for not ending by itself."""
        return self.status == -signal.SIGALRM

    @property
    def defect(self) -> bool:
        """Whether it ended by an exception."""
        return self.status == DEFECT


class Plant:
    """Counts the operations of this process from now on, and carries the fault out at the n-th."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        if fault.action == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.at, resource.RLIM_INFINITY))
        sys.addaudithook(self._watch)  # for the rest of the process

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._counts(event, arguments):
            return
        number, self.seen = self.seen, self.seen + 1
        if number != self.fault.at:
            return
        if self.fault.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.fault.action == "delay":
            time.sleep(0.5)
        elif self.fault.action == "fail":
            raise OSError(self.fault.error, os.strerror(self.fault.error), str(arguments[0]))

    def _counts(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            mode, flags = arguments[1], arguments[2]
            writes = any(letter in (mode or "") for letter in "wax+") or bool(
                flags & (os.O_WRONLY | os.O_RDWR)
            )
            wanted = writes or self.fault.looks
        else:
            wanted = event in CHANGES or (self.fault.looks and event in LOOKS)
        return wanted and str(arguments[0]).startswith(str(self.fault.below))


def forked(work: Callable[[], int], fault: Fault | None = None, seconds: int = SECONDS) -> Ended:
    """Do something in a copy of this process, with a fault planted; `work` returns the exit status."""
    (counts, count_to), (outputs, output_to) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _in_fork(work, fault, seconds, count_to, output_to)
        finally:
            os._exit(DEFECT)  # whatever happened: a copy never goes on with its parent's work
    os.close(count_to)
    os.close(output_to)
    with os.fdopen(outputs, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    with os.fdopen(counts, "rb") as pipe:
        counted = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(status, int(counted or 0), text)


def _in_fork(
    work: Callable[[], int], fault: Fault | None, seconds: int, writer: int, output: int
) -> NoReturn:
    status, plant = DEFECT, None
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (open(fd, "w", closefd=False) for fd in (1, 2))  # noqa: SIM115
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        plant = Plant(fault) if fault else None
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(writer, str(plant.seen if plant else 0).encode())
        os._exit(status)
