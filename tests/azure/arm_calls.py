"""How a request and its answer look inside the management side of the stand-in."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.azure.faults import Fault, Scripted
from tests.azure.world import World


@dataclass(slots=True)
class Call:
    """One request; `ids` are the named parts of its path."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]
    ids: dict[str, str]
    base: str
    fault: Scripted | None = None

    def meets(self, fault: Fault) -> bool:
        """Whether the script has this fault for it."""
        return self.fault is not None and self.fault.fault is fault

    def option(self, name: str, default: Any) -> Any:
        """An option of its fault."""
        return default if self.fault is None else self.fault.options.get(name, default)


@dataclass(slots=True)
class Reply:
    """Status, body as JSON (None: no body) and headers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """An answer that is an error, as ARM words it."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


Handler = Callable[[World, Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """Which handler answers a method and a path; `name` finds the schema of its body."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    name: str = ""


def route(method: str, path: str, handler: Handler, name: str = "") -> Route:
    """A path with `{part}`s, each one segment, `{scope*}` any number of them; case does not matter."""
    pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", path)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
    return Route(method, re.compile(pattern, re.IGNORECASE), handler, name)


def group_path(tail: str) -> str:
    """A path below a resource group's providers."""
    return "/subscriptions/{sub}/resourceGroups/{group}/providers/" + tail


def found(world: World, rid: str, code: str = "ResourceNotFound") -> dict[str, Any]:
    """The resource with this id. Raises Refused 404."""
    kept = world.resources.get(rid.lower())
    if kept is None:
        raise Refused(404, code, f"The Resource '{rid.partition('/providers/')[2] or rid}' was not found.")
    return kept


def need_group(world: World, call: Call) -> None:
    """The resource group of the request exists. Raises Refused 404."""
    found(world, f"/subscriptions/{call.ids['sub']}/resourceGroups/{call.ids['group']}", "ResourceGroupNotFound")


def need_provider(world: World, namespace: str) -> None:
    """It is registered. Raises Refused 409."""
    if not world.registered.get(namespace.lower(), True):
        raise Refused(409, "MissingSubscriptionRegistration", f"The subscription is not registered to use namespace '{namespace}'. "
                      "See https://aka.ms/rps-not-found for how to register subscriptions.")


def rid_of(call: Call, kind: str, name: str) -> str:
    """The id of a resource in the group of the request, `kind` such as `Microsoft.App/jobs`."""
    return f"/subscriptions/{call.ids['sub']}/resourceGroups/{call.ids['group']}/providers/{kind}/{name}"
