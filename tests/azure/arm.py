"""The management side of the stand-in: takes a request, checks the bearer, meets its fault, finds its handler, answers."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.concurrency import run_in_threadpool

from tests.azure import arm_apps, arm_environments, arm_executions, arm_groups, arm_jobs, arm_operations, arm_quota, arm_storage, schema
from tests.azure.arm_calls import Call, Refused, Reply, Route
from tests.azure.faults import AFTER, Fault, Scripted
from tests.azure.world import World

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
ROUTES: tuple[Route, ...] = (
    *arm_groups.ROUTES, *arm_operations.ROUTES, *arm_storage.ROUTES, *arm_quota.ROUTES, *arm_environments.ROUTES, *arm_executions.ROUTES,
    *arm_jobs.ROUTES, *arm_apps.ROUTES,
)


class Arm:
    """An ASGI app. `drop(scope)` cuts a connection."""

    def __init__(self, world: World, drop: Callable[[Message], None], more: tuple[Route, ...] = ()) -> None:
        self.world, self._drop = world, drop
        self._routes = (*more, *ROUTES)

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        """Answer one request."""
        raw = await body_of(receive)
        path, method = unquote(scope["path"]), scope["method"]
        query = {key: values[-1] for key, values in parse_qs(scope["query_string"].decode(), keep_blank_values=True).items()}
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode("utf-8", "replace")
        self.world.note("arm", method, path, scope["query_string"].decode(), body)
        headers = {key.decode().lower(): value.decode() for key, value in scope["headers"]}
        fault = self.world.faults.take(method, path)
        reply = await run_in_threadpool(self._reply, Call(method, path, query, body, headers, {}, self.world.addresses["arm"], fault))
        await self._answer(scope, send, reply, fault)

    def _reply(self, call: Call) -> Reply:
        try:
            refuse_by_fault(call.fault)
            if call.fault is not None and call.fault.fault is Fault.CALL:
                call.fault.options["call"](self.world)
            self._check_bearer(call)
            for route in self._routes:
                found = route.pattern.fullmatch(call.path.rstrip("/")) if route.method == call.method else None
                if found:
                    call.ids.update(found.groupdict())
                    self._check_subscription(call)
                    problem = schema.problem(route.name, call.method, call.body)
                    if problem:
                        self.world.violations.append(f"{call.method} {call.path}: {problem}")
                        raise Refused(400, "InvalidRequestContent", f"The request content is invalid: {problem}")
                    with self.world.lock:
                        arm_operations.go_on(self.world)
                        return route.handler(self.world, call)
            raise Refused(404, "NoRegisteredProviderFound", f"The stand-in has nothing at {call.method} {call.path}.")
        except Refused as error:
            return Reply(error.status, {"error": {"code": error.code, "message": error.message}}, error.headers)

    def _check_bearer(self, call: Call) -> None:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        except (ValueError, IndexError) as error:
            raise Refused(401, "AuthenticationFailed", "Authentication failed: the request has no bearer token.") from error
        if claims["exp"] < time.time():
            raise Refused(401, "ExpiredAuthenticationToken", "The access token expiry is in the past.")

    def _check_subscription(self, call: Call) -> None:
        asked = call.ids.get("sub", "")
        if asked and asked not in self.world.subscriptions:
            raise Refused(404, "SubscriptionNotFound", f"The subscription '{asked}' could not be found.")

    async def _answer(self, scope: Message, send: Send, reply: Reply, scripted: Scripted | None) -> None:
        fault = scripted.fault if scripted is not None and scripted.fault in AFTER else None
        options = scripted.options if scripted is not None else {}
        data = b"" if reply.body is None else json.dumps(reply.body).encode()
        headers = {"content-type": "application/json; charset=utf-8", "x-ms-request-id": f"stand-in-{len(self.world.sent)}",
                   "date": format_datetime(self.world.now(), usegmt=True), **reply.headers}
        status, length = reply.status, len(data)
        match fault:
            case Fault.ACCEPTED_503 | Fault.ACCEPTED_503_RETRY_AFTER:
                status, data = 503, b'{"error":{"code":"ServiceUnavailable","message":"The service is busy."}}'
                length = len(data)
                if fault is Fault.ACCEPTED_503_RETRY_AFTER:
                    headers["retry-after"] = "1"
            case Fault.TRUNCATED_JSON:
                data = data[:len(data) // 2]
                length = len(data)
            case Fault.EMPTY_200:
                status, data, length = 200, b"", 0
            case Fault.TORN_BODY:
                data = data[:len(data) // 2]
            case Fault.ACCEPTED_202_THEN_200 | Fault.ACCEPTED_202_THEN_204:
                ends_in = reply.body if fault is Fault.ACCEPTED_202_THEN_200 else None
                operation = arm_operations.Operation(polls=1, style="location", body=ends_in)
                headers["location"] = arm_operations.register(self.world, operation, self.world.addresses["arm"])
                status, data, length = 202, b"", 0
            case Fault.HANG:
                for _ in range(int(options.get("seconds", 5) * 20)):
                    await asyncio.sleep(0.05)
                    if self.world.closing.is_set():
                        break
                return self._drop(scope)
            case Fault.DROP:
                return self._drop(scope)
            case _:
                pass
        if scope["method"] == "HEAD" or status == 204:
            data, length = b"", length if status != 204 else 0
        pairs = [(key.lower().encode(), str(value).encode()) for key, value in {**headers, "content-length": length}.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": data, "more_body": fault is Fault.TORN_BODY})
        if fault is Fault.TORN_BODY:
            await asyncio.sleep(0.05)
            self._drop(scope)
        return None


async def body_of(receive: Callable[[], Awaitable[Message]]) -> bytes:
    """The whole body of a request."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def refuse_by_fault(scripted: Scripted | None) -> None:
    """Raise what a fault answers before anything is done. Raises Refused."""
    if scripted is None:
        return
    options = scripted.options
    match scripted.fault:
        case Fault.REFUSED_503:
            raise Refused(503, "ServiceUnavailable", "The service is busy.")
        case Fault.THROTTLED:
            raise Refused(429, "TooManyRequests", "Too many requests.", {"retry-after": str(options.get("seconds", 1))})
        case Fault.UNREGISTERED:
            raise Refused(409, "MissingSubscriptionRegistration",
                          "The subscription is not registered to use namespace 'Microsoft.App'.")
        case Fault.DENIED:
            raise Refused(403, "AuthorizationFailed", "The client 'ada@example.com' does not have authorization to perform action "
                          f"'{options.get('action', 'Microsoft.App/jobs/write')}' over scope '/subscriptions/…'.")
        case Fault.POLICY:
            raise Refused(403, "RequestDisallowedByPolicy", "Resource was disallowed by policy 'no shared keys'.")
        case Fault.UNAUTHORIZED:
            raise Refused(401, "ExpiredAuthenticationToken", "The access token expiry is in the past.")
        case Fault.ANSWER:
            raise Refused(options["status"], options["code"], options.get("message", "It did not work."), options.get("headers", {}))
        case _:
            return
