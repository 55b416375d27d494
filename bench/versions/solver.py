"""The versions that fit together: what `uv` resolves, given what is installed.

The solver is shown every installed package as a wheel without content, since builds such as torch's
2.13.0+cpu are in no index and some packages have no wheel there; and it tries installed versions
first. Whatever index pip or uv is configured with is used. What an environment is, and how it is
installed, is in `environment`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bench.errors import EnvironmentUnsolvable, RequestError
from bench.run.plan import ADAPTER, ALWAYS, CAUSAL, FOUR_BIT

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


def requirement(text: str) -> Requirement:
    """A requirement that may be asked for. Raises `RequestError`."""
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        raise RequestError(
            f"--with {text}: expected NAME==VERSION; several versions of one package are for bench matrix"
        ) from None
    if parsed.url:
        raise RequestError(f"--with {text}: only released versions, as in trl==1.14.0")
    if canonicalize_name(parsed.name) in FIXED:
        raise RequestError(f"--with {text}: {parsed.name} is reused as it is installed and cannot be moved")
    return parsed


@cache
def installed() -> dict[str, str]:
    """Folded name -> version of all installed distributions but this program."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name and canonicalize_name(name) not in FIXED[:2]:
            versions.setdefault(canonicalize_name(name), distribution.version)
    return dict(sorted(versions.items()))


def moved(wanted: Sequence[str]) -> dict[str, str]:
    """Folded name -> version of every package that must be another than the installed one.

    Raises `EnvironmentUnsolvable` with the solver's reason.
    """
    here = installed()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        stubs = [_stub(folder, name, version) for name, version in here.items()]
        (folder / "wanted.in").write_text("\n".join(_roots(wanted)) + "\n", encoding="utf-8")
        fixed = [pin for pin in stubs if pin.endswith(f"+{INSTALLED}")]
        (folder / "fixed.txt").write_text("\n".join(fixed) + "\n", encoding="utf-8")
        # The pins of an output file that exists already are what the solver tries first.
        lock = folder / "lock.txt"
        lock.write_text("\n".join(stubs) + "\n", encoding="utf-8")
        done = uv(
            *("pip", "compile", str(folder / "wanted.in"), "-o", str(lock), "-c", str(folder / "fixed.txt")),
            *("--only-binary", ":all:", "--no-header", "--no-annotate"),
            wheels=folder,
        )
        if done.returncode:
            raise EnvironmentUnsolvable(f"--with {' --with '.join(wanted)}: {reason(done.stderr)}")
        lines = lock.read_text(encoding="utf-8").splitlines()
    pairs = [line.split(";")[0].strip().split("==") for line in lines if "==" in line]
    versions = {canonicalize_name(name.partition("[")[0]): version for name, version in pairs}
    return {
        name: version
        for name, version in versions.items()
        if version != here.get(name) and not version.endswith(f"+{INSTALLED}") and name not in FIXED
    }


def releases(package: str, first: str, last: str) -> list[str]:
    """The releases of a package from `first` to `last`, oldest first, that have a wheel to install.

    The solver is asked for the newest, then for the newest below that, so yanked, foreign and preliminary
    releases are left out exactly as they would be in an environment. Raises `RequestError`.
    """
    name = canonicalize_name(requirement(package).name)
    try:
        low, high = Version(first), Version(last)
    except InvalidVersion as error:
        raise RequestError(f"{package}: {error}") from None
    if low >= high:
        raise RequestError(f"{package}: {first} is not older than {last}; name the older release first")
    listed: list[str] = []
    limit = f"<={high}"
    while True:
        done = _solve_alone(f"{name}>={low},{limit}")
        if done.returncode:
            break
        version = done.stdout.split("==")[1].split()[0]
        listed.insert(0, version)
        limit = f"<{version}"
    for end in (low, high):
        if end not in map(Version, listed):
            known = f"there are {', '.join(listed)}" if listed else reason(done.stderr)
            raise RequestError(f"{package}=={end}: no such release to install; {known}")
    return listed


def _roots(wanted: Sequence[str]) -> list[str]:
    """The wanted packages, and what this program needs beside them.

    A wanted package may leave the range that this program was released with: to try that is the point.
    """
    names = {canonicalize_name(Requirement(text).name) for text in wanted}
    try:
        own = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:  # run from a clone
        own = [Requirement(name) for name in (*ALWAYS[1:], *CAUSAL, *ADAPTER, *FOUR_BIT)]
    needed = [need for need in own if need.marker is None or need.marker.evaluate({"extra": ""})]
    present = [name for name in needed if canonicalize_name(name.name) in installed()]
    return [*wanted, *(str(name) for name in present if canonicalize_name(name.name) not in names)]


def _stub(folder: Path, name: str, version: str) -> str:
    """A wheel that says what an installed package says of itself, and holds nothing; its pin."""
    is_fixed = "+" in version or name in FIXED
    shown = f"{version.partition('+')[0]}+{INSTALLED}" if is_fixed else version
    needs = [f"Requires-Dist: {text}" for text in metadata.requires(name) or []]
    metadata_lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {shown}", *needs]
    stem = f"{name.replace('-', '_')}-{shown}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", "\n".join(metadata_lines) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}=={shown}"


def _solve_alone(text: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wanted.in"
        file.write_text(text + "\n", encoding="utf-8")
        return uv(
            "pip", "compile", str(file), "--no-deps", "--only-binary", ":all:", "--no-header", "--no-annotate"
        )


def uv(*words: str, wheels: Path | None = None) -> subprocess.CompletedProcess[str]:
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
    command = [program, *words, *_settings_file(), "--python", sys.executable, "--quiet", "--color", "never"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=variables
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentUnsolvable(
            f"uv gave no answer within {TIMEOUT} s; check the package index"
        ) from None


def _settings_file() -> tuple[str, ...]:
    """The user's own settings of uv and no others: those of the current folder may be a stranger's."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    own = Path(os.environ.get("UV_CONFIG_FILE") or Path(base) / "uv" / "uv.toml")
    return ("--config-file", str(own)) if own.is_file() else ("--no-config",)


def reason(stderr: str) -> str:
    """What uv complains of, in one line."""
    lines = [
        line.strip().removeprefix("error:").removeprefix("cause:").strip() for line in stderr.splitlines()
    ]
    reasons = [line for line in lines if line and not line.startswith(("hint:", "No solution found"))]
    return " ".join(reasons).replace(f"+{INSTALLED}", "")[:600] or "uv failed without a reason"
