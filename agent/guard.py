"""Catches what would never reach a handle's body, so that the gateway audits every call a model makes. Holds no approval logic."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command

from agent.context import TurnContext, asking_message, call_key, calls_with_id
from agent.events import Problem
from agent.handles import as_message, ended
from policies.gateway import Gateway


class Guard(AgentMiddleware[AgentState[Any], TurnContext]):
    """Refuses unknown tools, duplicate or missing call ids and calls whose JSON is broken, through the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Let a sound call through with empty keyword arguments; the body reads the raw ones from the state.

        So an argument called `self`, `runtime`, `config` or `run_manager` reaches the gateway like any other.
        """
        call = request.tool_call
        name, ident = str(call["name"]), call.get("id")
        asking = asking_message(request.state["messages"], str(ident))
        if request.tool is None:
            return await self._refuse(request, asking, "there is no tool of this name")
        if not ident or asking is None:
            return await self._refuse(request, asking, f"the call of {name} has no id")
        if len(calls_with_id(asking, ident)) > 1:
            return await self._refuse(request, asking, "two calls of one message have the same id")
        return await handler(request.override(tool_call={**call, "args": {}}))

    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[TurnContext]) -> dict[str, Any] | None:
        """Answer calls that cannot be read: without this the turn would end with no call and no word.

        A call of an answer that was cut off at its longest length may look sound and lack arguments: it counts as unreadable too.
        """
        last = state["messages"][-1]
        if not isinstance(last, AIMessage):
            return None
        cut = str(last.response_metadata.get("finish_reason") or last.response_metadata.get("stop_reason")) in ("length", "max_tokens")
        unreadable = [(str(each.get("name") or "unknown"), str(each.get("id") or "")) for each in last.invalid_tool_calls]
        unreadable += [(str(each["name"]), str(each["id"] or "")) for each in last.tool_calls if cut]
        if not unreadable:
            return None
        context = runtime.context
        why = "the answer was cut off in the middle of the call" if cut else "the arguments are no valid JSON"
        answers: list[ToolMessage] = []
        for name, ident in unreadable:
            key = call_key(context.thread, last, f"unreadable:{ident}")
            answers.append(as_message(await self._gateway.refuse(name, {}, context.caller, key, why), ident))
        runtime.stream_writer(
            Problem(
                context.thread,
                context.turn,
                "The model sent a tool call that cannot be read, so it was not done.",
                "Ask again, in other words, or choose another model with LUTHIER_BRAIN.",
            )
        )
        return {"messages": answers}

    async def _refuse(self, request: ToolCallRequest, asking: AIMessage | None, reason: str) -> ToolMessage:
        context = cast(TurnContext, request.runtime.context)
        call = request.tool_call
        ident = str(call.get("id") or "")
        # The arguments are part of the key: calls that share an id are different calls, and each is audited.
        key = call_key(context.thread, asking, f"refused:{ident}:{call['name']}:{call['args']!r}")
        answer = await self._gateway.refuse(str(call["name"]), call["args"], context.caller, key, reason)
        request.runtime.stream_writer(ended(context, ident, answer))
        return as_message(answer, ident)
