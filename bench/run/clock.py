"""Seconds and GPU memory of a run, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.store.record import Stage

Emit = Callable[[dict[str, Any]], None]


class Clock:
    """Seconds and peak GPU memory of each stage; announces to the driver which stage begins.

    `gpu` has torch.cuda's `reset_peak_memory_stats` and `max_memory_allocated`; none without a GPU.
    """

    def __init__(self, emit: Emit, gpu: Any = None) -> None:
        self.emit = emit
        self.gpu = gpu
        self.seconds: dict[str, float] = {}
        #: Stage -> bytes at its highest point.
        self.gpu_memory: dict[str, int] = {}

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Measure a stage."""
        self.emit({"event": "stage", "stage": name})
        if self.gpu:
            self.gpu.reset_peak_memory_stats()
        begin = time.perf_counter()
        yield
        if self.gpu:
            self.gpu_memory[name] = max(self.gpu_memory.get(name, 0), self.gpu.max_memory_allocated())
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def add(self, stage: Stage, seconds: float) -> None:
        """Count what an interrupted try spent on a stage, up to the checkpoint that was taken up."""
        self.seconds[stage] += seconds

    def apart(self, whole: Stage, part: Stage, seconds: float) -> None:
        """Count a part of a timed stage as a stage of its own."""
        self.seconds[whole] -= seconds
        self.seconds[part] = seconds
