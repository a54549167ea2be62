"""When a hosted brain fails, the command assistant stands in for this answer: said aloud, and for looking only."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse

from agent.brain.brain import Brain
from agent.brain.embedded import EmbeddedBrain
from agent.brain.failure import explain
from agent.context import TurnContext
from agent.events import Problem

ANSWER_S = 120.0
"""How long one answer of a hosted model may take altogether."""


class Fallback(AgentMiddleware):
    """Tells the faces why the hosted brain did not answer, and lets a reading-only command assistant answer instead."""

    def __init__(self, brain: Brain, *, answer_s: float = ANSWER_S) -> None:
        super().__init__()
        self._name, self._answer_s = brain.name, answer_s
        self._stand_in = EmbeddedBrain(reading_only=True)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Any failure of the provider is answered; a cancelled turn stays cancelled."""
        try:
            async with asyncio.timeout(self._answer_s):
                return await handler(request)
        except Exception as error:  # providers raise classes of their own; explain() sorts them by status and kind
            failure = explain(error)
            context: TurnContext = request.runtime.context
            request.runtime.stream_writer(
                Problem(
                    context.thread,
                    context.turn,
                    f"{self._name} did not answer: {failure.because} The command assistant answers instead; it only looks.",
                    failure.try_next,
                )
            )
            return await handler(request.override(model=self._stand_in))
