"""One run's life, in order: identity, plan, job, encode, generate, attempt, account.

The package can be called: `bench.run(models=["gpt2"])` is `bench.api.run`, although `bench.run` also names
the folder of these modules.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that is a function as well."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return import_module("bench.api").run(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
