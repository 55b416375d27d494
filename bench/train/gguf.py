"""Reads a GGUF file: what it holds, and its weights expanded once to float32 safetensors.

The file's digest is the identity of such a checkpoint. Expanded weights lie in the cache under
that digest and the versions that expanded them; a folder appears there by renaming, so it is
either whole or absent. The tokenizer is stored as transformers makes it, but for two rules of the file
that transformers does not read: how text is split into words, and whether a text begins with a token of its
own. `bench.train.end_token` checks it when it is loaded, as it checks every other.

This is the only module that imports the package `gguf`. torch and transformers are imported
where weights are expanded, because the registry reads a file's facts without them.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.cache import cache_root, keep, kept_digest, made_once
from bench.digest import digest
from bench.errors import RequestError, Unreadable
from bench.files import json_value, opened

SUFFIX = ".gguf"
MAGIC = b"GGUF"
#: `general.architecture` of a file -> class in transformers. Decoders with text alone.
CLASSES = {
    "bloom": "BloomForCausalLM",
    "falcon": "FalconForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "nemotron": "NemotronForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "stablelm": "StableLmForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
}
#: How Llama 3's tokenizer splits text into words (`tokenizer.ggml.pre` = "llama-bpe").
LLAMA_3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: What an expanded folder holds; named anew when files are expanded otherwise, so that no old one is used.
EXPANSION = "weights that begin as told"
#: Rules of splitting whose texts begin with the beginning token where the file does not say; so do all of
#: SentencePiece's.
BEGINNING = ("llama-bpe", "llama-v3", "llama3")
#: Storage types that lose nothing, or no more than a published 16-bit checkpoint.
UNQUANTISED = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Facts:
    """What a GGUF file says about itself."""

    #: SHA-256 of the file.
    digest: str
    family: str
    architecture: str
    licence: str
    parameters: int
    #: Type that most of the weights are stored in, as llama.cpp names it; none for 16 or 32 bit.
    quantisation: str | None
    #: The commonest type of the tensors, weighed by elements (F32, F16, Q8_0).
    stored_type: str


def facts(file: Path) -> Facts:
    """The facts of a file, read once and kept in the cache.

    Raises `RequestError` where it is no whole GGUF file, holds a model that cannot be tuned here,
    or the package `gguf` is not installed.
    """
    with opened(file) as handle:
        if handle.read(len(MAGIC)) != MAGIC:
            raise RequestError(f"{file}: is no GGUF file; it does not begin with 'GGUF'")
    version = installed(file)
    identity = kept_digest(file)
    kept = _folder(identity, "gguf", version).with_suffix(".json")
    with suppress(Unreadable, TypeError):  # not read yet, or damaged since
        return Facts(**json_value(kept))
    read = _read(file, identity)
    keep(kept, json.dumps(asdict(read)))
    return read


def loadable(checkpoint: Path, revision: str) -> Path:
    """The folder that transformers loads: a GGUF file's expanded weights, or the folder given.

    `revision` is the digest by which the run knows its file. Raises `RequestError` as `facts`
    does, and for a file that has changed since.
    """
    if checkpoint.suffix != SUFFIX:
        return checkpoint
    identity = facts(checkpoint).digest
    if identity != revision:
        raise RequestError(f"{checkpoint}: has changed since the run was planned; start it again")
    folder = _folder(identity, EXPANSION, installed(checkpoint), metadata.version("transformers"))
    return made_once(folder, lambda fresh: _expand(checkpoint, fresh))


def installed(what: object) -> str:
    """The version of the package gguf. Raises `RequestError`, naming `what` needs it, where it is absent."""
    try:
        return metadata.version("gguf")
    except metadata.PackageNotFoundError:
        raise RequestError(
            f"{what}: reading a GGUF file needs the package gguf; pip install 'bench-sft[gguf]'"
        ) from None


def _folder(*parts: str) -> Path:
    return cache_root() / "gguf" / digest(parts)[:20]


def _opened(file: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(file)
    except Exception as error:  # the reader raises what numpy and struct raise at a file's end
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise RequestError(f"{file}: is cut short or damaged ({reason}); fetch it again") from error


def _read(file: Path, identity: str) -> Facts:
    reader = _opened(file)
    family = str(_value(reader, "general.architecture"))
    if family not in CLASSES:
        raise RequestError(
            f"{file}: holds a '{family}' model, which cannot be tuned from GGUF here; known: "
            f"{', '.join(CLASSES)}"
        )
    scaled = any(tensor.name.startswith(("rope_freqs", "rope_factors")) for tensor in reader.tensors)
    if scaled or f"{family}.rope.scaling.type" in reader.fields:
        raise RequestError(
            f"{file}: its rotary positions are scaled, which transformers does not read from GGUF; "
            "use the model's safetensors"
        )
    parts = int(_value(reader, "split.count") or 1)
    if parts > 1:
        raise RequestError(f"{file}: is one of {parts} parts; join them by llama-gguf-split --merge")
    return Facts(
        digest=identity,
        family=family,
        architecture=CLASSES[family],
        licence=str(_value(reader, "general.license") or "unknown"),
        parameters=sum(int(tensor.n_elements) for tensor in reader.tensors),
        quantisation=_quantisation(reader, commonest := _commonest(reader)),
        stored_type=commonest,
    )


def _commonest(reader: Any) -> str:
    elements: Counter[str] = Counter()
    for tensor in reader.tensors:
        elements[tensor.tensor_type.name] += int(tensor.n_elements)
    ((commonest, _),) = elements.most_common(1) or [("no weights", 0)]
    return commonest


def _quantisation(reader: Any, commonest: str) -> str | None:
    """The name of the file's mixture of types, or of the commonest type where it names none."""
    from gguf import LlamaFileType

    if commonest in UNQUANTISED:
        return None
    named = _value(reader, "general.file_type")
    if named is None:
        return commonest
    try:
        return str(LlamaFileType(int(named)).name).removeprefix("MOSTLY_")
    except ValueError:  # a type that is newer than the package
        return commonest


def _value(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return field.contents() if field else None


def _expand(file: Path, folder: Path) -> None:
    """Write the weights as a plain float32 checkpoint, with configuration and tokenizer.

    transformers refuses to save a model that it read from GGUF, so its weights move into a new
    model of the same class and configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    stored = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    weights = stored.state_dict()
    del stored.config.quantization_config
    with torch.device("meta"):
        plain = type(stored)(stored.config)
    plain.load_state_dict(weights, assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    reader = _opened(file)
    _split_as_named(tokenizer, _value(reader, "tokenizer.ggml.pre"))
    _begin_as_told(tokenizer, reader)
    tokenizer.save_pretrained(folder)


def _split_as_named(tokenizer: Any, name: Any) -> None:
    """Split text into words as the file asks; transformers reads its rule as GPT-2's whatever it is."""
    from tokenizers import Regex, pre_tokenizers

    level = pre_tokenizers.ByteLevel
    if name == "smollm":
        rule = [pre_tokenizers.Digits(individual_digits=True), level(add_prefix_space=False)]
    elif name == "llama-bpe":
        words = pre_tokenizers.Split(Regex(LLAMA_3_WORDS), behavior="isolated")
        rule = [words, level(add_prefix_space=False, use_regex=False)]
    else:
        return
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(rule)


def _begin_as_told(tokenizer: Any, reader: Any) -> None:
    """Put the beginning token before a text where the file asks for it; transformers (5.17) leaves it out."""
    from tokenizers import processors

    asked = _value(reader, "tokenizer.ggml.add_bos_token")
    if asked is None:
        named = _value(reader, "tokenizer.ggml.pre") in BEGINNING
        asked = named or _value(reader, "tokenizer.ggml.model") == "llama"
    begin = _value(reader, "tokenizer.ggml.bos_token_id")
    if not asked or begin is None or tokenizer("a")["input_ids"][:1] == [begin]:
        return
    token = tokenizer.convert_ids_to_tokens(int(begin))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, int(begin))]
    )
