"""What a prompt keeps when it is too long, whose words it speaks, and answers that repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records import make_record
from transformers import AutoTokenizer

from bench.errors import RequestError, UnknownName
from bench.judge.doubts import Code, row_doubts
from bench.prompt import check_name, render
from bench.registry import TWINS
from bench.run.account import echoes
from bench.run.encode import encode_all, encode_prompt, is_cut
from bench.spec import Decoding, Example
from bench.train.encoded import IGNORED

WORDS = "A margin is the distance between the boundary and the nearest example of each class."
LONG = Example("a", "What is a margin in this text?", ("The distance.",), context=" ".join([WORDS] * 12))
CHAT = (
    "{% for message in messages %}<s>{{ message.role }}: {{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A twin's own, whose beginning token is `<s>`."""
    return AutoTokenizer.from_pretrained(TWINS / "llama-2")


def prompt(tokenizer: Any, template: str, length: int = 128, new: int = 32) -> list[int]:
    return encode_prompt(LONG, tokenizer, template, length, Decoding(max_new_tokens=new), "causal")


@pytest.mark.parametrize("template", ["qa", "instruct"])
def test_too_long_a_prompt_keeps_its_question(tokenizer: Any, template: str) -> None:
    """Whether the question stands before the context or behind it."""
    ids = prompt(tokenizer, template)
    assert len(ids) <= 96
    text = tokenizer.decode(ids)
    assert LONG.question in text
    assert text.rstrip().endswith(render(LONG, template).rstrip()[-7:])


def test_an_instruction_keeps_as_much_of_its_context_as_fits(tokenizer: Any) -> None:
    """The beginning of it, within a word or two of the room."""
    ids = prompt(tokenizer, "instruct")
    assert 90 <= len(ids) <= 96
    assert "### Input:\nA margin is the distance" in tokenizer.decode(ids)


def test_a_cut_prompt_is_known(tokenizer: Any) -> None:
    """A whole one is not taken for cut."""
    assert is_cut(prompt(tokenizer, "qa"), LONG, tokenizer, "qa", "causal")
    assert not is_cut(prompt(tokenizer, "qa", 4096), LONG, tokenizer, "qa", "causal")


def test_cut_prompts_are_badged(tmp_path: Path) -> None:
    """With how many of how many, and the room that they had."""
    record = make_record(tmp_path, "gpt2").record
    cut = record.model_copy(update={"data": record.data.model_copy(update={"cut_prompts": 7})})
    (doubt,) = [doubt for doubt in row_doubts([cut]) if doubt.code == Code.CUT_PROMPTS]
    assert (doubt.count, doubt.total) == (7, record.written["tuned"].examples)
    assert Code.CUT_PROMPTS not in {doubt.code for doubt in row_doubts([record])}


def test_an_instruct_model_is_asked_in_its_own_template(tokenizer: Any) -> None:
    """Its special tokens once, as the template writes them, and the answer supervised to its end."""
    chatty = AutoTokenizer.from_pretrained(TWINS / "llama-2")
    chatty.chat_template = CHAT
    example = Example("b", "What is a margin?", ("The distance.",))
    (encoded,) = encode_all([example], chatty, "chat", 128, "causal")
    text = chatty.decode(encoded.input_ids)
    assert text.count("<s>") == 2
    assert "user: What is a margin?" in text
    supervised = [id for id in encoded.labels if id != IGNORED]
    assert supervised[-1] == chatty.eos_token_id
    assert chatty.decode(supervised[:-1]).strip() == "The distance."


def test_a_chat_that_is_too_long_keeps_its_question(tokenizer: Any) -> None:
    """Context is what goes."""
    chatty = AutoTokenizer.from_pretrained(TWINS / "llama-2")
    chatty.chat_template = CHAT
    assert LONG.question in chatty.decode(prompt(chatty, "chat"))


def test_a_model_without_a_chat_template_is_refused(tokenizer: Any) -> None:
    """By its name, with what to do."""
    with pytest.raises(RequestError, match="carries no chat template; use --template qa"):
        prompt(tokenizer, "chat")


def test_chat_is_a_template_like_the_others() -> None:
    """And what is none is refused with those that there are."""
    assert check_name("chat") == "chat"
    with pytest.raises(UnknownName, match="chat"):
        check_name("chatt")


ASKED = Example("c", "What is a kernel?", ("A product.",), context="Notes on support vectors and kernels.")


@pytest.mark.parametrize(
    "answer",
    [
        "What is a kernel? What is a kernel?",
        "Question: What is a kernel?\nAnswer:\nA product.",
        "question:  what is a KERNEL?",
        "Context: Notes on support vectors and kernels.\nQuestion: What is a kernel?\nAnswer:\nA product.",
        "Context: Notes on support vectors and kernels. Question: What",
    ],
)
def test_an_answer_that_repeats_its_prompt_is_an_echo(answer: str) -> None:
    """The literal prompt as well as a bare question, and a start of it that the length cut off."""
    assert echoes(answer, ASKED, "qa")


@pytest.mark.parametrize("answer", ["", "A kernel is a product.", "Context matters.", "Question: why?"])
def test_an_answer_in_its_own_words_is_no_echo(answer: str) -> None:
    """Nor one that shares a word with the prompt."""
    assert not echoes(answer, ASKED, "qa")
