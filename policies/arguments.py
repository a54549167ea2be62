"""A call's arguments on their way in: size, secrets, and the tool's closed model."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from policies.redact import secret_in, visible
from policies.tool import Tool, ToolArgs


class Malformed(Exception):
    """Arguments that reach no tool: a reason, and what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def screen(raw: Mapping[str, Any], limit_bytes: int) -> None:
    """Refuse what is no JSON, is too large, or carries a secret. Raises Malformed."""
    try:
        if not isinstance(raw, Mapping):
            raise TypeError("no object")
        size = len(json.dumps(raw, allow_nan=False, ensure_ascii=False).encode("utf-8"))
    except (ValueError, TypeError, RecursionError) as error:
        remedy = "Send an object: names with texts, finite numbers, true, false, lists or objects."
        raise Malformed("The arguments are not a plain JSON object.", remedy) from error
    if size > limit_bytes:
        reason = f"The arguments take {size} bytes; at most {limit_bytes} are accepted."
        raise Malformed(reason, "Put long content into a file and name it.")
    kind = secret_in(raw)
    if kind is not None:
        raise Malformed(
            f"An argument holds a secret ({kind.replace('_', ' ')}); tools name a secret and never carry it.",
            "Store it with `python -m ui secret set NAME` and leave it out here. "
            "Treat the one you sent as leaked: replace it at its issuer.",
        )


def parse(tool: Tool, raw: Mapping[str, Any]) -> ToolArgs:
    """The arguments in the tool's closed model. Raises Malformed naming each wrong field and the allowed ones."""
    try:
        return tool.Args.model_validate(dict(raw))
    except ValidationError as error:
        fields = tool.Args.model_fields
        wrong = [_complaint(one) for one in error.errors(include_url=False, include_input=False, include_context=False)]
        allowed = ", ".join(f"{name}{'' if field.is_required() else '?'}" for name, field in fields.items()) or "none"
        raise Malformed(
            f"The arguments of {tool.name} are not right: {'; '.join(dict.fromkeys(wrong))}.",
            f"Allowed: {allowed} (`?` may be left out).",
        ) from error


def reparse(tool: Tool, kept: str) -> ToolArgs:
    """The arguments that the book kept, in the same model. Raises ValidationError when the tool no longer takes them."""
    return tool.Args.model_validate_json(kept)


def normal(args: ToolArgs) -> dict[str, Any]:
    """The arguments as plain JSON with every default filled in: what the policy judges and the digest covers."""
    return args.model_dump(mode="json")


def _complaint(error: Any) -> str:
    name = visible(".".join(str(part) for part in error["loc"]))[:80] or "the arguments"
    if error["type"] == "extra_forbidden":
        return f"`{name}` is not known"
    if error["type"] == "missing":
        return f"`{name}` is missing"
    return f"`{name}`: {error['msg']}"
