"""Templates: how an example becomes the text that a model reads.

Every template ends with a line break, and an answer never begins with white space. The
tokenizers of all registered families split there, so the prompt's tokens are a prefix of the
tokens of prompt plus answer, and the cut between them is exact (`tests/test_tokenizers.py`
holds that for real tokenizers). No template carries a special token: those belong to the
tokenizer.
"""

from __future__ import annotations

import re

from bench.errors import UnknownName
from bench.spec import Example

#: name -> (text of an example with a context, text of one without)
TEMPLATES: dict[str, tuple[str, str]] = {
    "qa": (
        "Context: {context}\nQuestion: {question}\nAnswer:\n",
        "Question: {question}\nAnswer:\n",
    ),
    "instruct": (
        "### Instruction:\n{question}\n\n### Input:\n{context}\n\n### Response:\n",
        "### Instruction:\n{question}\n\n### Response:\n",
    ),
}


#: The checkpoint's own chat template, which its tokenizer carries: for instruct models.
CHAT = "chat"


def check_name(template: str) -> str:
    """The name of a template. Raises `UnknownName` for one that does not exist."""
    if template not in TEMPLATES and template != CHAT:
        raise UnknownName("prompt template", template, [*TEMPLATES, CHAT])
    return template


def shortens_context(template: str) -> bool:
    """Whether too long a prompt loses the end of its context, as its beginning holds more than context."""
    if template == CHAT:
        return True
    text, _ = TEMPLATES[template]
    return text.index("{question}") < text.index("{context}")


def message(example: Example) -> str:
    """What the user says in a chat: the context, if there is one, and the question."""
    return f"{example.context}\n\n{example.question}" if example.context else example.question


def render(example: Example, template: str) -> str:
    """The prompt of an example. Raises `UnknownName` for a template that does not exist.

    A chat template belongs to a tokenizer (`bench.run.encode`); here the message stands for it.
    """
    if check_name(template) == CHAT:
        return message(example)
    with_context, without = TEMPLATES[template]
    # One pass, so that braces inside a question are text and never a field.
    return re.sub(
        r"\{(question|context)\}",
        lambda field: str(getattr(example, field[1])),
        with_context if example.context else without,
    )
