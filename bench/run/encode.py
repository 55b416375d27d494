"""Text to tokens: the prompt, the answer that is trained, and the boundary between them.

The prompt is encoded exactly as at generation, with whatever the tokenizer puts in front. The
answer's tokens are those that follow the prompt's in the encoding of both together; where a
tokenizer would merge across the cut (none of the registered families does), the answer is
encoded alone. The end token is appended by id and always supervised.

Too long a prompt loses its beginning, where the context stands, and keeps the question and the
cue to answer. Too long an answer loses its end, and then has no end token: a model must not
learn that answers stop in mid-sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from bench.errors import DataError
from bench.prompt import render
from bench.spec import Decoding, Example, Objective
from bench.train.encoded import IGNORED, Encoded

#: Tokens that a prompt keeps however long the answer is.
SMALLEST_PROMPT = 16


def encode_all(
    examples: Iterable[Example], tokenizer: Any, template: str, max_length: int, objective: Objective
) -> list[Encoded]:
    """Training examples in the given order; each text is tokenized once, all in one call."""
    order = list(examples)
    if not order:
        return []
    different = {example.id: example for example in order}  # epochs repeat examples
    encode = _causal if objective == "causal" else _seq2seq
    encoded = dict(zip(different, encode(different.values(), tokenizer, template, max_length), strict=True))
    return [encoded[example.id] for example in order]


def _causal(
    examples: Collection[Example], tokenizer: Any, template: str, max_length: int
) -> Iterator[Encoded]:
    """Prompt, answer and end token in one sequence; the loss is on answer and end token."""
    if tokenizer.eos_token_id is None:
        raise DataError(f"{tokenizer.name_or_path}: the tokenizer has no end token, so no answer could end")
    texts = [render(example, template) for example in examples]
    prompts = _ids(texts, tokenizer)
    wholes = _ids([text + e.answers[0] for text, e in zip(texts, examples, strict=True)], tokenizer)
    for example, opened, closed in zip(examples, prompts, wholes, strict=True):
        prompt, whole = _without_end(opened, tokenizer), _without_end(closed, tokenizer)
        if whole[: len(prompt)] == prompt:
            answer = whole[len(prompt) :]
        else:
            answer = tokenizer(example.answers[0], add_special_tokens=False)["input_ids"]
        answer = [*answer, tokenizer.eos_token_id]
        room = max_length - min(len(prompt), SMALLEST_PROMPT)
        cut_answer = answer[:room]
        cut_prompt = cut_front(prompt, max_length - len(cut_answer), tokenizer)
        yield Encoded(
            input_ids=cut_prompt + cut_answer,
            labels=[IGNORED] * len(cut_prompt) + cut_answer,
            truncated=len(cut_answer) < len(answer) or len(cut_prompt) < len(prompt),
        )


def _seq2seq(
    examples: Collection[Example], tokenizer: Any, template: str, max_length: int
) -> Iterator[Encoded]:
    """The prompt for the encoder, the answer with its end token for the decoder."""
    wholes = _ids([render(example, template) for example in examples], tokenizer)
    answers = tokenizer(text_target=[example.answers[0] for example in examples])["input_ids"]
    for whole, written in zip(wholes, answers, strict=True):
        end = [] if written[-1] == tokenizer.eos_token_id else [tokenizer.eos_token_id]
        answer = [*written, *end]
        prompt = cut_front(whole, max_length, tokenizer)
        yield Encoded(
            input_ids=prompt,
            labels=answer[:max_length],
            truncated=len(prompt) < len(whole) or len(answer) > max_length,
        )


def _ids(texts: list[str], tokenizer: Any) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts)["input_ids"]
    return ids


def encode_prompt(
    example: Example,
    tokenizer: Any,
    template: str,
    max_length: int,
    decoding: Decoding,
    objective: Objective,
) -> list[int]:
    """The tokens that generation starts from, cut to leave room for the answer."""
    ids: list[int] = tokenizer(render(example, template))["input_ids"]
    if objective == "seq2seq":
        return cut_front(ids, max_length, tokenizer)
    room = max(max_length - decoding.max_new_tokens, SMALLEST_PROMPT)
    return cut_front(_without_end(ids, tokenizer), room, tokenizer)


def cut_front(ids: list[int], room: int, tokenizer: Any) -> list[int]:
    """The last `room` tokens, with the beginning token kept where the tokenizer puts one."""
    if len(ids) <= room:
        return ids
    if ids[0] == tokenizer.bos_token_id:
        return [ids[0], *ids[len(ids) - room + 1 :]]
    return ids[len(ids) - room :]


def _without_end(ids: list[int], tokenizer: Any) -> list[int]:
    """Some causal tokenizers end every text; a prompt must stay open."""
    if ids and ids[-1] == tokenizer.eos_token_id:
        return ids[:-1]
    return ids
