"""The HTTP face of a server: OpenAI's chat, completions and models, health without a key, figures with one."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tools.engine.serve_error import RequestRefused
from tools.engine.serve_loaded import Loaded, Sampling
from tools.engine.serve_reply import Reply
from tools.engine.serve_request import Asked, ChatAsked, CompletionAsked, read_request
from tools.engine.serve_spec import ServeLimits
from tools.engine.serve_turns import Ticket, Turns

COMPLETION_TOKENS = 16
"""OpenAI's own default of `max_tokens` for completions."""


class Api:
    """The routes over the loaded models and their turns."""

    def __init__(self, models: Mapping[str, Loaded], turns: Turns, key: str, limits: ServeLimits) -> None:
        self._models, self._turns, self._limits = models, turns, limits
        self._key = _digest(key)
        self._since = int(time.time())

    def app(self) -> Starlette:
        """The application, which gives turns while it runs."""
        @contextlib.asynccontextmanager
        async def turning(_app: Starlette) -> AsyncIterator[None]:
            task = asyncio.create_task(self._turns.run())
            try:
                yield
            finally:
                task.cancel()

        routes = [
            Route("/healthz", self._health), Route("/metrics", self._behind_key(self._metrics)),
            Route("/v1/models", self._behind_key(self._list)),
            Route("/v1/models/{name:path}", self._behind_key(self._one)),
            Route("/v1/chat/completions", self._behind_key(self._chat), methods=["POST"]),
            Route("/v1/completions", self._behind_key(self._complete), methods=["POST"]),
        ]
        return Starlette(routes=routes, lifespan=turning, exception_handlers={HTTPException: self._no_route})

    def _behind_key(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            status, model = 200, ""
            try:
                self._check_key(request)
                found = await answer(request)
                status, model = found.status_code, getattr(request.state, "model", "")
                return found
            except RequestRefused as error:
                status, model = error.status, getattr(request.state, "model", "")
                return _refusal(error)
            except Exception as error:
                print(f"{request.url.path} failed: {type(error).__name__}", flush=True)
                status = 500
                return _refusal(RequestRefused(500, f"The request failed on {type(error).__name__}. Ask again; then report it."))
            finally:
                self._turns.metrics.requests.labels(model, str(status)).inc()

        return guarded

    def _check_key(self, request: Request) -> None:
        """Digests of equal length are compared, in constant time."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if not (hmac.compare_digest(_digest(given.strip()), self._key) and scheme.lower() == "bearer"):
            raise RequestRefused(401, "The API key is missing or wrong. Send it as `Authorization: Bearer KEY`.", code="invalid_api_key")

    async def _no_route(self, request: Request, error: Exception) -> Response:
        """No such path or method. Without the key nobody learns even that."""
        try:
            self._check_key(request)
        except RequestRefused as refused:
            return _refusal(refused)
        status = error.status_code if isinstance(error, HTTPException) else 404
        return _refusal(RequestRefused(status, f"{request.method} {request.url.path[:100]} is nothing this server has."))

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "closing" if self._turns.closing else "ok"}, 503 if self._turns.closing else 200)

    async def _metrics(self, _request: Request) -> Response:
        metrics = self._turns.metrics
        return Response(metrics.text(), media_type=metrics.content_type)

    async def _list(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._described(each) for each in self._models.values()]})

    async def _one(self, request: Request) -> Response:
        return JSONResponse(self._described(self._named(request.path_params["name"])))

    def _described(self, loaded: Loaded) -> dict[str, Any]:
        model = loaded.model
        return {
            "id": model.name, "object": "model", "created": self._since, "owned_by": "luthier", "tuned_by": model.run,
            "precision": model.precision, "context": loaded.served.context, "system_fingerprint": loaded.fingerprint,
        }

    def _named(self, name: str) -> Loaded:
        if name not in self._models:
            raise RequestRefused(404, f"There is no model {name[:100]!r} here. There are: {', '.join(self._models)}.", param="model",
                                 code="model_not_found")
        return self._models[name]

    async def _body(self, request: Request) -> bytes:
        most = self._limits.body_bytes
        told = request.headers.get("content-length", "0")
        body = bytearray()
        if told.isdigit() and int(told) <= most:
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    break
        if len(body) > most or not told.isdigit() or int(told) > most:
            raise RequestRefused(413, f"The body is longer than {most} bytes. Send less.", code="too_large")
        return bytes(body)

    async def _chat(self, request: Request) -> Response:
        asked = read_request(ChatAsked, await self._body(request))
        loaded = self._model_of(request, asked)
        try:
            ids = loaded.served.prompt([message.as_template() for message in asked.messages])
        except Exception as error:
            raise RequestRefused(400, "The model's chat template refuses these messages. Send a user message last.",
                                 param="messages") from error
        if asked.max_tokens and asked.max_completion_tokens and asked.max_tokens != asked.max_completion_tokens:
            raise RequestRefused(400, "max_tokens and max_completion_tokens differ. Send one of them.", param="max_tokens")
        wanted = asked.max_completion_tokens or asked.max_tokens
        return await self._answer(request, asked, loaded, ids, wanted, self._limits.tokens, chat=True)

    async def _complete(self, request: Request) -> Response:
        asked = read_request(CompletionAsked, await self._body(request))
        loaded = self._model_of(request, asked)
        ids = [int(token) for token in loaded.served.tokenizer.encode(asked.text)] if asked.text else []
        return await self._answer(request, asked, loaded, ids, asked.max_tokens, COMPLETION_TOKENS, chat=False)

    def _model_of(self, request: Request, asked: Asked) -> Loaded:
        loaded = self._named(asked.model)
        request.state.model = loaded.name
        return loaded

    async def _answer(self, request: Request, asked: Asked, loaded: Loaded, ids: list[int], wanted: int | None, usual: int,
                      *, chat: bool) -> Response:
        loaded.check(ids)
        if wanted is not None and wanted > self._limits.tokens:
            raise RequestRefused(400, f"{wanted} tokens were asked for; this server gives {self._limits.tokens} at most.",
                                 param="max_tokens", code="too_many_tokens")
        sampling = Sampling(wanted or min(usual, self._limits.tokens), 1.0 if asked.temperature is None else asked.temperature, asked.top_p,
                            asked.top_k, asked.seed)
        ticket = Ticket(loaded, ids, sampling, asked.stops)
        reply = Reply(chat, f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}", loaded.name, loaded.fingerprint)
        self._turns.enter(ticket)
        if asked.stream:
            return StreamingResponse(self._stream(ticket, reply, asked), media_type="text/event-stream",
                                     headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        return await self._whole(request, ticket, reply)

    async def _stream(self, ticket: Ticket, reply: Reply, asked: Asked) -> AsyncIterator[bytes]:
        usage = asked.wants_usage
        try:
            if reply.chat:
                yield _event(reply.chunk("", role="assistant", usage=usage))
            while (piece := await ticket.pieces.get()) is not None:
                yield _event(reply.chunk(piece, usage=usage))
            if ticket.finish in ("cut", "failed"):
                yield _event(_unfinished(ticket).as_json())
                return
            yield _event(reply.chunk("", finish=ticket.finish, usage=usage))
            if usage:
                yield _event(reply.counted(len(ticket.ids), ticket.tokens))
            yield b"data: [DONE]\n\n"
        finally:
            self._turns.leave(ticket)

    async def _whole(self, request: Request, ticket: Ticket, reply: Reply) -> Response:
        async def hear() -> str:
            said = []
            while (piece := await ticket.pieces.get()) is not None:
                said.append(piece)
            return "".join(said)

        hearing, gone = asyncio.create_task(hear()), asyncio.create_task(_disconnect(request))
        try:
            await asyncio.wait({hearing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not hearing.done():
                return Response(status_code=499)
            if ticket.finish in ("cut", "failed"):
                raise _unfinished(ticket)
            return JSONResponse(reply.whole(hearing.result(), ticket.finish, len(ticket.ids), ticket.tokens))
        finally:
            hearing.cancel()
            gone.cancel()
            self._turns.leave(ticket)


def _unfinished(ticket: Ticket) -> RequestRefused:
    if ticket.finish == "cut":
        said = "This server is closing; the answer was cut. Ask again when it is back."
        return RequestRefused(503, said, code="closing", retry_after_s=2)
    return RequestRefused(500, "The model failed while it answered. Ask again; the server's log says more.", code="model_failed")


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _refusal(error: RequestRefused) -> Response:
    return JSONResponse(error.as_json(), error.status, error.headers)


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
