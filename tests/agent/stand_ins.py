"""Small servers on loopback that speak the providers' protocols: one tool call, then a sentence; 401 for a wrong key."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "right-key"
WORDS = ("I have ", "looked.")


@dataclass
class StandIn:
    """What the server was asked, and whether it should hang."""

    hangs: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""


@asynccontextmanager
async def serve(provider: str, stand_in: StandIn) -> AsyncIterator[StandIn]:
    """Serve one provider's protocol until the block ends."""

    async def handle(request: web.Request) -> web.StreamResponse:
        stand_in.paths.append(request.path_qs)
        body = await request.json()
        stand_in.requests.append(body)
        if stand_in.hangs:
            await asyncio.sleep(3600)
        if not _knows(provider, request):
            return web.json_response(
                {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "invalid_request_error"}}, status=401
            )
        answered = _has_result(provider, body)
        kind = "application/x-ndjson" if provider == "ollama" else "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for line in _LINES[provider](answered, body):
            await response.write(line.encode())
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post("/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    stand_in.url = f"http://127.0.0.1:{port}"
    try:
        yield stand_in
    finally:
        await runner.cleanup()


def _knows(provider: str, request: web.Request) -> bool:
    given = {
        "openai": request.headers.get("Authorization", "").removeprefix("Bearer "),
        "azure_openai": request.headers.get("api-key"),
        "anthropic": request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer "),
        "ollama": request.headers.get("Authorization", KEY).removeprefix("Bearer "),
    }
    return given[provider] == KEY


def _has_result(provider: str, body: dict[str, Any]) -> bool:
    last = body["messages"][-1]
    if provider == "anthropic":
        return isinstance(last["content"], list) and any(part.get("type") == "tool_result" for part in last["content"])
    return last["role"] == "tool"


def _openai(answered: bool, body: dict[str, Any]) -> Iterable[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body.get("model", "m"), "choices": [choice]}
        return f"data: {json.dumps(whole)}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    if answered:
        yield from (chunk({"content": word}) for word in WORDS)
        yield chunk({}, "stop")
    else:
        function = {"name": "look", "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
        yield from (chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in ('{"name": ', '"kitchen"}'))
        yield chunk({}, "tool_calls")
    yield "data: [DONE]\n\n"


def _anthropic(answered: bool, body: dict[str, Any]) -> Iterable[str]:
    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"

    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [], "stop_reason": None}
    yield event("message_start", message={**message, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1}})
    if answered:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for word in WORDS:
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    else:
        yield event("content_block_start", index=0, content_block={"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}})
        for part in ('{"name": ', '"kitchen"}'):
            yield event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
    yield event("content_block_stop", index=0)
    reason = "end_turn" if answered else "tool_use"
    yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 5})
    yield event("message_stop")


def _ollama(answered: bool, body: dict[str, Any]) -> Iterable[str]:
    def line(message: dict[str, Any], **more: Any) -> str:
        whole = {"model": body["model"], "created_at": "2026-11-24T00:00:00Z", "message": {"role": "assistant", **message}}
        return json.dumps({**whole, "done": False, **more}) + "\n"

    if answered:
        yield from (line({"content": word}) for word in WORDS)
    else:
        yield line({"content": "", "tool_calls": [{"function": {"name": "look", "arguments": {"name": "kitchen"}}}]})
    yield line({"content": ""}, done=True, done_reason="stop", total_duration=1, eval_count=3, prompt_eval_count=3)


_LINES = {"openai": _openai, "azure_openai": _openai, "anthropic": _anthropic, "ollama": _ollama}
