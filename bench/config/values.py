"""Values of options as text of a variable, as TOML has them, and as the option itself reads them."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

from bench.config.parsers import name_of
from bench.errors import RequestError

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Given:
    """A value for an option, as a variable or TOML has it, and the variable or file that it stands in."""

    value: Any
    source: str
    is_variable: bool = False

    def where(self, action: argparse.Action) -> str:
        """The place to name in an error."""
        return self.source if self.is_variable else f"{self.source}: {name_of(action)}"


def converted(action: argparse.Action, given: Given) -> Any:
    """The value as the option itself would read it. Raises `RequestError`.

    A list stands for an option that may be repeated, or for words between commas. A variable of an option
    that may be repeated holds its values as a shell would have them.
    """
    value, where = given.value, given.where(action)
    if isinstance(action, argparse._StoreTrueAction):
        return _as_bool(value, where)
    if action.nargs == "?" and isinstance(value, bool):
        return action.const if value else None
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items):
        raise RequestError(f"{where}: expected text or a number, not {json.dumps(value, default=str)[:40]}")
    if isinstance(action, argparse._AppendAction) or action.nargs in ("+", "*"):
        texts = _split(str(value), where) if given.is_variable else list(map(str, items))
        return [_one(action, text, where) for text in texts]
    return _one(action, ",".join(map(str, items)), where)


def as_text(value: Any) -> str:
    """A value as one word of a command line."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def as_toml(value: Any) -> str:
    """A value of an option in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _one(action: argparse.Action, text: str, where: str) -> Any:
    try:
        value = action.type(text) if callable(action.type) else text
    except argparse.ArgumentTypeError as error:
        raise RequestError(f"{where}: {error}") from None
    except (TypeError, ValueError):
        raise RequestError(f"{where}: '{text[:40]}' cannot be read") from None
    if action.choices is not None and value not in action.choices:
        raise RequestError(f"{where}: '{text[:40]}' is none of {', '.join(map(str, action.choices))}")
    return value


def _split(text: str, where: str) -> list[str]:
    import shlex  # here: few variables need it

    try:
        return shlex.split(text)
    except ValueError as error:
        raise RequestError(f"{where}: {str(error).lower()}") from None


def _as_bool(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in (*TRUE, *FALSE):
        raise RequestError(f"{where}: expected true or false, not '{str(value)[:40]}'")
    return text in TRUE
