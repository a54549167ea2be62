"""Tells the brain, before each answer, what waits for a person right now; read from the book, never from the conversation."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import SystemMessage

from agent.context import TurnContext
from policies.gateway import Gateway

WAITING = "waiting"


class Standing(AgentMiddleware):
    """Adds the thread's waiting approvals to the system message, as text and as data."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Ids, tools and requesters only: what a card says in full is for people."""
        context: TurnContext = request.runtime.context
        waiting = [
            {"approval_id": each.id, "tool": each.tool, "mine": each.requester == context.caller.person}
            for each in self._gateway.pending(context.thread)
        ]
        text = str(request.system_message.text) if request.system_message else ""
        now = f"\n\n## Now\nWaiting for a person's decision in this thread: {json.dumps(waiting) if waiting else 'nothing'}."
        return await handler(request.override(system_message=SystemMessage(text + now, additional_kwargs={WAITING: waiting})))
