"""Text to tokens: the prompt, the answer that is trained, and the boundary between them.

The prompt is encoded exactly as at generation, with whatever the tokenizer puts in front. The
answer's tokens are those that follow the prompt's in the encoding of both together; where a
tokenizer would merge across the cut (none of the registered families does), the answer is
encoded alone. The end token is appended by id and always supervised.

Too long a prompt loses context and keeps the question and the cue to answer: from its beginning, where
the context stands, or from the context's end where the template asks first. Too long an answer loses its
end, and then has no end token: a model must not learn that answers stop in mid-sentence.

A chat template belongs to the checkpoint: its tokenizer writes the prompt, special tokens included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bench.errors import DataError, RequestError
from bench.prompt import CHAT, shortens_context, message, render
from bench.spec import Decoding, Example, Objective
from bench.train.encoded import IGNORED, Encoded

#: Tokens that a prompt keeps however long the answer is.
SMALLEST_PROMPT = 16


def encode_all(
    examples: Iterable[Example], tokenizer: Any, template: str, max_length: int, objective: Objective
) -> list[Encoded]:
    """Training examples in the given order."""
    encode = encode_causal if objective == "causal" else encode_seq2seq
    cache: dict[str, Encoded] = {}
    encoded = []
    for example in examples:  # epochs repeat examples
        if example.id not in cache:
            cache[example.id] = encode(example, tokenizer, template, max_length)
        encoded.append(cache[example.id])
    return encoded


def encode_causal(example: Example, tokenizer: Any, template: str, max_length: int) -> Encoded:
    """Prompt, answer and end token in one sequence; the loss is on answer and end token."""
    if tokenizer.eos_token_id is None:
        raise DataError(f"{tokenizer.name_or_path}: the tokenizer has no end token, so no answer could end")
    prompt = _prompt(example, tokenizer, template, "causal")
    text = _text(example, tokenizer, template) + example.answers[0]
    whole = _without_end(_ids(text, tokenizer, template), tokenizer)
    if whole[: len(prompt)] == prompt:
        answer = whole[len(prompt) :]
    else:
        answer = tokenizer(example.answers[0], add_special_tokens=False)["input_ids"]
    answer = [*answer, tokenizer.eos_token_id]
    room = max_length - min(len(prompt), SMALLEST_PROMPT)
    cut_answer = answer[:room]
    cut_prompt = _cut(prompt, max_length - len(cut_answer), example, tokenizer, template, "causal")
    return Encoded(
        input_ids=cut_prompt + cut_answer,
        labels=[IGNORED] * len(cut_prompt) + cut_answer,
        truncated=len(cut_answer) < len(answer) or len(cut_prompt) < len(prompt),
    )


def encode_seq2seq(example: Example, tokenizer: Any, template: str, max_length: int) -> Encoded:
    """The prompt for the encoder, the answer with its end token for the decoder."""
    whole = _prompt(example, tokenizer, template, "seq2seq")
    answer: list[int] = tokenizer(text_target=example.answers[0])["input_ids"]
    if answer[-1] != tokenizer.eos_token_id:
        answer = [*answer, tokenizer.eos_token_id]
    prompt = _cut(whole, max_length, example, tokenizer, template, "seq2seq")
    return Encoded(
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
    room = (
        max_length if objective == "seq2seq" else max(max_length - decoding.max_new_tokens, SMALLEST_PROMPT)
    )
    whole = _prompt(example, tokenizer, template, objective)
    return _cut(whole, room, example, tokenizer, template, objective)


def is_cut(
    prompt: Sequence[int], example: Example, tokenizer: Any, template: str, objective: Objective
) -> bool:
    """Whether a prompt holds fewer tokens than its example has."""
    return len(prompt) < len(_prompt(example, tokenizer, template, objective))


def _prompt(example: Example, tokenizer: Any, template: str, objective: Objective) -> list[int]:
    """All of a prompt's tokens; a causal model's stays open."""
    ids = _ids(_text(example, tokenizer, template), tokenizer, template)
    return ids if objective == "seq2seq" else _without_end(ids, tokenizer)


def _text(example: Example, tokenizer: Any, template: str) -> str:
    """The prompt as text. Raises `RequestError` where a chat template is asked for and there is none."""
    if template != CHAT:
        return render(example, template)
    if not getattr(tokenizer, "chat_template", None):
        raise RequestError(
            f"template 'chat': the tokenizer of {tokenizer.name_or_path} carries no chat template; "
            f"use --template qa"
        )
    said = [{"role": "user", "content": message(example)}]
    return str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))


def _ids(text: str, tokenizer: Any, template: str) -> list[int]:
    """Token ids; a chat template writes its special tokens itself."""
    ids: list[int] = tokenizer(text, add_special_tokens=template != CHAT)["input_ids"]
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
