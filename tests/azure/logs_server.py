"""The log stand-in: the stream of a container, by the job's own token, and the queries of Log Analytics."""

import asyncio
import base64
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.azure.arm_identity import token
from tests.azure.world import World

KEPT = 300
_QUERY = re.compile(
    r"(ContainerApp(?:Console|System)Logs(?:_CL)?) \| where (?:ContainerJobName|JobName)(?:_s)? == '([a-z0-9-]+)' and "
    r"(?:ContainerGroupName|ExecutionName)(?:_s)? (?:startswith|==) '([a-z0-9-]+)' \| top (\d+) by TimeGenerated desc \| project .+")


@dataclass
class Logs:
    """What containers wrote, by execution. Tests write with `say`, and cut, expire or mislead."""

    written: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Time and text."""
    connections: list[str] = field(default_factory=list)
    """Query of each connection to the stream."""
    tokens: list[str] = field(default_factory=list)
    """What each connection came with."""
    expired: int = 0
    """Connections whose token is not taken."""
    cut_after: list[int] = field(default_factory=list)
    """Lines after which the next connections are cut, one each; without one a connection stays."""
    redirect: str = ""
    busy: int = 0
    """Connections that are answered 503."""
    raw: list[bytes] = field(default_factory=list)
    """Bytes that the next connections send before all else."""
    tables: dict[str, dict[str, list[tuple[str, str]]]] = field(default_factory=dict)
    """Rows of each table of Log Analytics, by execution; a table that is not here does not exist."""
    queries: list[str] = field(default_factory=list)

    def say(self, execution: str, text: str, at: str = "") -> None:
        """One more line."""
        lines = self.written.setdefault(execution, [])
        lines.append((at or f"2026-11-24T10:00:00.{len(lines):07d}+00:00", text))


def logs_of(world: World) -> Logs:
    """The logs of a stand-in."""
    return world.parts.setdefault("logs", Logs())


def logs_app(world: World) -> Starlette:
    """`/logstream/…` and `/loganalytics/v1/workspaces/ID/query`."""
    logs = logs_of(world)

    async def stream(request: Request) -> Response:
        execution = request.path_params["execution"]
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        world.note("logs", "GET", request.url.path, request.url.query)
        logs.connections.append(request.url.query)
        logs.tokens.append(given)
        if logs.redirect:
            return RedirectResponse(logs.redirect, 307)
        if logs.expired or not _good(given, "log-host-of-the-stand-in"):
            logs.expired = max(0, logs.expired - 1)
            return Response(status_code=401)
        if logs.busy:
            logs.busy -= 1
            return Response(status_code=503)
        return _Stream(world, logs, execution, request.query_params.get("follow") == "true")

    async def query(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not _good(given, "api.loganalytics.io"):
            return JSONResponse({"error": {"code": "InvalidTokenError", "message": "The provided authentication is not valid."}}, 401)
        asked = (await request.json())["query"]
        world.note("logs", "POST", request.url.path, body=asked)
        logs.queries.append(asked)
        found = _QUERY.fullmatch(asked)
        table = found.group(1) if found else ""
        if found is None or table not in logs.tables:
            inner = {"code": "SEM0100", "message": f"'where' operator: Failed to resolve table expression named '{table}'"}
            return JSONResponse({"error": {"message": "The request had some invalid properties", "code": "BadArgumentError",
                                           "innererror": inner}}, 400)
        rows = [[at, text] for name, some in logs.tables[table].items() if name.startswith(found.group(3)) for at, text in some]
        rows = sorted(rows, reverse=True)[:int(found.group(4))]
        columns = [{"name": "TimeGenerated", "type": "datetime"}, {"name": "Log_s", "type": "string"}]
        return JSONResponse({"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]})

    return Starlette(routes=[
        Route("/logstream/jobs/{job}/executions/{execution}/replicas/{replica}/containers/{container}", stream),
        Route("/loganalytics/v1/workspaces/{workspace}/query", query, methods=["POST"]),
    ])


def fresh_token(world: World) -> str:
    """As ARM gives it for the log host."""
    return token(world, "log-host-of-the-stand-in", 3600)


def _good(given: str, audience: str) -> bool:
    parts = given.split(".")
    if len(parts) != 3:
        return False
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    return audience in str(claims["aud"]) and float(claims["exp"]) > time.time()


class _Stream(Response):
    """Two lines of noise, the last 300, then each new one until the execution has ended."""

    def __init__(self, world: World, logs: Logs, execution: str, follow: bool) -> None:
        super().__init__(media_type="text/plain")
        del self.headers["content-length"]
        self._world, self._logs, self._execution, self._follow = world, logs, execution, follow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; a cut leaves the body without its end, and the server closes the connection."""
        gone = asyncio.create_task(_gone(receive))
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        logs, left = self._logs, self._logs.cut_after.pop(0) if self._logs.cut_after else None
        noise = ("Connecting to the container 'main'...", f"Successfully Connected to container: 'main' [Replica: '{self._execution}-0']")
        for block in (*(_json("2026-11-24T09:59:59.0000000+00:00", each) for each in noise), *logs.raw):
            await send({"type": "http.response.body", "body": block, "more_body": True})
        position = max(0, len(logs.written.get(self._execution, ())) - KEPT)
        while not gone.done():
            for at, text in logs.written.get(self._execution, [])[position:]:
                if left == 0:
                    break
                left = None if left is None else left - 1
                position += 1
                await send({"type": "http.response.body", "body": _json(at, text), "more_body": True})
            if left == 0:
                gone.cancel()
                return
            running = any(each.name == self._execution and not each.ended.is_set() for each in self._world.all_executions())
            if not self._follow or not running or self._world.closing.is_set():
                break
            await asyncio.sleep(0.01)
        gone.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    """Ends when the other side closes."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _json(at: str, text: str) -> bytes:
    return json.dumps({"TimeStamp": at, "Log": text}).encode() + b"\n"
