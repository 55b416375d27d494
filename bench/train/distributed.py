"""One training run in several processes, as `torchrun` starts them: who this one is, and what they share.

`bench.launch.ranks` starts the processes; torch and accelerate read the same variables. What the processes
tell each other is JSON: nothing that arrives is unpickled.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import torch

from bench.run.identity import Run

#: Seconds that a process waits for the others: the first of them may score and answer alone meanwhile.
PATIENCE = 24 * 3600


def join(run: Run) -> None:
    """Meet the other processes of the run, if there are any; the trainer takes the same group."""
    if run.recipe.devices > 1:
        torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=PATIENCE))


def count() -> int:
    """How many processes share this run."""
    return torch.distributed.get_world_size() if _is_shared() else 1


def own_rank() -> int:
    """This process's number among those of its run, from 0."""
    return torch.distributed.get_rank() if _is_shared() else 0


def _is_shared() -> bool:
    return bool(torch.distributed.is_available() and torch.distributed.is_initialized())


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


def said(value: Any = None, rank: int = 0) -> Any:
    """What process `rank` says, a value that JSON has, in every process of the run; all must call it."""
    if not _is_shared():
        return value
    own = rank == own_rank()
    content = bytearray(json.dumps(value).encode()) if own else bytearray()
    size = torch.tensor([len(content)])
    torch.distributed.broadcast(size, rank)
    text = torch.frombuffer(content, dtype=torch.uint8) if own else torch.empty(int(size), dtype=torch.uint8)
    torch.distributed.broadcast(text, rank)
    return json.loads(text.numpy().tobytes())


def collected(value: Any) -> list[Any]:
    """What every process says, by rank; all must call it."""
    return [said(value, rank) for rank in range(count())]
