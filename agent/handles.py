"""Each tool as a LangChain tool whose body is one gateway call; nothing is decided here."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool

from agent.context import TurnContext, asking_message, call_key, calls_with_id
from agent.events import ToolEnded, ToolProgress, ToolStarted
from agent.grounded import ground
from policies.gateway import Gateway
from policies.tool import Tool
from policies.verdict import Answer

WITHDRAW = "withdraw_proposal"
_WITHDRAW_TEXT = (
    "Take back a proposal that waits for approval, when the person who asked for it says so (cancel, forget it). "
    "It never stops a run that is already going: use cancel_run for that."
)
_WITHDRAW_SCHEMA = {
    "title": WITHDRAW,
    "description": _WITHDRAW_TEXT,
    "type": "object",
    "additionalProperties": False,
    "properties": {"approval_id": {"type": "string", "description": "The waiting approval's id; left out: the newest of this thread."}},
}


def build_handles(gateway: Gateway, tools: Mapping[str, Tool], *, grounding: bool) -> list[StructuredTool]:
    """A handle for every tool, and one that withdraws. `grounding` drops optional arguments that nobody said.

    The schema is a dict, so that nothing is checked or dropped on the way: the gateway is the one parser.
    """
    return [*(_handle(gateway, tool, grounding) for tool in tools.values()), _withdraw_handle(gateway)]


def for_model(answer: Answer, left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """The model's side of an answer: typed facts, the reason and the remedy, never a face's result."""
    facts: dict[str, Any] = {"status": answer.status, **answer.for_brain}
    if answer.reason:
        facts.setdefault("reason", answer.reason)
    if answer.remedy:
        facts["remedy"] = answer.remedy
    if answer.approval is not None and answer.status == "waiting":
        facts["approval_id"] = answer.approval.id
        facts["reason"] = answer.approval.reason
        facts["note"] = "A person decides on the card. Do not call this again: a notice follows."
    if left_out:
        facts["left_out"] = list(left_out)
        facts["left_out_note"] = "Nobody said these values, so they were not used; say so to the person."
    return facts


def as_message(answer: Answer, call: str, left_out: tuple[str, ...] = ()) -> ToolMessage:
    """An answer as the message that the model reads."""
    return ToolMessage(
        json.dumps(for_model(answer, left_out), ensure_ascii=False),
        tool_call_id=call,
        name=answer.tool,
        status="error" if answer.status in ("refused", "failed") else "success",
        artifact={"status": answer.status, "call_id": answer.call_id},
    )


def ended(context: TurnContext, call: str, answer: Answer) -> ToolEnded:
    """An answer as faces see it."""
    return ToolEnded(context.thread, context.turn, call, answer.tool, answer.status, answer.result, answer.reason, answer.remedy)


def _handle(gateway: Gateway, tool: Tool, grounding: bool) -> StructuredTool:
    schema = tool.Args.model_json_schema()

    async def body(runtime: ToolRuntime, **_: Any) -> ToolMessage:
        context = cast(TurnContext, runtime.context)
        call = str(runtime.tool_call_id)
        messages = runtime.state["messages"]
        asking = asking_message(messages, call)
        raw = dict(calls_with_id(asking, call)[0]["args"]) if asking else {}
        left_out: tuple[str, ...] = ()
        if grounding:
            raw, left_out = ground(raw, schema, messages)
        runtime.stream_writer(ToolStarted(context.thread, context.turn, call, tool.name, raw))
        loop = asyncio.get_running_loop()

        def report(text: str, fraction: float | None = None) -> None:
            loop.call_soon_threadsafe(runtime.stream_writer, ToolProgress(context.thread, call, text, fraction))

        answer = await gateway.call(tool.name, raw, context.caller, call_key(context.thread, asking, call), report)
        runtime.stream_writer(ended(context, call, answer))
        return as_message(answer, call, left_out)

    described = {**schema, "title": tool.name, "description": tool.text}
    return StructuredTool(name=tool.name, description=tool.text, args_schema=described, coroutine=body)


def _withdraw_handle(gateway: Gateway) -> StructuredTool:
    async def body(runtime: ToolRuntime, **_: Any) -> ToolMessage:
        context = cast(TurnContext, runtime.context)
        call = str(runtime.tool_call_id)
        asking = asking_message(runtime.state["messages"], call)
        wanted = str(calls_with_id(asking, call)[0]["args"].get("approval_id") or "") if asking else ""
        mine = [each for each in gateway.pending(context.thread) if each.requester == context.caller.person]
        chosen = [each for each in mine if each.id == wanted] if wanted else mine[-1:]
        if not chosen:
            facts: dict[str, Any] = {"status": "failed", "reason": "No proposal of this person waits in this thread."}
        else:
            decision = await gateway.withdraw(chosen[0].id, context.caller)
            facts = {"status": "done" if decision.ok else "failed", "tool": chosen[0].tool, "approval_id": chosen[0].id}
        return ToolMessage(json.dumps(facts), tool_call_id=call, name=WITHDRAW, status="success" if facts["status"] == "done" else "error")

    return StructuredTool(name=WITHDRAW, description=_WITHDRAW_TEXT, args_schema=_WITHDRAW_SCHEMA, coroutine=body)
