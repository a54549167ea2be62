"""Counts the tokens of a hosted brain: reserves the most an answer can use, settles what it used, and stops at the cap of the day."""

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.runtime import get_runtime

from agent.brain.brain import Brain
from agent.brain.embedded import EmbeddedBrain
from agent.brain.failure import explain
from agent.context import TurnContext
from agent.events import Problem
from policies.tokens import OverTokens, Tokens

ANSWER_TOKENS = 16_384
"""The longest answer that is counted on where a model names no limit of its own; a longer one still counts in full."""
TURNED_AWAY = frozenset({"key", "model", "limit", "unreachable", "refused"})
"""Failures in which the provider answered that it does nothing, or was never reached: they use no token."""
TRY_NEXT = "Wait for the next UTC day, or ask the owner to raise [tokens] per_person_day in limits.toml."


class Metering(AgentMiddleware):
    """Around every call of the hosted model; the command assistant costs nothing and is let through."""

    def __init__(self, tokens: Tokens, brain: Brain) -> None:
        super().__init__()
        self._tokens, self._brain = tokens, brain
        self._stand_in = EmbeddedBrain(reading_only=True)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Over the cap the command assistant answers instead, and says so; it only looks."""
        if request.model is not self._brain.model:
            return await handler(request)
        context: TurnContext = request.runtime.context
        words = [str(request.system_message.text)] if request.system_message else []
        shapes = [each if isinstance(each, dict) else convert_to_openai_tool(each) for each in request.tools]
        most = size_of([*words, json.dumps(shapes, default=str)], request.messages) + longest_answer(self._brain.model)
        turn = f"{context.turn}:{secrets.token_hex(4)}"
        try:
            await self._tokens.reserve(turn, context.caller.person, self._brain.name, most)
        except OverTokens as over:
            because = f"{self._brain.name} is not asked: {over} The command assistant answers instead; it only looks."
            request.runtime.stream_writer(Problem(context.thread, context.turn, because, TRY_NEXT))
            return await handler(request.override(model=self._stand_in))
        # A cut or a late answer may have been paid for: nobody knows, so the most counts.
        used: int | None = None
        try:
            response = await handler(request)
            used = usage(response.result)
            return response
        except Exception as error:
            used = 0 if explain(error).kind in TURNED_AWAY else None
            raise
        finally:
            await self._tokens.settle(turn, used)


def metered_summariser(model: BaseChatModel, name: str, tokens: Tokens, prompt: str) -> RunnableLambda[Any, Any]:
    """What shortens a long conversation, counted like an answer; over the cap it says only that something was left out."""

    async def shorten(messages: Sequence[AnyMessage]) -> str:
        context: TurnContext = get_runtime(TurnContext).context
        asked = prompt.format(messages="\n".join(f"{each.type}: {each.text}" for each in messages))
        turn, used = f"{context.turn}:{secrets.token_hex(4)}", None
        try:
            await tokens.reserve(turn, context.caller.person, name, len(asked.encode()) + longest_answer(model))
        except OverTokens:
            return "Earlier messages were left out."
        try:
            answer = await model.ainvoke(asked)
            used = usage([answer])
            return str(answer.text)
        finally:
            await tokens.settle(turn, used)

    return RunnableLambda(shorten)


def size_of(words: Sequence[str], messages: Sequence[BaseMessage]) -> int:
    """An upper bound of the tokens of what is sent: no token is shorter than a byte."""
    sent = [*words, *(json.dumps(each.model_dump(mode="json"), default=str, ensure_ascii=False) for each in messages)]
    return sum(len(each.encode("utf-8", "replace")) for each in sent)


def longest_answer(model: BaseChatModel) -> int:
    """The most tokens that one answer may have, by the model's own limit."""
    for name in ("max_tokens", "max_completion_tokens", "num_predict", "max_output_tokens"):
        limit = getattr(model, name, None)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            return limit
    return ANSWER_TOKENS


def usage(messages: Sequence[BaseMessage]) -> int | None:
    """The tokens that the provider counted; None when it did not say."""
    said = [each.usage_metadata for each in messages if isinstance(each, AIMessage)]
    if not said or any(each is None for each in said):
        return None
    return sum(int(each["total_tokens"]) for each in said if each is not None)
