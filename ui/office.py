"""The office: answers the terminal's requests about the record, the people and the policy."""

import asyncio
from collections.abc import Mapping
from typing import Any

from policies.people import Caller
from policies.tool import ToolFailed
from ui.shop import Archive, Household, Records, Rulebook, Shop

OPS = frozenset({"audit", "notify", "people", "policy"})
MOST = 500


async def office(shop: Shop, request: Mapping[str, Any], caller: Caller) -> Any:
    """The value that ends one request, named by `op` and `do`. Raises ToolFailed, and for a program that asks by MCP always."""
    if caller.via == "mcp":
        raise ToolFailed("This was not done", "the record, the people and the policy are the owner's affair, not a program's.",
                         "Use `python -m ui` in a terminal.", kind="refused")
    match request["op"]:
        case "audit":
            if (found := await _archive(shop.archive, request, caller)) is not None:
                return found
            return await _records(shop.records, request, caller)
        case "notify":
            return await shop.notifying.test(caller)
        case "people":
            return await _people(shop.household, request, caller)
        case _:
            return await _policy(shop.rulebook, request, caller)


async def _records(records: Records, request: Mapping[str, Any], caller: Caller) -> Any:
    match request["do"]:
        case "search":
            before = request.get("before")
            asked = {str(name): str(text) for name, text in dict(request.get("asked") or {}).items()}
            limit = max(1, min(int(request.get("limit", 50)), MOST))
            return await asyncio.to_thread(records.search, caller, asked, None if before is None else int(before), limit)
        case "story":
            return await asyncio.to_thread(records.story, str(request["id"]), caller)
        case "record":
            return await asyncio.to_thread(records.record, int(request["seq"]), caller)
        case "prove":
            return await asyncio.to_thread(records.prove, int(request["seq"]), caller)
        case "verified":
            await records.note_verified(caller, int(request["status"]))
            return {}
        case unknown:
            raise _unknown(unknown)


async def _archive(archive: Archive, request: Mapping[str, Any], caller: Caller) -> Any:
    match request["do"]:
        case "export":
            return await archive.export(str(request["folder"]), str(request["format"]), str(request.get("since", "")), caller)
        case "fsck":
            return await archive.fsck(caller)
        case "erase":
            return await archive.erase(int(request["seq"]), caller)
        case "rotate":
            return await archive.rotate(caller)
        case "key":
            return archive.key()
        case _:
            return None


async def _people(household: Household, request: Mapping[str, Any], caller: Caller) -> Any:
    match request["do"]:
        case "list":
            return household.list()
        case "add":
            role, kind = str(request.get("role", "member")), str(request.get("kind", "human"))
            return await household.add(str(request["person"]), str(request.get("name", "")), role, kind, caller)
        case "set":
            role = None if request.get("role") is None else str(request["role"])
            active = None if request.get("active") is None else bool(request["active"])
            return await household.set(str(request["person"]), caller, role, active)
        case "unlink":
            await household.unlink(str(request["provider"]), str(request["subject"]), caller)
            return {}
        case unknown:
            raise _unknown(unknown)


async def _policy(rulebook: Rulebook, request: Mapping[str, Any], caller: Caller) -> Any:
    match request["do"]:
        case "state":
            return rulebook.state()
        case "test":
            return await rulebook.test()
        case "reload":
            return await rulebook.reload(caller)
        case unknown:
            raise _unknown(unknown)


def _unknown(what: Any) -> ToolFailed:
    return ToolFailed("The request cannot be answered", f"there is no {str(what)[:40]!r}.", "Use a terminal of the same version.")
