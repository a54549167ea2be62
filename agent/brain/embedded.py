"""The command assistant as a LangChain chat model: deterministic, offline, and called what it is."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, SystemMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agent.brain.dialogue import CHOICES, MEMORY, Dialogue, Scene
from agent.brain.faq import Faq
from agent.brain.moves import Do, Move, Say
from agent.brain.router import Router

_PIECE = re.compile(r"\S+\s*(?:\S+\s*){0,5}")


class EmbeddedBrain(BaseChatModel):
    """Understands requests about hardware, models, data, cost and runs, and asks when unsure. No network, no weights but a small router."""

    reading_only: bool = False
    """Standing in for a language model that failed: only looks."""

    @property
    def _llm_type(self) -> str:
        return "luthier-command-assistant"

    @cached_property
    def dialogue(self) -> Dialogue:
        """The router and the answers, read on first use."""
        router = Router.load()
        return Dialogue(router, Faq.load(router))

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Know which tools there are; one that is not bound is never called."""
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools], **kwargs)

    def decide(self, messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]]) -> Move:
        """The next move; what waits for a person comes with the system message."""
        system = next((each for each in messages if isinstance(each, SystemMessage)), None)
        waiting = system.additional_kwargs.get("waiting", ()) if system is not None else ()
        spoken: list[AnyMessage] = [each for each in messages if not isinstance(each, SystemMessage)]  # pyright: ignore[reportAssignmentType]
        names = {str(each["function"]["name"]) for each in tools}
        return self.dialogue.next(Scene(spoken, names, waiting, self.reading_only))

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        move = self.decide(messages, kwargs.get("tools") or ())
        return ChatResult(generations=[ChatGeneration(message=as_message(move, len(messages)))])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        move = self.decide(messages, kwargs.get("tools") or ())
        yield from (ChatGenerationChunk(message=each) for each in as_chunks(move, len(messages)))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # The whole decision takes a few milliseconds: a thread of its own would cost more than it frees.
        for chunk in self._stream(messages, stop, None, **kwargs):
            yield chunk


def as_message(move: Move, place: int) -> AIMessage:
    """A move as one whole message; `place` is how many messages came before it."""
    calls = [{"name": move.tool, "args": dict(move.args), "id": _call_id(move, place)}] if isinstance(move, Do) else []
    return AIMessage(move.text, tool_calls=calls, additional_kwargs=_extra(move))


def as_chunks(move: Move, place: int) -> Iterator[AIMessageChunk]:
    """A move as it is streamed: a few words at a time, then the call and the assistant's own notes."""
    for piece in _PIECE.findall(move.text):
        yield AIMessageChunk(content=piece)
    calls = []
    if isinstance(move, Do):
        calls = [tool_call_chunk(name=move.tool, args=json.dumps(dict(move.args)), id=_call_id(move, place), index=0)]
    yield AIMessageChunk(content="", tool_call_chunks=calls, additional_kwargs=_extra(move), chunk_position="last")


def _call_id(move: Do, place: int) -> str:
    return "call_" + hashlib.sha256(f"{place}:{move.tool}:{json.dumps(dict(move.args))}".encode()).hexdigest()[:16]


def _extra(move: Move) -> dict[str, Any]:
    match move:
        case Do(then=then):
            return {MEMORY: {"then": [[tool, dict(args)] for tool, args in then]}} if then else {}
        case Say(choices=choices, asks=asks):
            extra: dict[str, Any] = {CHOICES: [list(each) for each in choices]} if choices else {}
            return extra | ({MEMORY: {"asks": {"missing": asks.missing, "request": asks.request}}} if asks else {})
