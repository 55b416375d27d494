"""Builds the twins' folders: tokenizer, pretraining, bfloat16 weights, model card, digests.

`build` repeats what the shipped folders came from. A folder is written three times, each time whole:
at a quarter of the pretraining, at its end (both times its card says that it is provisional), and after
the last tokens, which `unlikelihood` owns and which start from the folder. What a card says is in
`card`, what it is checked against in `verify`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bench.errors import UnknownName
from bench.twins import architectures, card, corpus, loss, pretrain, tokenizers, unlikelihood
from bench.twins.corpus import Document

TOKENS = 9_000_000
SEED = 3407


def build(
    families: Iterable[str],
    out: Path,
    data: Path,
    tokens: int = TOKENS,
    seed: int = SEED,
    *,
    work: Path | None = None,
    threads: int = 1,
    compile: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Pretrains each family and writes `out/FAMILY/`.

    `data` is a local copy of databricks-dolly-15k (JSONL). `work` keeps checkpoints, so that the
    same call goes on where an earlier one was interrupted; a provisional folder whose pretraining is at
    its end is only finished. `compile` wants a C++ compiler. Raises
    `UnknownName` for a family that has no twin, before anything is read.
    """
    wanted = list(families)
    for family in wanted:
        if family not in architectures.FAMILIES:
            raise UnknownName("twin", family, architectures.FAMILIES)
    torch.set_num_threads(threads)
    texts = corpus.load(data)
    for family in wanted:
        checkpoint = work / f"{family}.pt" if work is not None else None
        plan = pretrain.Plan(tokens, seed, checkpoint=checkpoint, compile=compile)
        _build(family, out / family, texts, plan, say)


def _build(
    family: str, folder: Path, texts: corpus.Corpus, plan: pretrain.Plan, say: Callable[[str], None]
) -> None:
    pretrained = card.is_pretrained(folder, plan)
    if pretrained:  # with this tokenizer, whatever the corpus would give today
        tokenizer = tokenizer_of(folder)
    else:
        tokenizer = tokenizers.build(family, [corpus.text(example) for example in texts.train])
    train = corpus.documents(texts.train, tokenizer)
    held_out = corpus.documents(texts.validation, tokenizer)

    def report(line: str) -> None:
        say(f"{family}: {line}")

    def publish(
        model: PreTrainedModel,
        progress: pretrain.Progress,
        unlikelihood_part: unlikelihood.UnlikelihoodResult | None = None,
    ) -> None:
        write(folder, family, model, tokenizer, (train, held_out), plan, progress, unlikelihood_part)

    def check(model: PreTrainedModel, progress: pretrain.Progress) -> None:
        quarter = progress.tokens - pretrain.CHECK < plan.tokens / 4 <= progress.tokens
        if quarter or progress.tokens >= plan.tokens:
            publish(model, progress)

    if not pretrained:
        fresh = _quick(architectures.build(family, plan.seed))
        pretrain.pretrain(fresh, train, held_out, plan, report, check)
    if plan.checkpoint is not None:
        plan.checkpoint.unlink(missing_ok=True)
    saved, progress, began = _quick(load(folder)), card.progress(folder), time.monotonic()
    unlikelihood_part = unlikelihood.train_against_repetition(
        saved, train, tokenizer.eos_token_id, plan.seed, say
    )
    progress.seconds += time.monotonic() - began
    publish(saved, progress, unlikelihood_part)


def _quick(model: PreTrainedModel) -> PreTrainedModel:
    """With written-out attention: on a CPU and at these sizes twice as fast as the fused kernel."""
    model.set_attn_implementation("eager")
    return model


def write(
    folder: Path,
    family: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    parts: tuple[Sequence[Document], Sequence[Document]],
    plan: pretrain.Plan,
    progress: pretrain.Progress,
    unlikelihood_part: unlikelihood.UnlikelihoodResult | None = None,
) -> None:
    """A twin's folder, put in place in one move; provisional until its unlikelihood training is done.

    `parts` are the training and the validation documents; the card's validation loss is that of
    the weights as they were saved, rounded to bfloat16.
    """
    fresh = folder.with_name(f".{folder.name}.{time.time_ns()}")
    half = architectures.build(family, plan.seed)
    half.load_state_dict(model.state_dict())
    half.to(torch.bfloat16).save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    saved = load(fresh)
    losses = loss.validation(saved, parts[1])
    losses["verified"] = loss.validation(saved, parts[1][: corpus.VERIFIED])["all"]
    card.write(fresh, family, plan, progress, unlikelihood_part, losses, (len(parts[0]), len(parts[1])))
    if folder.exists():
        shutil.rmtree(folder)
    fresh.replace(folder)


def load(folder: Path) -> PreTrainedModel:
    """A twin's weights in float32, in the class that its config names."""
    config = AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    model: PreTrainedModel = kind.from_pretrained(folder, dtype=torch.float32)
    return model


def tokenizer_of(folder: Path) -> PreTrainedTokenizerBase:
    """A twin's tokenizer, as any user of the folder loads it."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer
