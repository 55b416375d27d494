"""A run's merged weights as one GGUF file, made by the converter of the user's llama.cpp.

The converter is another project's program: it is looked for where the user says, never in the current
folder, and runs as it is in a process of its own. Its file is then read back by transformers and answers the
test questions as every export does. A model that transformers does not read back from GGUF cannot be held
against its record: it is refused before anything is loaded, and never called verified where it is forced.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench import files
from bench.errors import ConversionFailed, RequestError
from bench.train import gguf

if TYPE_CHECKING:  # this module finds a converter without loading torch
    from bench.serve.exported.merge import Type as MergedType
    from bench.serve.origin import Origin

Type = Literal["auto", "f32", "f16", "bf16", "q8_0"]
TYPES: tuple[Type, ...] = ("auto", "f32", "f16", "bf16", "q8_0")
#: Type of the file -> type that is merged into first, so that a sum is rounded once.
MERGED: dict[Type, MergedType] = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}
#: Type of merged weights -> the file's that loses nothing of them.
LOSSLESS: dict[str, Type] = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
SCRIPT, VARIABLE = "convert_hf_to_gguf.py", "LLAMA_CPP"
REMEDY = f"git clone --depth 1 https://github.com/ggml-org/llama.cpp, then --llama-cpp DIR or {VARIABLE}=DIR"
#: Seconds after which a converter is ended; a model of 70 B takes less than half of it from a slow disk.
LONGEST = 7200.0
#: SentencePiece's own file, from which the converter takes the order of merges where it is there.
VOCABULARY = "tokenizer.model"


def find(named: Path | None) -> tuple[str, ...]:
    """The words that start the converter: of a folder of llama.cpp, of `LLAMA_CPP`, or on PATH.

    Raises `RequestError` with where to get it.
    """
    for what, place in (("--llama-cpp", named), (VARIABLE, os.environ.get(VARIABLE))):
        if place:
            file = Path(place).expanduser() / SCRIPT
            if not files.is_file(file):
                raise RequestError(f"{what} {place}: holds no {SCRIPT}; {REMEDY}")
            return sys.executable, str(file.resolve())
    on_path = shutil.which(SCRIPT)
    if on_path is None:
        raise RequestError(f"--gguf: llama.cpp's {SCRIPT} is not on this machine's PATH; {REMEDY}")
    return (on_path,)


@dataclass(frozen=True)
class Conversion:
    """What is to be made of merged weights, and by what."""

    converter: tuple[str, ...]
    type: Type = "auto"
    #: Write a file too that cannot be read back.
    force: bool = False
    seconds: float = LONGEST

    def check(self, place: Origin) -> None:
        """Raise `RequestError` where nobody could say whether the file answers as scored."""
        gguf.installed("--gguf")
        why = unreadable(place)
        if why and not self.force:
            raise RequestError(
                f"--gguf: {why}, so its answers could not be held against the record; "
                "--force writes it, unverified"
            )

    def merged(self) -> MergedType:
        """The type to merge into first."""
        return MERGED.get(self.type, "auto")

    def write(self, merged: Path, folder: Path, place: Origin, dtype: object) -> str:
        """Put the GGUF file of a merged model into `folder`; its type as GGUF names it.

        `dtype` is the torch type of the merged weights. Raises `ConversionFailed`.
        """
        kind = LOSSLESS[str(dtype).removeprefix("torch.")] if self.type == "auto" else self.type
        _add_vocabulary(place, merged)
        _name_context(merged / "config.json")
        file = folder / f"model-{kind.upper()}.gguf"
        words = [*self.converter, str(merged), "--outfile", str(file), "--outtype", kind]
        _run(words, self.seconds)
        if not file.is_file():
            raise ConversionFailed(f"{SCRIPT}: ended without an error and wrote no file")
        return kind.upper()


def unreadable(place: Origin) -> str:
    """Why transformers cannot read this model back from GGUF; empty where it can."""
    architecture = place.run.model.architecture
    if architecture not in gguf.CLASSES.values():
        return f"transformers does not read a {architecture} from GGUF"
    from transformers import AutoConfig

    from bench.serve.exported.merge import source

    config = AutoConfig.from_pretrained(**source(place), trust_remote_code=False)
    positions = getattr(config, "rope_parameters", None) or {}
    if positions.get("rope_type", "default") != "default":
        return "its rotary positions are scaled, which transformers does not read from GGUF"
    return ""


def _add_vocabulary(place: Origin, merged: Path) -> None:
    """Put the base's SentencePiece file beside the tokenizer that transformers saved, where it has one."""
    from transformers.utils import cached_file

    from bench.serve.exported.merge import source

    named = source(place)
    found = cached_file(
        named["pretrained_model_name_or_path"],
        VOCABULARY,
        revision=named["revision"],
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if found:
        shutil.copyfile(found, merged / VOCABULARY)


def _name_context(file: Path) -> None:
    """Say GPT-2's positions by the older name too, which transformers 5 leaves out and converters ask for."""
    config = json.loads(file.read_text(encoding="utf-8"))
    if "n_positions" in config:
        config.setdefault("n_ctx", config["n_positions"])
        file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _run(words: list[str], seconds: float) -> None:
    """Run the converter to its end, with whatever it starts. Raises `ConversionFailed` with its last line."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ConversionFailed(f"{words[0]}: cannot be started ({error.strerror})") from None
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            raise ConversionFailed(f"{SCRIPT}: was ended after {seconds:.0f} s") from None
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        lines = [line.strip() for line in (err.strip() or out).splitlines() if line.strip()]
        why = lines[-1][:300] if lines else "it said nothing"
        raise ConversionFailed(f"{SCRIPT}: exit status {process.returncode}: {why}")


def _end(process: subprocess.Popen[str]) -> None:
    """End a process with all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
