"""Another set of package versions, laid over the installed one: `--with 'trl==1.14.0'`.

`uv` solves what was asked together with what this program needs, and keeps every installed version
that need not move. Only what moved is installed, into a folder of its own that stands first on the
module path of the run's process; everything else, and this program, stays the installed one. So a
release of TRL costs megabytes and seconds, and the installed torch is never fetched again: the
solver is shown every installed package as a wheel without content, since builds such as torch's
2.13.0+cpu are in no index and some packages have no wheel there.

Solutions and folders are kept under `BENCH_CACHE`, by the digest of what they stand for: the same
request finds the same versions again even after an index has moved on. Only wheels are installed,
so that no package's build script runs. Whatever index pip or uv is configured with is used.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

import bench
from bench import provenance
from bench.data.prepare import cache_root
from bench.digest import digest
from bench.errors import EnvironmentUnsolvable, RequestError
from bench.plan import ADAPTER, ALWAYS, CAUSAL, FOUR_BIT
from bench.run import Run

DISTRIBUTION = "bench-sft"
#: Local label under which the solver sees an installed build, such as torch 2.13.0+cpu.
INSTALLED = "installed"
#: Never moved: the one is this program, the other is too large and belongs to the driver.
FIXED = ("bench", "bench-sft", "torch")
#: pip's settings and the same for uv; what is set for uv itself wins.
SETTINGS = {
    "PIP_INDEX_URL": "UV_INDEX_URL",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}
TIMEOUT = 900


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
    def versions(self) -> dict[str, str]:
        """What `provenance.versions` says inside this environment."""
        found = dict(provenance.versions())
        for name in provenance.NAMED:
            if canonicalize_name(name) in self.moved:
                found[name] = self.moved[canonicalize_name(name)]
        return found

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


def solve(asked: Sequence[str]) -> Environment:
    """The environment in which every asked requirement holds; nothing is installed yet.

    Raises `EnvironmentUnsolvable` with the solver's reason, `RequestError` for what is no requirement.
    """
    wanted = tuple(sorted(str(_requirement(text)) for text in asked))
    if not wanted:
        return Environment()
    installed = _installed()
    key = digest([wanted, installed, sys.implementation.cache_tag, sys.platform])
    kept = cache_root() / "environments" / f"{key[:20]}.json"
    if kept.is_file():
        moved = json.loads(kept.read_text(encoding="utf-8"))["moved"]
    else:
        moved = _moved(_compile(wanted, installed), installed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps({"asked": wanted, "moved": moved}, indent=1) + "\n", encoding="utf-8")
        fresh.replace(kept)
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
        done = _uv("pip", "install", "--target", str(fresh), "--no-deps", "--only-binary", ":all:", *pins)
        if done.returncode:
            raise EnvironmentUnsolvable(
                f"--with {environment.name}: cannot be installed; {_reason(done.stderr)}"
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
    """Raise `EnvironmentUnsolvable` where Unsloth, which patches its neighbours, refuses a moved one."""
    if not any(run.backend == "unsloth" for run in runs):
        return
    for text in metadata.requires("unsloth") or []:
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


def releases(package: str, first: str, last: str) -> list[str]:
    """The releases of a package from `first` to `last`, oldest first, that have a wheel to install.

    Asked of the solver one below the other, so that yanked, foreign and preliminary releases are
    left out exactly as they would be in an environment. Raises `RequestError`.
    """
    name = canonicalize_name(_requirement(package).name)
    try:
        low, high = Version(first), Version(last)
    except InvalidVersion as error:
        raise RequestError(f"{package}: {error}") from None
    if low >= high:
        raise RequestError(f"{package}: {first} is not older than {last}; name the older release first")
    found: list[str] = []
    limit = f"<={high}"
    while True:
        done = _solve_alone(f"{name}>={low},{limit}")
        if done.returncode:
            break
        version = done.stdout.split("==")[1].split()[0]
        found.insert(0, version)
        limit = f"<{version}"
    for end in (low, high):
        if end not in map(Version, found):
            known = f"there are {', '.join(found)}" if found else _reason(done.stderr)
            raise RequestError(f"{package}=={end}: no such release to install; {known}")
    return found


def _solve_alone(text: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wanted.in"
        file.write_text(text + "\n", encoding="utf-8")
        return _uv(
            "pip", "compile", str(file), "--no-deps", "--only-binary", ":all:", "--no-header", "--no-annotate"
        )


def _requirement(text: str) -> Requirement:
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise RequestError(
            f"--with {text}: expected NAME==VERSION; several versions of one package are for bench matrix"
        ) from None
    if found.url:
        raise RequestError(f"--with {text}: only released versions, as in trl==1.14.0")
    if canonicalize_name(found.name) in FIXED:
        raise RequestError(f"--with {text}: {found.name} is reused as it is installed and cannot be moved")
    return found


@cache
def _installed() -> dict[str, str]:
    """Folded name -> version of all installed distributions but this program."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name and canonicalize_name(name) not in FIXED[:2]:
            found.setdefault(canonicalize_name(name), one.version)
    return dict(sorted(found.items()))


def _roots(wanted: Sequence[str]) -> list[str]:
    """What was asked, and what this program needs beside it.

    An asked package may leave the range that this program was released with: to try that is the point.
    """
    asked = {canonicalize_name(Requirement(text).name) for text in wanted}
    try:
        own = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:  # run from a clone
        own = [Requirement(name) for name in (*ALWAYS[1:], *CAUSAL, *ADAPTER, *FOUR_BIT)]
    needed = [one for one in own if one.marker is None or one.marker.evaluate({"extra": ""})]
    present = [one for one in needed if canonicalize_name(one.name) in _installed()]
    return [*wanted, *(str(one) for one in present if canonicalize_name(one.name) not in asked)]


def _compile(wanted: Sequence[str], installed: Mapping[str, str]) -> dict[str, str]:
    """Folded name -> version of everything that the roots need, close to what is installed."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        stubs = [_stub(folder, name, version) for name, version in installed.items()]
        (folder / "wanted.in").write_text("\n".join(_roots(wanted)) + "\n", encoding="utf-8")
        fixed = [pin for pin in stubs if pin.endswith(f"+{INSTALLED}")]
        (folder / "fixed.txt").write_text("\n".join(fixed) + "\n", encoding="utf-8")
        # The pins of an output file that exists already are what the solver tries first.
        lock = folder / "lock.txt"
        lock.write_text("\n".join(stubs) + "\n", encoding="utf-8")
        done = _uv(
            *("pip", "compile", str(folder / "wanted.in"), "-o", str(lock), "-c", str(folder / "fixed.txt")),
            *("--only-binary", ":all:", "--no-header", "--no-annotate"),
            wheels=folder,
        )
        if done.returncode:
            raise EnvironmentUnsolvable(f"--with {' --with '.join(wanted)}: {_reason(done.stderr)}")
        lines = lock.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(";")[0].strip().split("==") for line in lines if "==" in line]
    return {canonicalize_name(name.partition("[")[0]): version for name, version in pairs}


def _moved(solved: Mapping[str, str], installed: Mapping[str, str]) -> dict[str, str]:
    return {
        name: version
        for name, version in solved.items()
        if version != installed.get(name) and not version.endswith(f"+{INSTALLED}") and name not in FIXED
    }


def _stub(folder: Path, name: str, version: str) -> str:
    """A wheel that says what an installed package says of itself, and holds nothing; its pin."""
    is_fixed = "+" in version or name in FIXED
    shown = f"{version.partition('+')[0]}+{INSTALLED}" if is_fixed else version
    needs = [f"Requires-Dist: {text}" for text in metadata.requires(name) or []]
    said = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {shown}", *needs]
    stem = f"{name.replace('-', '_')}-{shown}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", "\n".join(said) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}=={shown}"


def _uv(*words: str, wheels: Path | None = None) -> subprocess.CompletedProcess[str]:
    """uv with the settings of pip and uv; `wheels` is one more folder to find packages in."""
    try:
        from uv import find_uv_bin

        program = find_uv_bin()
    except (ImportError, FileNotFoundError):
        raise EnvironmentUnsolvable("--with needs uv: pip install uv") from None
    settings = {uv: os.environ[pip] for pip, uv in SETTINGS.items() if pip in os.environ}
    variables = {**settings, **os.environ}
    links = variables.get("UV_FIND_LINKS", "").replace(" ", ",").split(",")
    variables["UV_FIND_LINKS"] = ",".join(link for link in [*links, str(wheels or "")] if link)
    command = [program, *words, "--python", sys.executable, "--quiet", "--color", "never"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=variables
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentUnsolvable(
            f"uv gave no answer within {TIMEOUT} s; check the package index"
        ) from None


def _reason(stderr: str) -> str:
    """What uv complains of, in one line."""
    lines = [
        line.strip().removeprefix("error:").removeprefix("cause:").strip() for line in stderr.splitlines()
    ]
    said = [line for line in lines if line and not line.startswith(("hint:", "No solution found"))]
    return " ".join(said).replace(f"+{INSTALLED}", "")[:600] or "uv failed without a reason"
