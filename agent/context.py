"""What travels with one turn and is never stored with the conversation: who speaks, and where."""

import hashlib
from dataclasses import dataclass

from langchain_core.messages import AIMessage, AnyMessage, ToolCall

from policies.people import Caller


@dataclass(frozen=True, slots=True)
class TurnContext:
    """The person of *this* message. The gateway writes it into the call's row, and from then on the row counts."""

    caller: Caller
    thread: str
    turn: str


def call_key(thread: str, message: AIMessage | None, call: str) -> str:
    """The key a call is performed once for: thread, AI message and tool call id; long ones are hashed."""
    key = f"{thread}:{message.id if message else ''}:{call}"
    return key if len(key) <= 200 else "sha256:" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def asking_message(messages: list[AnyMessage], call: str) -> AIMessage | None:
    """The last AI message that made the call with this id, if any."""
    for message in reversed(messages):
        if isinstance(message, AIMessage) and any(one["id"] == call for one in message.tool_calls):
            return message
    return None


def calls_with_id(message: AIMessage | None, call: str) -> list[ToolCall]:
    """All calls of one message with this id; more than one is a model's mistake, or worse."""
    return [one for one in message.tool_calls if one["id"] == call] if message else []
