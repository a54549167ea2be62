"""Long-running operations of the stand-in, in both ways that ARM tells of them."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.azure.arm_calls import Call, Refused, Reply, Route, found, route
from tests.azure.faults import Fault
from tests.azure.world import World

LEFT_S = 1.0
"""An operation that nobody has polled for so many seconds goes on by itself, as it does in Azure."""
FAILING = frozenset({Fault.OPERATION_FAILED, Fault.OPERATION_CANCELED, Fault.RESOURCE_FAILED, Fault.OPERATION_STUCK, Fault.POLL_404})


@dataclass(eq=False)
class Operation:
    """One operation. `style`: `async` polls for a status, `location` for the result itself."""

    polls: int
    style: Literal["async", "location"]
    body: Any = None
    """What `location` ends in; None: 204."""
    rid: str = ""
    done: Callable[[], None] = lambda: None
    fault: Fault | None = None
    code: str = "InternalServerError"
    message: str = "It did not work."
    finished: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    polled_at: float = field(default_factory=time.monotonic)

    def finish(self) -> None:
        """It is over."""
        if not self.finished:
            self.finished = True
            self.done()


def register(world: World, operation: Operation, base: str, kind: str = "operationResults") -> str:
    """The address to poll, long and signed as Azure's are."""
    key = str(uuid.uuid4())
    world.operations[key] = operation
    signature = "&t=638530010075337961&c=" + "C" * 1600 + "&s=" + "S" * 700 + "&h=" + "H" * 60
    place = f"{base}/subscriptions/{world.subscription}/providers/Microsoft.App/locations/westus3"
    return f"{place}/{kind}/{key}?api-version=2026-07-01{signature}"


def begin(world: World, call: Call, kind: str, rid: str, *, style: Literal["async", "location"], done: Callable[[], None],
          body: Any = None, failed: Callable[[], None] | None = None, status: int = 0) -> Reply:
    """Answer a request whose work goes on: `done` runs when the operation ends well, `failed` when it or its resource does not."""
    fault = call.fault.fault if call.fault is not None and call.fault.fault in FAILING else None
    operation = Operation(world.polls.get(kind, 1), style, body, rid, done, fault, call.option("code", "InternalServerError"),
                          call.option("message", "It did not work."))
    if fault in (Fault.OPERATION_FAILED, Fault.OPERATION_CANCELED, Fault.RESOURCE_FAILED):
        operation.done = failed or done
    pace = {"x-ms-retry-after-ms": str(world.poll_ms)} if world.poll_ms else {}
    operation.headers = pace
    if style == "async":
        url = register(world, operation, call.base, f"{kind}OperationStatuses") + "&azureAsyncOperation=true"
        headers = {"azure-asyncoperation": url, "x-ms-async-operation-timeout": "PT15M", **pace}
        return Reply(status or 201, world.resources.get(rid.lower(), body), headers)
    return Reply(status or 202, None, {"location": register(world, operation, call.base, f"{kind}OperationResults"), **pace})


def poll(world: World, call: Call) -> Reply:
    """One look at an operation."""
    operation: Operation | None = world.operations.get(call.ids["op"])
    if operation is None or operation.fault is Fault.POLL_404:
        raise Refused(404, "OperationNotFound", "The operation was not found.")
    key, operation.polled_at = call.ids["op"], time.monotonic()
    if not operation.finished and (operation.polls > 0 or operation.fault is Fault.OPERATION_STUCK):
        operation.polls -= 1
        if operation.style == "location":
            return Reply(202, None, {"location": f"{call.base}{call.path}?{_query(call)}", **operation.headers})
        return Reply(200, _status(call, key, "InProgress"), operation.headers)
    operation.finish()
    if operation.style == "location":
        if operation.fault is Fault.OPERATION_FAILED:
            raise Refused(500, operation.code, operation.message)
        body = operation.body() if callable(operation.body) else operation.body
        return Reply(204) if body is None else Reply(200, body)
    match operation.fault:
        case Fault.OPERATION_FAILED:
            return Reply(200, {**_status(call, key, "Failed"), "error": {"code": operation.code, "message": operation.message}})
        case Fault.OPERATION_CANCELED:
            return Reply(200, _status(call, key, "Canceled"))
        case _:
            return Reply(200, _status(call, key, "Succeeded"))


def go_on(world: World) -> None:
    """End what would have ended by now although whoever began it is gone."""
    for each in list(world.operations.values()):
        if each.fault is None and time.monotonic() - each.polled_at > LEFT_S:
            each.finish()


def set_state(world: World, rid: str, state: str) -> Callable[[], None]:
    """Sets the provisioning state of a resource, if it is still there, when called."""
    def change() -> None:
        kept = world.resources.get(rid.lower())
        if kept is not None:
            kept["properties"]["provisioningState"] = state

    return change


def remove(world: World, rid: str) -> Callable[[], None]:
    """Takes a resource and all below it away when called."""
    def change() -> None:
        for store in (world.resources, world.hidden, world.executions):
            for each in [key for key in store if key == rid.lower() or key.startswith(rid.lower() + "/")]:
                del store[each]

    return change


def read(world: World, call: Call) -> Reply:
    """A plain GET of a resource by its path."""
    return Reply(200, found(world, call.path.rstrip("/")))


def _status(call: Call, key: str, status: str) -> dict[str, Any]:
    return {"id": call.path, "name": key, "status": status, "startTime": "2026-11-24T10:00:00.0000000"}


def _query(call: Call) -> str:
    return "&".join(f"{key}={value}" for key, value in call.query.items())


ROUTES: tuple[Route, ...] = (
    route("GET", "/subscriptions/{sub}/providers/Microsoft.App/locations/{region}/{kind}/{op}", poll),
)
