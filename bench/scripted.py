"""A chat model that follows a script: it calls one tool, then answers in words. So a turn costs what is around the model."""

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable


class ScriptedModel(BaseChatModel):
    """After a person's message it calls `tool` without arguments; after the tool's answer it says `words`."""

    tool: str = "list_runs"
    words: str = "There are no runs yet."

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """The script knows its tool already."""
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        if isinstance(messages[-1], ToolMessage):
            message = AIMessage(self.words)
        else:
            message = AIMessage("", tool_calls=[{"name": self.tool, "args": {}, "id": f"call-{len(messages)}", "type": "tool_call"}])
        return ChatResult(generations=[ChatGeneration(message=message)])
