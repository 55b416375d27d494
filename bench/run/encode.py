"""Text to tokens: the prompt, the answer that is trained, and the boundary between them.

The prompt is encoded exactly as at generation, with whatever the tokenizer puts in front. The
answer's tokens are those that follow the prompt's in the encoding of both together; where a
tokenizer would merge across the cut (none of the registered families does), the answer is
encoded alone. The end token is appended by id and always supervised.

Too long a prompt loses context and keeps the question and the cue to answer: from its beginning, where
the context stands, or from the context's end where the template asks first. Too long an answer loses its
end, and then has no end token: a model must not learn that answers stop in mid-sentence.

A passage of text has no prompt: the loss is on all of its tokens and on the end token after them. Its first
token alone has none, as nothing stands before it from which it could be told.

A chat template belongs to the checkpoint: its tokenizer writes the prompt, special tokens included.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.errors import DataError, RequestError
from bench.prompt import CHAT, message, render, shortens_context
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
    if order[0].is_text:
        made = _passages(different.values(), tokenizer, max_length)
    else:
        encode = _causal if objective == "causal" else _seq2seq
        made = encode(different.values(), tokenizer, template, max_length)
    encoded = dict(zip(different, made, strict=True))
    return [encoded[example.id] for example in order]


def _causal(
    examples: Collection[Example], tokenizer: Any, template: str, max_length: int
) -> Iterator[Encoded]:
    """Prompt, answer and end token in one sequence; the loss is on answer and end token."""
    _check_end(tokenizer)
    texts = [_text(example, tokenizer, template) for example in examples]
    prompts = _ids(texts, tokenizer, template)
    both = [text + example.answers[0] for text, example in zip(texts, examples, strict=True)]
    wholes = _ids(both, tokenizer, template)
    for example, opened, closed in zip(examples, prompts, wholes, strict=True):
        prompt, whole = _without_end(opened, tokenizer), _without_end(closed, tokenizer)
        if whole[: len(prompt)] == prompt:
            answer = whole[len(prompt) :]
        else:
            answer = tokenizer(example.answers[0], add_special_tokens=False)["input_ids"]
        answer = [*answer, tokenizer.eos_token_id]
        room = max_length - min(len(prompt), SMALLEST_PROMPT)
        cut_answer = answer[:room]
        cut_prompt = _cut(prompt, max_length - len(cut_answer), example, tokenizer, template, "causal")
        yield Encoded(
            input_ids=cut_prompt + cut_answer,
            labels=[IGNORED] * len(cut_prompt) + cut_answer,
            truncated=len(cut_answer) < len(answer) or len(cut_prompt) < len(prompt),
        )


def _passages(passages: Collection[Example], tokenizer: Any, max_length: int) -> Iterator[Encoded]:
    """Each passage with its end token; what is beyond the greatest length goes."""
    _check_end(tokenizer)
    for ids in tokenizer([passage.answers[0] for passage in passages])["input_ids"]:
        whole = [*_without_end(ids, tokenizer), tokenizer.eos_token_id]
        cut = whole[:max_length]
        yield Encoded(cut, [IGNORED, *cut[1:]], truncated=len(cut) < len(whole))


def _check_end(tokenizer: Any) -> None:
    if tokenizer.eos_token_id is None:
        raise DataError(f"{tokenizer.name_or_path}: the tokenizer has no end token, so no answer could end")


def _seq2seq(
    examples: Collection[Example], tokenizer: Any, template: str, max_length: int
) -> Iterator[Encoded]:
    """The prompt for the encoder, the answer with its end token for the decoder."""
    wholes = _ids([_text(example, tokenizer, template) for example in examples], tokenizer, template)
    answers = tokenizer(text_target=[example.answers[0] for example in examples])["input_ids"]
    for example, whole, written in zip(examples, wholes, answers, strict=True):
        end = [] if written[-1] == tokenizer.eos_token_id else [tokenizer.eos_token_id]
        answer = [*written, *end]
        prompt = _cut(whole, max_length, example, tokenizer, template, "seq2seq")
        yield Encoded(
            input_ids=prompt,
            labels=answer[:max_length],
            truncated=len(prompt) < len(whole) or len(answer) > max_length,
        )


def encode_prompt(
    example: Example,
    tokenizer: Any,
    template: str,
    max_length: int,
    decoding: Decoding,
    objective: Objective,
) -> list[int]:
    """The tokens that generation starts from, cut to leave room for the answer."""
    room = room_for_prompt(max_length, decoding, objective)
    whole = _prompt(example, tokenizer, template, objective)
    return _cut(whole, room, example, tokenizer, template, objective)


def room_for_prompt(max_length: int, decoding: Decoding, objective: Objective) -> int:
    """The tokens that a prompt may have: all where the answer has a sequence of its own."""
    if objective == "seq2seq":
        return max_length
    return max(max_length - decoding.max_new_tokens, SMALLEST_PROMPT)


def is_cut(
    prompt: Sequence[int], example: Example, tokenizer: Any, template: str, objective: Objective
) -> bool:
    """Whether a prompt holds fewer tokens than its example has."""
    return len(prompt) < len(_prompt(example, tokenizer, template, objective))


def _prompt(example: Example, tokenizer: Any, template: str, objective: Objective) -> list[int]:
    """All of a prompt's tokens; a causal model's stays open."""
    (ids,) = _ids([_text(example, tokenizer, template)], tokenizer, template)
    return ids if objective == "seq2seq" else _without_end(ids, tokenizer)


def _text(example: Example, tokenizer: Any, template: str) -> str:
    """The prompt as text. Raises `RequestError` where a chat template is asked for and there is none."""
    if template != CHAT:
        return render(example, template)
    if not has_chat_template(tokenizer):
        raise RequestError(
            f"template 'chat': the tokenizer of {tokenizer.name_or_path} carries no chat template; "
            f"use --template qa"
        )
    said = [{"role": "user", "content": message(example)}]
    return str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))


def has_chat_template(tokenizer: Any) -> bool:
    """Whether a tokenizer carries a chat template of its checkpoint."""
    return bool(getattr(tokenizer, "chat_template", None))


def _ids(texts: list[str], tokenizer: Any, template: str) -> list[list[int]]:
    """Token ids of each text; a chat template writes its special tokens itself."""
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=template != CHAT)["input_ids"]
    return ids


def _cut(
    ids: list[int], room: int, example: Example, tokenizer: Any, template: str, objective: Objective
) -> list[int]:
    """At most `room` of a prompt's tokens, the question among them as long as it fits."""
    if len(ids) <= room or not example.context or not shortens_context(template):
        return cut_front(ids, room, tokenizer)
    words = example.context.split(" ")

    def with_first(count: int) -> list[int]:
        shorter = replace(example, context=" ".join(words[:count]))
        return _prompt(shorter, tokenizer, template, objective)

    fitting, beyond = 0, len(words)
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        if len(with_first(middle)) <= room:
            fitting = middle
        else:
            beyond = middle
    return cut_front(with_first(fitting), room, tokenizer)


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
