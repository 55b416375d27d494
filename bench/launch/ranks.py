"""Several processes for one run: each takes its share of every effective batch.

The trainer does the rest as under `torchrun` (accelerate, gloo on the CPU): the same examples in the same
order, micro-batch x accumulation x devices to an optimizer step, gradients averaged, and the loss divided by
the answer tokens of the whole effective batch. The first process answers, scores and saves as it would alone;
the others load, train and leave.

The processes are forked from the run's own, before it has used a thread of torch's.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: Made by the first process that fails: what the others then say is a consequence of it.
FAILED = ".failed"
POLL = 0.05


def spread(count: int, workspace: Path, attempt: Callable[[int], None]) -> list[int]:
    """Call `attempt(rank)` in `count` processes; how those ended that failed, empty if all is well.

    The ends are exit statuses, of a process that was killed the negative number of the signal. Where one
    fails the others are killed, which is not counted.
    """
    (workspace / FAILED).unlink(missing_ok=True)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    ranks: dict[int, int] = {}
    for rank in range(count):
        pid = os.fork()
        if pid == 0:
            os.environ.update({**address, **sizes, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            _attempt(rank, attempt)
        ranks[pid] = rank
    failed: list[int] = []
    while ranks:
        over = {pid: status for pid in ranks for done, status in [os.waitpid(pid, os.WNOHANG)] if done}
        for pid in over:
            del ranks[pid]
        ends = [os.waitstatus_to_exitcode(status) for status in over.values()]
        if not failed and any(ends):
            failed = [end for end in ends if end]
            for other in ranks:
                with suppress(ProcessLookupError):
                    os.kill(other, signal.SIGKILL)
        time.sleep(POLL)
    return failed


def is_first_to_fail(workspace: Path) -> bool:
    """Whether no other process of the run has failed before this one."""
    try:
        (workspace / FAILED).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _attempt(rank: int, attempt: Callable[[int], None]) -> None:
    status = 1
    try:
        attempt(rank)
        status = 0
    except BaseException:  # `attempt` has told the driver
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
