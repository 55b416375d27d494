"""Which device runs use here, and which GPU each of them may see.

torch decides: it is asked once for a command, in a child process, so that the driver neither imports
it nor initialises CUDA. Where nothing on the machine hints at a GPU the question is spared. What is
decided from the answer is pure: `choose` takes the answer as an argument.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench import provenance
from bench.errors import RequestError
from bench.spec import Device

#: Device files of NVIDIA's driver, of its driver under WSL2 (which has no /proc/driver/nvidia), and of AMD's.
HINTS = ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
#: Seconds that the child may take to import torch and to initialise the driver.
TIMEOUT = 120
QUESTION = """
import json, torch
gpus = []
if torch.cuda.is_available():
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        gpus.append([properties.name, properties.major, properties.minor, properties.total_memory])
mps = torch.backends.mps.is_available()
build = torch.version.cuda or torch.version.hip
print(json.dumps({"version": torch.__version__, "build": build, "gpus": gpus, "mps": mps}))
"""


@dataclass(frozen=True)
class Gpu:
    """One GPU as torch sees it."""

    name: str
    #: Compute capability, such as (7, 5) of a T4.
    capability: tuple[int, int]
    #: Bytes.
    memory: int


@dataclass(frozen=True)
class Devices:
    """What runs can use on this machine."""

    device: Device
    gpus: tuple[Gpu, ...] = ()
    #: A value of CUDA_VISIBLE_DEVICES for each share of the work.
    slots: tuple[str, ...] = ()
    #: Why a GPU that seems to be there is not used.
    note: str = ""


@cache
def here() -> Devices:
    """The devices of this machine; torch is asked at most once."""
    hinted = sys.platform in ("darwin", "win32") or any(list(Path("/").glob(hint[1:])) for hint in HINTS)
    if not hinted or hides_all(os.environ.get("CUDA_VISIBLE_DEVICES")):
        return Devices("cpu")
    return choose(ask_torch(), os.environ)


def machine(device: Device) -> str:
    """This machine as a record names it: the first GPU where runs use one, and the processor."""
    gpu = here().gpus[0].name if device == "cuda" and here().gpus else None
    return " ".join(filter(None, (gpu, provenance.hardware())))


def one_kind(machines: Iterable[tuple[str, str]]) -> str:
    """The kind that all have; `machines` are pairs of a name (a node, a row) and its kind.

    Other hardware changes the last digits of sums, and so a few answers. Raises `RequestError`, which names
    each kind and who is of it, where there are several.
    """
    members: dict[str, dict[str, None]] = {}
    for name, kind in machines:
        members.setdefault(kind, {})[name] = None
    if len(members) == 1:
        return next(iter(members))
    kinds = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in members.items())
    raise RequestError(f"--same-hardware: {len(members)} kinds of machine: {kinds}")


def ask_torch(python: str = sys.executable) -> Mapping[str, Any]:
    """The answer of a child process to `QUESTION`; `{"error": ...}` where it gives none."""
    try:
        done = subprocess.run(
            [python, "-c", QUESTION], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        answer: dict[str, Any] = json.loads(done.stdout.strip().split("\n")[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    except ValueError:
        lines = done.stderr.strip().split("\n")
        return {"error": lines[-1] or f"exit status {done.returncode}"}
    return answer


def choose(answer: Mapping[str, Any], environment: Mapping[str, str]) -> Devices:
    """The devices that runs use, from torch's answer and the environment's variables."""
    if "error" in answer:
        return Devices("cpu", note=f"torch cannot say whether there is a GPU ({answer['error']})")
    gpus = tuple(Gpu(name, (major, minor), memory) for name, major, minor, memory in answer["gpus"])
    if gpus:
        return Devices("cuda", gpus, slots(environment.get("CUDA_VISIBLE_DEVICES"), len(gpus)))
    if answer["mps"]:
        return Devices("mps")
    if sys.platform == "darwin":
        return Devices("cpu")
    version = answer["version"]
    if answer["build"] is None:
        return Devices(
            "cpu", note=f"torch {version} is a build for the CPU; install one for CUDA to use the GPU"
        )
    return Devices("cpu", note=f"torch {version} finds no usable GPU; its driver may be too old")


def slots(visible: str | None, count: int) -> tuple[str, ...]:
    """A value of CUDA_VISIBLE_DEVICES for each of `count` GPUs that torch sees.

    Where the variable is set its own entries are handed on, be they numbers, UUIDs or names of MIG
    slices: a job's GPU is named as the user named it. CUDA opens one MIG slice in a process, so
    torch counts one where several may be shared out.
    """
    if visible is None:
        return tuple(str(number) for number in range(count))
    names = entries(visible)
    return names if any(name.startswith("MIG") for name in names) else names[:count]


def entries(visible: str) -> tuple[str, ...]:
    """The entries of CUDA_VISIBLE_DEVICES in force: CUDA ignores those from the first -1 on."""
    names = [name.strip() for name in visible.split(",")]
    end = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
    return tuple(names[:end])


def hides_all(visible: str | None) -> bool:
    """Whether a value of CUDA_VISIBLE_DEVICES leaves no GPU."""
    return visible is not None and not entries(visible)


def share(names: Sequence[str], slot: int) -> dict[str, str]:
    """The variables that give the job in a slot its GPU; none where there is only one to see."""
    return {"CUDA_VISIBLE_DEVICES": names[slot % len(names)]} if len(names) > 1 else {}
