"""Another set of package versions, laid over the installed one: `--with 'trl==1.14.0'`.

`solver` says what must move so that everything asked for holds together with what this program needs.
Only that is installed, into a folder of its own that stands first on the module path of the run's
process; everything else, and this program, stays the installed one. So a release of TRL costs
megabytes and seconds, and the installed torch is never fetched again.

Solutions and folders are kept under `BENCH_CACHE`, by the digest of what they stand for: the same
request finds the same versions again even after an index has moved on. Only wheels are installed,
so that no package's build script runs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bench
from bench import provenance
from bench.cache import cache_root, keep
from bench.digest import digest
from bench.errors import EnvironmentUnsolvable, Unreadable
from bench.files import json_value
from bench.run.identity import Run
from bench.versions import solver


@dataclass(frozen=True)
class Environment:
    """What runs' processes import: the installed packages but for `moved` (name -> version)."""

    asked: tuple[str, ...] = ()
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What was asked for, as `bench compare` understands it."""
        return ",".join(self.asked) or "installed"

    @property
    def trial(self) -> tuple[str, ...]:
        """What was asked for, where it moves a package."""
        return self.asked if self.moved else ()

    @property
    def versions(self) -> dict[str, str]:
        """What `provenance.versions` says inside this environment."""
        installed = dict(provenance.versions())
        for name in provenance.NAMED:
            if canonicalize_name(name) in self.moved:
                installed[name] = self.moved[canonicalize_name(name)]
        return installed

    @property
    def folder(self) -> Path | None:
        """Where the moved packages are kept; none where nothing moves."""
        if not self.moved:
            return None
        key = digest([self.moved, sys.implementation.cache_tag, sys.platform])
        return cache_root() / "environments" / key[:20]

    @property
    def variables(self) -> dict[str, str]:
        """What a process must be started with to be in this environment."""
        if self.folder is None:
            return {}
        program = Path(bench.__file__).parent.parent
        inherited = os.environ.get("PYTHONPATH")
        parts = [str(self.folder), str(program), *([inherited] if inherited else [])]
        return {"PYTHONPATH": os.pathsep.join(parts)}


def solve(requirements: Sequence[str]) -> Environment:
    """The environment in which every requirement holds; nothing is installed yet.

    Raises `EnvironmentUnsolvable` with the solver's reason, `RequestError` for what is no requirement.
    """
    wanted = tuple(sorted(str(solver.requirement(text)) for text in requirements))
    if not wanted:
        return Environment()
    key = digest([wanted, solver.installed(), sys.implementation.cache_tag, sys.platform])
    kept = cache_root() / "environments" / f"{key[:20]}.json"
    try:
        moved = {str(name): str(version) for name, version in json_value(kept)["moved"].items()}
    except (Unreadable, TypeError, KeyError, AttributeError):  # not solved yet, or damaged since
        moved = solver.moved(wanted)
        keep(kept, json.dumps({"asked": wanted, "moved": moved}, indent=1) + "\n")
    return Environment(wanted, moved)


def build(environment: Environment) -> Environment:
    """Install what moved, unless that was done before. Raises `EnvironmentUnsolvable`."""
    folder = environment.folder
    if folder is None or folder.is_dir():
        return environment
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        pins = [f"{name}=={version}" for name, version in sorted(environment.moved.items())]
        done = solver.uv(
            "pip", "install", "--target", str(fresh), "--no-deps", "--only-binary", ":all:", *pins
        )
        if done.returncode:
            raise EnvironmentUnsolvable(
                f"--with {environment.name}: cannot be installed; {solver.reason(done.stderr)}"
            )
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same content
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return environment


def check_backend(runs: Sequence[Run], environment: Environment) -> None:
    """Raise `EnvironmentUnsolvable` where Unsloth, which patches its neighbours, refuses a moved one.

    A plan for another machine may name Unsloth where it is not installed: then nothing is known to refuse.
    """
    if not any(run.backend == "unsloth" for run in runs):
        return
    try:
        requirements = metadata.requires("unsloth") or []
    except metadata.PackageNotFoundError:
        return
    for text in requirements:
        needs = Requirement(text)
        version = environment.moved.get(canonicalize_name(needs.name))
        if (
            version
            and "extra" not in str(needs.marker)
            and not needs.specifier.contains(version, prereleases=True)
        ):
            raise EnvironmentUnsolvable(
                f"--with {environment.name}: unsloth {metadata.version('unsloth')} needs {needs.name}"
                f"{needs.specifier}; use --backend transformers"
            )
