"""One turn of the graph as typed events: starts or goes on, maps the stream, and leaves no call unanswered."""

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from agent.brain.brain import Brain
from agent.brain.failure import explain
from agent.context import TurnContext
from agent.events import Choices, Event, Problem, TextDelta, TextDone
from policies.tool import ToolFailed

log = logging.getLogger("luthier.agent")

CHOICES = "choices"
"""Key of a message's additional data: what the command assistant offers to say next."""
_SPEAKING = ("model", "ModelCallLimitMiddleware")


class TurnRunner:
    """Runs turns on a compiled graph. The caller holds the thread's lock."""

    def __init__(self, graph: CompiledStateGraph[Any, Any, Any, Any], brain: Brain) -> None:
        self._graph, self._brain = graph, brain

    async def run(self, context: TurnContext, messages: Sequence[BaseMessage]) -> AsyncIterator[Event]:
        """Finish what an earlier turn left open, then say `messages` and stream what comes of it.

        A failure ends in a Problem that names what to do, never in an exception; a bug's details go to the log under an id.
        """
        try:
            async for event in self._settle(context):
                yield event
            async for event in self._stream(context, {"messages": list(messages)}):
                yield event
        except ToolFailed as failed:
            yield Problem(context.thread, context.turn, f"{failed.what}: {failed.because}", failed.try_next)
        except Exception as error:  # the turn's border: a person gets a sentence, the log gets the rest
            ident = secrets.token_hex(4)
            failure = explain(error)
            log.exception("turn %s on thread %s failed (%s)", context.turn, context.thread, ident)
            if self._brain.hosted and failure.kind != "unknown":
                yield Problem(context.thread, context.turn, f"{self._brain.name} did not answer: {failure.because}", failure.try_next)
            else:
                yield Problem(
                    context.thread,
                    context.turn,
                    f"Something in Luthier went wrong (error {ident}). Nothing more was done in this turn.",
                    "Ask again; the log has the details under this id.",
                )

    async def open_calls(self, thread: str) -> list[str]:
        """Ids of the tool calls that the thread's last answer made and nobody has answered."""
        state = await self._graph.aget_state(_config(thread))
        return _unanswered(state.values.get("messages", [])) if state.next else []

    async def _settle(self, context: TurnContext) -> AsyncIterator[Event]:
        """After a kill or a stop inside a tool: run the calls again. The gateway answers from the book, so nothing happens twice."""
        if not await self.open_calls(context.thread):
            return
        try:
            async for event in self._stream(context, None):
                yield event
        except Exception:  # a call that fails again must not close the thread for good
            log.exception("the open calls of thread %s could not be finished", context.thread)
            answers = [
                ToolMessage('{"status": "failed", "reason": "Luthier was interrupted."}', tool_call_id=each, status="error")
                for each in await self.open_calls(context.thread)
            ]
            await self._graph.aupdate_state(_config(context.thread), {"messages": answers}, as_node="tools")

    async def _stream(self, context: TurnContext, given: dict[str, Any] | None) -> AsyncIterator[Event]:
        heard = ""
        parts = self._graph.astream(
            given,
            _config(context.thread),
            context=context,
            stream_mode=["messages", "updates", "custom"],
            version="v2",
            durability="sync",
        )
        async for part in parts:
            match part["type"]:
                case "custom":
                    yield part["data"]
                case "messages":
                    message, about = part["data"]
                    text = str(message.text) if isinstance(message, AIMessageChunk) else ""
                    if text and about.get("langgraph_node") == "model":
                        heard += text
                        yield TextDelta(context.thread, context.turn, text)
                case "updates":
                    for message in _spoken(part["data"]):
                        for event in _said(context, message, heard):
                            yield event
                        heard = ""
                case _:
                    pass


def _said(context: TurnContext, message: AIMessage, heard: str) -> list[Event]:
    """What one whole answer adds to its deltas; a model that does not stream gets one delta, so that faces need no second way."""
    events: list[Event] = []
    text = str(message.text)
    if text:
        if not heard:
            events.append(TextDelta(context.thread, context.turn, text))
        events.append(TextDone(context.thread, context.turn, text))
    options = message.additional_kwargs.get(CHOICES)
    if options:
        events.append(Choices(context.thread, context.turn, tuple((str(label), str(sentence)) for label, sentence in options)))
    if not text and not options and not message.tool_calls and not message.invalid_tool_calls:
        events.append(Problem(context.thread, context.turn, "The model gave no answer.", "Ask again, in other words."))
    return events


def _spoken(update: Any) -> list[AIMessage]:
    found: list[AIMessage] = []
    for node, change in (update or {}).items():
        if node.partition(".")[0] in _SPEAKING and isinstance(change, dict):
            found += [each for each in change.get("messages", []) if isinstance(each, AIMessage)]
    return found


def _unanswered(messages: Sequence[AnyMessage]) -> list[str]:
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            return [str(each["id"]) for each in message.tool_calls if each["id"] not in answered]
        else:
            break
    return []


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 150}
