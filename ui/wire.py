"""Events as JSON lines and back: what runs over the control socket."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import TypeAdapter

from agent.events import Event
from policies.verdict import ApprovalView, Decision

KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in get_args(Event)}


def event_line(event: Event) -> dict[str, Any]:
    """One event as a line: its kind and its fields."""
    return {"event": type(event).__name__, "data": TypeAdapter(type(event)).dump_python(event, mode="json")}


def event_of(line: Mapping[str, Any]) -> Event:
    """The event of a line. Raises ValueError for a kind that is not ours."""
    kind = KINDS.get(str(line.get("event")))
    if kind is None:
        raise ValueError(f"There is no event of the kind {line.get('event')!r}; the server is of another version.")
    found: Event = TypeAdapter(kind).validate_python(line.get("data"))
    return found


def view_json(view: ApprovalView) -> dict[str, Any]:
    """An approval with all its fields."""
    return TypeAdapter(ApprovalView).dump_python(view, mode="json")


def view_of(data: Mapping[str, Any]) -> ApprovalView:
    """The approval of such an object."""
    return TypeAdapter(ApprovalView).validate_python(dict(data))


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision, the performed call's answer in the shape of `call --json`."""
    answer = None if decision.answer is None else decision.answer.as_json()
    return {"ok": decision.ok, "message": decision.message, "approval": view_json(decision.approval), "answer": answer}
