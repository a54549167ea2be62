"""The desk: answers one request of the terminal or of MCP with the workshop's verbs, line by line."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from policies.people import Caller
from policies.tool import ToolFailed
from ui.office import OPS, office
from ui.shop import Shop
from ui.wire import decision_json, event_line, view_json

OWNER = "owner"
Line = dict[str, Any]


class Desk:
    """Each reply is a line `{"event"|"progress"|"watch": …}`; the last is `{"end": …}` or `{"error": …}`."""

    def __init__(self, shop: Shop, url: str = "") -> None:
        self.shop, self.url = shop, url

    async def answer(self, request: Mapping[str, Any]) -> AsyncIterator[Line]:
        """The lines of one request. Never raises for what the request or the tool did wrong: that is the `error` line."""
        try:
            async with aclosing(self._answer(request)) as lines:  # pyright: ignore[reportArgumentType]
                async for line in lines:
                    yield line
        except ToolFailed as failed:
            yield {"error": {"what": failed.what, "because": failed.because, "try_next": failed.try_next, "kind": failed.kind}}
        except (KeyError, TypeError, ValueError) as error:
            yield {"error": {"what": "The request cannot be answered", "because": f"it is malformed ({error}).",
                             "try_next": "Use a terminal of the same version as the server.", "kind": "malformed"}}

    async def _answer(self, request: Mapping[str, Any]) -> AsyncIterator[Line]:
        caller = caller_of(request)
        match request["op"]:
            case "ping":
                yield {"end": {"ok": True, "pid": os.getpid(), "url": self.url}}
            case "say":
                said = self.shop.say(str(caller.thread), str(request["text"]), caller)
                async with aclosing(said) as events:  # pyright: ignore[reportArgumentType]
                    async for event in events:
                        yield event_line(event)
                yield {"end": {}}
            case "call":
                async for line in self._call(request, caller):
                    yield line
            case "decide" | "decide_many" | "withdraw":
                if caller.via == "mcp":
                    for identity in [str(request["id"])] if "id" in request else [str(each) for each in request.get("ids", [])]:
                        await self.shop.decide(identity, "deny", caller)  # the gateway refuses a program, and keeps a record of it
                    remedy = "Decide in the chat or by `python -m ui approve ID`."
                    raise ToolFailed("This was not decided", "MCP never decides an approval.", remedy)
                yield {"end": await self._decide(request, caller)}
            case "approval":
                view = self.shop.approval(str(request["id"]))
                yield {"end": None if view is None else view_json(view)}
            case "pending":
                yield {"end": [view_json(view) for view in self.shop.pending(request.get("thread"))]}
            case "watch":
                async for line in self._watch(request, caller):
                    yield line
            case "link":
                if caller.via == "mcp":
                    raise ToolFailed("No link was made", "a program never signs anybody in.", "Run `python -m ui link` in a terminal.")
                yield {"end": {"token": self.shop.make_link(str(request.get("person") or OWNER)), "url": self.url}}
            case op if op in OPS:
                yield {"end": await office(self.shop, request, caller)}
            case "doctor":
                yield {"end": await self.shop.doctor(bool(request.get("cloud")))}
            case "datasets":
                yield {"end": self.shop.datasets()}
            case "add_model":
                yield {"end": await self.shop.add_model(str(request["path"]), caller, str(request.get("name", "")))}
            case unknown:
                because = f"there is no {str(unknown)[:40]!r}."
                raise ToolFailed("The request cannot be answered", because, "Use a terminal of the same version.")

    async def _decide(self, request: Mapping[str, Any], caller: Caller) -> Any:
        if request["op"] == "withdraw":
            return decision_json(await self.shop.withdraw(str(request["id"]), caller))
        why = str(request.get("why", ""))
        match request["op"], request["answer"]:
            case "decide_many", ("approve" | "deny") as answer:
                ids = [str(each) for each in request["ids"]]
                return [decision_json(each) for each in await self.shop.inbox.decide_many(ids, answer, caller, why)]
            case "decide", ("approve" | "deny" | "break_glass") as answer:
                return decision_json(await self.shop.decide(str(request["id"]), answer, caller, why))
            case _, answer:
                raise ValueError(f"no answer is {str(answer)[:20]!r}")

    async def _watch(self, request: Mapping[str, Any], caller: Caller) -> AsyncIterator[Line]:
        """A run's events and views; with `log`, so many of its last lines whenever they are others."""
        run_id, offset, shown = str(request["run_id"]), request.get("offset", 0), int(request.get("log") or 0)
        seen, before = self.shop.watch(run_id, caller, None if offset is None else int(offset)), ()
        async with aclosing(seen) as items:  # pyright: ignore[reportArgumentType]
            async for item in items:
                if shown and item.get("kind") == "view" and (lines := (await self.shop.log(run_id, caller, lines=shown)).lines) != before:
                    before = lines
                    yield {"log": list(lines)}
                yield {"watch": item}
        yield {"end": {}}

    async def _call(self, request: Mapping[str, Any], caller: Caller) -> AsyncIterator[Line]:
        told: asyncio.Queue[Line | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def report(text: str, fraction: float | None = None) -> None:
            loop.call_soon_threadsafe(told.put_nowait, {"progress": {"text": text, "fraction": fraction}})

        work = asyncio.ensure_future(
            self.shop.call(str(request["tool"]), dict(request.get("args") or {}), caller, str(request.get("key", "")), report)
        )
        work.add_done_callback(lambda _: told.put_nowait(None))
        while (line := await told.get()) is not None:
            yield line
        yield {"end": (await work).as_json()}


def caller_of(request: Mapping[str, Any]) -> Caller:
    """The home's owner, known by the peer uid of the socket or by holding the lock."""
    via = "mcp" if request.get("via") == "mcp" else "cli"
    return Caller(person=OWNER, via=via, auth="peer uid", thread=str(request.get("thread") or "terminal"))
