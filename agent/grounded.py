"""Drops optional arguments that a language model made up: values found neither in the dialogue nor in tool results."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage

_WORD = re.compile(r"[^\W_]+(?:[._/@-][^\W_]+)*", re.UNICODE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?")
_MEASURED = re.compile(r"[a-z_]+=[\d.e,-]+|\d+(?:\.\d+)?[smh]")
"""A sweep or a time: numbers in the form that a tool takes, said when its numbers were."""


def ground(raw: Mapping[str, Any], schema: Mapping[str, Any], messages: Sequence[AnyMessage]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Split `raw` into what may be used and the names of what was dropped.

    Required arguments stay (the gateway and the card judge them), as do truth values and names the schema does not know, which the
    gateway must see and refuse. A number counts as said when the same number stands anywhere; a text when its words do.
    """
    said = _said(messages)
    numbers = {_plain(float(each)) for each in _NUMBER.findall(said)}
    known, required = schema.get("properties", {}), schema.get("required", ())
    kept, dropped = {}, []
    for name, value in raw.items():
        if name not in known or name in required or _is_said(value, said, numbers):
            kept[name] = value
        else:
            dropped.append(name)
    return kept, tuple(dropped)


def _said(messages: Sequence[AnyMessage]) -> str:
    parts = [str(each.text) for each in messages if isinstance(each, HumanMessage | ToolMessage)]
    return "\n".join(parts).lower()


def _is_said(value: Any, said: str, numbers: set[str]) -> bool:
    match value:
        case None | bool():
            return True
        case int() | float():
            return _plain(float(value)) in numbers or _plain(float(value) * 100) in numbers
        case str():
            text = value.strip().lower()
            if _MEASURED.fullmatch(text):
                return all(_plain(float(each)) in numbers for each in _NUMBER.findall(text))
            words = _WORD.findall(text)
            return text in said or (bool(words) and all(word in said for word in words))
        case list() | tuple():
            return all(_is_said(each, said, numbers) for each in value)
        case _:
            return json.dumps(value).lower() in said


def _plain(number: float) -> str:
    return f"{number:.9g}"
