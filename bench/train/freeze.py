"""Freezing: only a model's last blocks, its final norm and its head are trained.

Blocks are found by structure, not by the name of an architecture: the list of modules with the most
parameters is the stack of blocks; of an encoder-decoder it is the decoder's, which is nearest to the answer.
What the stack's owner holds after it and is no embedding is the final norm. A head that shares its weights
with the input embedding (GPT-2, GPT-Neo, BART) trains that one tensor in both places, as it does wherever
such a head is trained.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.errors import RunFailed


def freeze(model: Any, last_blocks: int, encoder_decoder: bool) -> None:
    """Leave gradients on for the last blocks, the final norm and the head alone.

    Raises `RunFailed` where the model has no such blocks, or no more than `last_blocks` of them.
    """
    owner, name, blocks = _stack(model.get_decoder() if encoder_decoder else model)
    if last_blocks >= len(blocks):
        raise RunFailed(
            f"recipe.last_blocks = {last_blocks}, but the model has {len(blocks)} blocks; "
            "use fewer, or method = 'full'"
        )
    model.requires_grad_(False)
    for module in (*blocks[-last_blocks:], *_after(owner, name), model.get_output_embeddings()):
        module.requires_grad_(True)


def _stack(root: nn.Module) -> tuple[nn.Module, str, nn.ModuleList]:
    """The stack of blocks with its owner and its name there."""
    stacks = [
        (owner, name, child)
        for owner in root.modules()
        for name, child in owner.named_children()
        if isinstance(child, nn.ModuleList) and len(child)
    ]
    if not stacks:
        raise RunFailed("method = 'freeze' needs a model with a list of blocks; use 'full' or 'lora'")
    return max(stacks, key=lambda stack: sum(weight.numel() for weight in stack[2].parameters()))


def _after(owner: nn.Module, name: str) -> list[nn.Module]:
    """What the owner applies after its blocks; BART registers a norm of its embeddings there too."""
    children = list(owner.named_children())
    place = [child for child, _ in children].index(name)
    return [module for child, module in children[place + 1 :] if "emb" not in child]
