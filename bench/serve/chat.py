"""A record's template as a tokenizer's chat template, so that any program asks as the run was asked.

The last message of the user is the question, a system message its context. Earlier turns are not
rendered: the model was tuned on single questions.
"""

from __future__ import annotations

import json
from typing import Any

from bench.prompt import TEMPLATES

_READ = (
    "{%- set ns = namespace(context='', question='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{%- set ns.context = message['content'] -%}"
    "{%- elif message['role'] == 'user' -%}{%- set ns.question = message['content'] -%}{%- endif -%}"
    "{%- endfor -%}"
)


def chat_template(template: str, tokenizer: Any) -> str:
    """The Jinja text of a template; it begins with the beginning token where the tokenizer puts one."""
    with_context, without = (_joined(text) for text in TEMPLATES[template])
    begin = "{{- bos_token -}}" if _begins(tokenizer) else ""
    choice = (
        f"{{%- if ns.context -%}}{{{{- {with_context} -}}}}{{%- else -%}}{{{{- {without} -}}}}{{%- endif -%}}"
    )
    return f"{_READ}{begin}{choice}"


def _joined(text: str) -> str:
    """A template's text as a sum of quoted strings and variables."""
    parts = []
    for piece in text.replace("{", "\0{").replace("}", "}\0").split("\0"):
        if piece.startswith("{"):
            parts.append(f"ns.{piece[1:-1]}")
        elif piece:
            parts.append(json.dumps(piece))
    return " + ".join(parts)


def _begins(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
