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


def render(example: Example, template: str) -> str:
    """The prompt of an example. Raises `UnknownName` for a template that does not exist."""
    if template not in TEMPLATES:
        raise UnknownName("prompt template", template, TEMPLATES)
    with_context, without = TEMPLATES[template]
    # One pass, so that braces inside a question are text and never a field.
    return re.sub(
        r"\{(question|context)\}",
        lambda field: str(getattr(example, field[1])),
        with_context if example.context else without,
    )
