"""Which of a cluster's GPUs a run can be placed on: those whose memory is not clearly too small for it.

A cluster knows the type of each node's accelerator and nothing of its memory, so the memory stands here. What
a run needs is the prediction of `bench plan`. As before a run on one machine, a card is ruled out only where
the prediction exceeds it by more than its expected error, and a card of an unknown type never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.run import cost
from bench.run.identity import Run

#: The label by which Ray names the type of a node's accelerator.
LABEL = "ray.io/accelerator-type"
#: That of a node's id.
NODE = "ray.io/node-id"
#: Type -> GB of its largest variant (NVIDIA's data sheets).
MEMORY = {
    "P4": 8,
    "K80": 12,
    "P100": 16,
    "T4": 16,
    "A10G": 24,
    "L4": 24,
    "V100": 32,
    "L40S": 48,
    "A100": 80,
    "H100": 94,
    "H200": 141,
}


def too_small(run: Run) -> tuple[str, ...]:
    """The types of accelerators that a run clearly does not fit; none for a CPU or an unknown shape."""
    what = cost.setting(run.model, run.recipe, run.backend, run.device) if run.device == "cuda" else None
    if what is None or run.scale == "mini":
        return ()

    def needed(memory: float) -> float:
        return cost.cost(what, run.contract, memory).peak * (1 - cost.EXPECTED_ERROR)

    return tuple(name for name, size in MEMORY.items() if needed(size * cost.GIB) > size * cost.GIB)


def selector(wanted: str | None, run: Run, without: Iterable[str] = ()) -> dict[str, str]:
    """Ray's selector of nodes for a run: of the `wanted` type, else not of one that is too small.

    `without` are ids of nodes that are not to have it.
    """
    small, others = too_small(run), ",".join(without)  # Ray would take a space as a part of a name
    chosen = {LABEL: wanted} if wanted else {LABEL: f"!in({','.join(small)})"} if small else {}
    return {**chosen, NODE: f"!in({others})"} if others else chosen


def without_a_place(runs: Iterable[Run], nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of models whose runs fit on no GPU of these nodes."""
    types = {kind_of(each) for each in nodes if each["Resources"].get("GPU")}
    return list(dict.fromkeys(run.name for run in runs if types and types <= set(too_small(run))))


def kind_of(node: Mapping[str, Any]) -> str:
    """The type of a node's accelerator; empty where it has none or its cluster does not say."""
    return str(node.get("Labels", {}).get(LABEL, ""))


def described(node: Mapping[str, Any]) -> str:
    """A node in words: its name and what it has."""
    held = node["Resources"]
    gpus = f", {held['GPU']:.0f} GPU {kind_of(node)}".rstrip() if held.get("GPU") else ", no GPU"
    return f"{node.get('NodeManagerHostname', 'a node')} with {held.get('CPU', 0):.0f} CPU{gpus}"
