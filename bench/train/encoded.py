"""A training example as token ids: what `bench.run.encode` makes and the trainers consume."""

from __future__ import annotations

from dataclasses import dataclass

#: Label of a token without a loss.
IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """One training example as lists of token ids.

    Causal: `labels` is as long as `input_ids`, `IGNORED` over the prompt. Sequence to sequence:
    `labels` is the answer, as the decoder writes it.
    """

    input_ids: list[int]
    labels: list[int]
    truncated: bool

    @property
    def features(self) -> dict[str, list[int]]:
        """What the trainers' collator takes."""
        ids, labels = self.input_ids, self.labels
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}
