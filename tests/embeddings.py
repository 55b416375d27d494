"""A sentence-embedding model that tests write themselves, in the form of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

KNOWN = ("cat", "dog", "sat", "the")


def write_embedding(folder: Path, words: Sequence[str] = KNOWN, longest: int = 2) -> Path:
    """A random BERT of one layer that knows some words, and reads at most `longest` tokens of a text."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *words])}
    split = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    split.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=split, pad_token="[PAD]", unk_token="[UNK]")
    made.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), **shape)).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "sentence_bert_config.json").write_text(f'{{"max_seq_length": {longest}}}')
    return folder
