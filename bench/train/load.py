"""A checkpoint becomes a model that can be trained: full precision, 4-bit, or through Unsloth.

Seeds are set before an adapter is initialised, so the same seed gives the same adapter. Only
safetensors are loaded and no code of a checkpoint is run. A fallback is never silent: it is
returned with its reason and ends up on the board.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    set_seed,
)

from bench.errors import OtherCheckpoint, Unreachable, UnsafeRequest
from bench.run.identity import Backend, Run
from bench.spec import Device
from bench.train import adapter as adapters
from bench.train import end_token, random_weights
from bench.train.freeze import freeze
from bench.train.numerics import chosen_type, optimizer


@dataclass
class Loaded:
    """A model ready for its trainer, or to answer as it is where nothing is trained."""

    model: Any
    tokenizer: Any
    backend: Backend
    #: True where the base is the same model with the adapter off.
    adapter: bool


def load(run: Run, folder: Path | None) -> Loaded:
    """The run's model with its adapter attached; `folder` is a twin's or a local checkpoint's,
    or a GGUF file, or a saved adapter's.

    Raises `Unreachable` for a hub model that is gated or out of reach, `UnsafeRequest` for
    weights that are not safetensors.
    """
    source = run.checkpoint.source
    if run.checkpoint.kind == "random":
        source = str(random_weights.loadable(run.model, run.checkpoint.revision))
    elif folder:
        source = str(adapters.loadable(folder, run.checkpoint))
    revision = run.checkpoint.revision if run.checkpoint.kind == "hub" else None
    try:
        if run.backend == "unsloth":
            return _with_unsloth(run, source)
        return _with_transformers(run, source, revision)
    except OSError as error:
        raise _explained(run, error) from error


def _with_transformers(run: Run, source: str, revision: str | None) -> Loaded:
    dtype, *_ = chosen_type(run)
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    quantised, fallbacks = None, _fallbacks(run, source)
    if run.recipe.method == "qlora":
        if run.model.objective == "causal" and not _has_unsloth():
            fallbacks.append("bitsandbytes 4-bit instead of Unsloth: not installed")
        quantised, lack = _four_bit(run.device, dtype)
        if lack:
            fallbacks.append(lack)
    # Tuned weights stay in float32 and are computed with in `dtype`; the base of an adapter is stored in it.
    stored = dtype if run.recipe.adapter else torch.float32
    auto = AutoModelForSeq2SeqLM if run.model.objective == "seq2seq" else AutoModelForCausalLM
    model = auto.from_pretrained(
        source,
        revision=revision,
        dtype=stored,
        use_safetensors=True,
        trust_remote_code=False,
        quantization_config=quantised,
        adapter_kwargs={"revision": revision},  # else an adapter is looked for at the branch `main`
        device_map=_placement(run, quantised is not None),
    )
    if quantised and run.device == "cpu":
        _keep_differentiable(model)
    disagreement = end_token.reconcile(tokenizer, model)
    _set_padding(tokenizer)
    adapter = run.recipe.adapter and run.trained
    if run.recipe.method == "freeze" and run.trained:
        freeze(model, run.recipe.last_blocks, encoder_decoder=run.model.objective == "seq2seq")
    if adapter:
        model = _with_adapter(model, run, quantised is not None)
    parts = [*(["bitsandbytes"] if quantised else []), *(["peft"] if adapter else [])]
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        adapter=adapter,
        backend=Backend(
            name="+".join(parts) or "transformers",
            reason=_reason(run),
            fallbacks=tuple(fallbacks),
            precision=str(dtype).removeprefix("torch."),
            quantisation="nf4, double" if quantised else None,
            end_token=disagreement,
        ),
    )


def _with_adapter(model: Any, run: Run, quantised: bool) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    if quantised:
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=run.recipe.gradient_checkpointing
        )
    recipe = run.recipe
    set_seed(run.seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=recipe.targets,
        task_type=TaskType.SEQ_2_SEQ_LM if run.model.objective == "seq2seq" else TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, config)


def _with_unsloth(run: Run, source: str) -> Loaded:
    from unsloth import FastLanguageModel  # patches TRL and transformers: only ever in its own process

    dtype, *_ = chosen_type(run)
    recipe = run.recipe
    model, tokenizer = FastLanguageModel.from_pretrained(
        source,
        revision=run.checkpoint.revision if run.checkpoint.kind == "hub" else None,
        use_exact_model_name=True,  # else a known name is redirected to a mirror, and the revision dropped
        max_seq_length=run.contract.max_length,
        dtype=dtype,
        load_in_4bit=True,
        trust_remote_code=False,
    )
    check_source(model.config, run, source)
    disagreement = end_token.reconcile(tokenizer, model)
    _set_padding(tokenizer)
    set_seed(run.seed)
    if run.trained:
        model = FastLanguageModel.get_peft_model(
            model,
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=recipe.targets,
            bias="none",
            use_gradient_checkpointing="unsloth" if recipe.gradient_checkpointing else False,
            random_state=run.seed,
        )
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        adapter=run.trained,
        backend=Backend(
            name="unsloth",
            reason="recipe asks for 4 bit and unsloth is installed",
            fallbacks=tuple(_fallbacks(run, source)),
            precision=str(dtype).removeprefix("torch."),
            quantisation="nf4, double",
            end_token=disagreement,
        ),
    )


def check_source(config: Any, run: Run, source: str) -> None:
    """Refuse a model that was loaded from elsewhere than its run names.

    `source` is the repository or folder that was asked for. Unsloth may still redirect where the
    exact name was asked for, as from pre-quantised weights that a device cannot use. Raises
    `OtherCheckpoint`.
    """
    name = str(getattr(config, "_name_or_path", "") or "")
    if name.casefold() != source.casefold():  # the hub takes a repository's name in any case
        raise OtherCheckpoint(f"model '{run.name}': loaded from {name or 'an unnamed source'}, not {source}")
    commit = getattr(config, "_commit_hash", None)
    if run.checkpoint.kind == "hub" and commit != run.checkpoint.revision:
        raise OtherCheckpoint(
            f"model '{run.name}': {source} was loaded at commit {commit}, not {run.checkpoint.revision}"
        )


def _set_padding(tokenizer: Any) -> None:
    """Pad with the end token where there is no pad token; masks, not ids, tell them apart."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    tokenizer.padding_side = "right"  # for training; generation pads by itself


def _placement(run: Run, quantised: bool) -> dict[str, Any] | None:
    if run.device == "cuda":
        return {"": 0}
    return {"": run.device} if quantised or run.device == "mps" else None


def _fallbacks(run: Run, source: str) -> list[str]:
    """What of the recipe's numerics this device cannot do, and another tokenizer than the published one."""
    reasons = [reason for _, reason in (chosen_type(run), optimizer(run)) if reason]
    return [*reasons, *filter(None, [random_weights.note(Path(source))])]


def _four_bit(device: Device, dtype: torch.dtype) -> tuple[BitsAndBytesConfig | None, str | None]:
    if device == "mps":
        return None, "no 4-bit weights, unquantised LoRA instead: bitsandbytes has no kernels for mps"
    try:
        import bitsandbytes  # noqa: F401  (the import fails where its native library does not load)
    except Exception as error:
        return None, f"no 4-bit weights, unquantised LoRA instead: bitsandbytes does not load ({error})"
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return config, None


def _keep_differentiable(model: Any) -> None:
    """Keep 4-bit weights as they were loaded.

    On CPUs with AVX512-BF16 bitsandbytes repacks them at the first forward in evaluation mode
    (0.50), and the kernel for packed weights has no gradient: a model that answered once would
    afterwards train on wrong gradients, with no more than a warning.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _reason(run: Run) -> str:
    """Why transformers loads the model; a backend that was asked for is no fallback."""
    reason = f"recipe asks for {run.recipe.method}"
    if run.recipe.method == "qlora" and run.model.objective == "causal" and _has_unsloth():
        reason += "; --backend transformers"
    return reason


def _has_unsloth() -> bool:
    return importlib.util.find_spec("unsloth") is not None


def _explained(run: Run, error: OSError) -> Exception:
    text = str(error)
    where = f"model '{run.name}': {run.checkpoint.source}@{run.checkpoint.revision[:12]}"
    if "safetensors" in text and "does not appear to have" in text:
        return UnsafeRequest(f"{where} has no safetensors weights; pickled weights are refused")
    remedy = f"use its twin by --scale mini{'' if run.model.twin else ' (this model has none)'}"
    if "gated" in text.lower() or "401" in text or "403" in text:
        return Unreachable(
            f"{where} is gated; accept its licence on the hub and run `hf auth login`, or {remedy}"
        )
    return Unreachable(
        f"{where} cannot be fetched ({text.splitlines()[0][:120]}); check the network, or {remedy}"
    )
