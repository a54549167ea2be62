"""A scripted chat model: says and calls what a function of the messages gives, streamed as real models do."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

Script = Callable[[Sequence[BaseMessage]], AIMessage]


class Scripted(BaseChatModel):
    """Asks its script for each answer."""

    script: Script
    streams: bool = True
    """False: answers come whole, as from a model without a stream."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Scripted":
        """The script knows what it wants to call."""
        return self.model_copy()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.script(messages))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        answer = self.script(messages)
        if not self.streams:
            yield ChatGenerationChunk(message=AIMessageChunk(**answer.model_dump(exclude={"type"})))
            return
        for word in str(answer.text).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " " if word else "", id=answer.id))
        calls = [
            tool_call_chunk(name=each["name"], args=json.dumps(each["args"]), id=each["id"], index=place)
            for place, each in enumerate(answer.tool_calls)
        ]
        calls += [
            tool_call_chunk(name=each["name"], args=each["args"], id=each["id"], index=len(calls) + place)
            for place, each in enumerate(answer.invalid_tool_calls)
        ]
        last = AIMessageChunk(content="", tool_call_chunks=calls, response_metadata=answer.response_metadata, chunk_position="last")
        yield ChatGenerationChunk(message=last)


def call(name: str, args: dict[str, Any] | None = None, ident: str = "c1", text: str = "") -> AIMessage:
    """An answer that calls one tool."""
    return AIMessage(text, tool_calls=[{"name": name, "args": args or {}, "id": ident}])


def broken(name: str, args: str = "name = one", ident: str = "c1") -> AIMessage:
    """An answer whose call is no JSON."""
    return AIMessage("", invalid_tool_calls=[invalid_tool_call(name=name, args=args, id=ident, error="not JSON")])


def after_words(*answers: AIMessage) -> Script:
    """Give the answers in turn, counted from the person's last message; then say the tool's status."""

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        start = max(place for place, each in enumerate(messages) if isinstance(each, HumanMessage))
        given = sum(isinstance(each, AIMessage) for each in messages[start:])
        if messages[start].name == "luthier_notice":
            return AIMessage(f"I heard: {json.loads(str(messages[start].text).partition('] ')[2])['kind']}.")
        if given < len(answers):
            return answers[given].model_copy(deep=True)
        last = messages[-1]
        return AIMessage(f"It is {json.loads(str(last.text))['status']}." if isinstance(last, ToolMessage) else "Nothing to do.")

    return script
