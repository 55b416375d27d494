"""The twins' tokenizers: trained small, put together as their big siblings' are.

What a family's tokenizer does to a harness is in its construction, not in its size: whether a
pad token exists, whether `<s>` is put in front, whether a leading space is invented, whether
an unknown character falls apart into bytes. So each is built like its sibling (pre-tokenizer,
post-processor, special tokens and their places) and only the vocabulary is small. All are
trained on the same texts.

Not here: which texts (`corpus`), and the ids that a model's config repeats (`architectures`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
    TokenizersBackend,
)

VOCABULARY = 4096

#: Llama-3's own word split (tiktoken's `cl100k` with numbers in threes).
TIKTOKEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

Merges = list[tuple[str, str]]


def build(family: str, texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """The tokenizer of a twin, trained on `texts`; its length is `VOCABULARY` for every family."""
    tokenizer = BUILDERS[family](texts)
    if len(tokenizer) != VOCABULARY:
        raise ValueError(f"{family}: {len(tokenizer)} tokens instead of {VOCABULARY}; too little text?")
    return tokenizer


def _pieces(texts: Iterable[str], split: pre_tokenizers.PreTokenizer, size: int) -> tuple[list[str], Merges]:
    """Byte-level alphabet and merges: `size` pieces in the order in which BPE found them."""
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = split
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(
        texts, BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    return _ordered(raw)


def _ordered(raw: Tokenizer) -> tuple[list[str], Merges]:
    model = json.loads(raw.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return pieces, [(left, right) for left, right in model["merges"]]


def _numbered(pieces: Iterable[str]) -> dict[str, int]:
    return {piece: number for number, piece in enumerate(pieces)}


def _gpt2(texts: Sequence[str], extra: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """Byte-level, no pad token; `<|endoftext|>`, the last piece, serves as bos, eos and unk.

    `extra` are whole tokens beside the BPE, as Phi-1.5 carries for runs of spaces and tabs.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces, merges = _pieces(texts, split, VOCABULARY - 1 - len(extra))
    tokenizer = GPT2Tokenizer(vocab=_numbered([*pieces, "<|endoftext|>"]), merges=merges)
    tokenizer.add_tokens([AddedToken(text, normalized=True, special=False) for text in extra])
    return tokenizer


def _phi(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """GPT-2's construction plus added tokens for indentation: 31 to 2 spaces, 9 to 2 tabs."""
    spaces = [" " * width for width in range(31, 1, -1)]
    tabs = ["\t" * width for width in range(9, 1, -1)]
    return _gpt2(texts, [*spaces, *tabs])


def _bart(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """GPT-2's split; `<s> <pad> </s> <unk>` first, `<mask>` last, `<s> ... </s>` around a text."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces, merges = _pieces(texts, split, VOCABULARY - 5)
    vocabulary = _numbered(["<s>", "<pad>", "</s>", "<unk>", *pieces, "<mask>"])
    return RobertaTokenizer(vocab=vocabulary, merges=merges)


def _sentencepiece(texts: Sequence[str], specials: Sequence[str]) -> tuple[dict[str, int], Merges]:
    """A vocabulary in SentencePiece's order: specials, 256 bytes, merged pieces, characters.

    As there, a piece holds letters, one digit, or signs, never a mixture. Characters outside the
    kept alphabet, and the line break with them, are spelt in bytes.
    """
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("\n", "removed"),
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True),
        pre_tokenizers.Split(Regex(r"▁?\p{L}+|\p{N}|▁?[^\p{L}\p{N}▁]+"), "isolated"),
    ])  # fmt: skip
    size = VOCABULARY - len(specials) - 256
    raw.train_from_iterator(texts, BpeTrainer(vocab_size=size, limit_alphabet=200, show_progress=False))
    pieces, merges = _ordered(raw)
    characters = [piece for piece in pieces if len(piece) == 1]
    merged = [piece for piece in pieces if len(piece) > 1]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    return _numbered([*specials, *bytes_, *merged, *characters]), merges


def _llama_2(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """SentencePiece in kind, in the class's old behaviour: a space is put in front of a text."""
    vocabulary, merges = _sentencepiece(texts, ["<unk>", "<s>", "</s>"])
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=merges, legacy=True)
    tokenizer.init_kwargs["legacy"] = True  # or the saved folder would load as the new behaviour
    backend = tokenizer.backend_tokenizer
    backend.post_processor = _bos_in_front("<s>", 1)
    return tokenizer


def _mistral(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """SentencePiece in kind, written out by normalizers; v0.3's control tokens after `</s>`."""
    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]",
                "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]  # fmt: skip
    vocabulary, merges = _sentencepiece(texts, specials)
    raw = Tokenizer(
        BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    raw.post_processor = _bos_in_front("<s>", 1)
    raw.add_special_tokens(specials)
    return TokenizersBackend(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _llama_3(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """Tiktoken in kind: its own word split, whole words looked up before merging, specials last."""
    split = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(TIKTOKEN_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
                "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>",
                "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]  # fmt: skip
    pieces, merges = _pieces(texts, split, VOCABULARY - len(specials))
    raw = Tokenizer(BPE(vocab=_numbered(pieces), merges=merges, ignore_merges=True))
    raw.pre_tokenizer = split
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(specials)
    raw.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        _bos_in_front("<|begin_of_text|>", len(pieces)),
    ])  # fmt: skip
    return TokenizersBackend(
        tokenizer_object=raw,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        model_max_length=131072,
        model_input_names=["input_ids", "attention_mask"],
    )


def _bos_in_front(token: str, number: int) -> Any:
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=[(token, number)]
    )


BUILDERS: dict[str, Callable[[Sequence[str]], PreTrainedTokenizerBase]] = {
    "bart": _bart,
    "gpt2": _gpt2,
    "gpt-neo": _gpt2,
    "phi": _phi,
    "llama-2": _llama_2,
    "mistral": _mistral,
    "llama-3.1": _llama_3,
}
