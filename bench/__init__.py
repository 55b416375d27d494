"""Fine-tuning benchmarks whose numbers can be trusted.

    bench.run(models=["gpt2"])     train and score under one budget; a board
    bench.board("reports")         the board of what was run
    bench.compare(a, b)            what changed, and is it real
    bench.load("gpt2").ask(...)    a tuned model's answers
    bench.verify("gpt2")           its row, made again

Nothing is imported until it is used (`bench.api` has all of these).
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "run",
    "board",
    "compare",
    "load",
    "verify",
    "Leaderboard",
    "Compared",
    "TunedModel",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for. `run` is a package too, and can be called."""
    if name == "run":
        return import_module("bench.run")
    if name in __all__:
        return getattr(import_module("bench.api"), name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
