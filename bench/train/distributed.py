"""One training run in several processes, as `torchrun` starts them: who this one is, and what they share.

`bench.launch.ranks` starts the processes; torch and accelerate read the same variables.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from bench.run.identity import Run

#: Seconds that a process waits for the others: the first of them may answer all questions meanwhile.
PATIENCE = 24 * 3600


def rank(run: Run) -> int:
    """This process's number among those of its run, from 0."""
    return int(os.environ["RANK"]) if run.recipe.devices > 1 else 0


def arguments(run: Run) -> dict[str, Any]:
    """What a trainer is given where several processes share a run; nothing for one."""
    if run.recipe.devices == 1:
        return {}
    return {
        "ddp_backend": "gloo",
        "ddp_timeout": PATIENCE,
        "ddp_find_unused_parameters": False,
        "average_tokens_across_devices": True,  # the loss is one mean over all processes' tokens
        "save_strategy": "no",  # a checkpoint would hold one process's counts
    }


def total(*counts: int) -> tuple[int, ...]:
    """Each count summed over all processes of the run."""
    tensor = torch.tensor(counts, dtype=torch.int64)
    torch.distributed.all_reduce(tensor)
    return tuple(int(count) for count in tensor)
