"""The agent's graph: a brain, the gateway's handles and a few limits around them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, SummarizationMiddleware, ToolCallLimitMiddleware
from langchain.agents.middleware.summarization import DEFAULT_SUMMARY_PROMPT
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

from agent.brain.brain import Brain
from agent.context import TurnContext
from agent.fallback import Fallback
from agent.guard import Guard
from agent.handles import build_handles
from agent.memory import require_strict
from agent.metering import Metering, metered_summariser
from agent.standing import Standing
from policies.gateway import Gateway
from policies.tool import Tool

PROMPT = Path(__file__).parent / "prompts" / "system.md"
MODEL_CALLS, TOOL_CALLS = 16, 24
"""Of one turn; beyond them the turn ends with a word."""
SUMMARISE_AT_TOKENS, KEEP_MESSAGES = 24_000, 20


def build_graph(
    gateway: Gateway, tools: Mapping[str, Tool], brain: Brain, memory: BaseCheckpointSaver[Any]
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Compile the agent. Raises ToolFailed unless checkpoints are read strictly."""
    require_strict()
    around: list[AgentMiddleware[Any, Any]] = [
        Guard(gateway),
        ModelCallLimitMiddleware(run_limit=MODEL_CALLS, exit_behavior="end"),
        ToolCallLimitMiddleware(run_limit=TOOL_CALLS, exit_behavior="continue"),
        Standing(gateway),
    ]
    if brain.hosted:
        around += [
            SummarizationMiddleware(
                brain.model, trigger=("tokens", SUMMARISE_AT_TOKENS), keep=("messages", KEEP_MESSAGES),
                summarizer=metered_summariser(brain.model, brain.name, gateway.tokens, DEFAULT_SUMMARY_PROMPT),
            ),
            Fallback(brain),
            Metering(gateway.tokens, brain),
        ]
    return create_agent(
        brain.model,
        build_handles(gateway, tools, grounding=brain.hosted),
        system_prompt=PROMPT.read_text("utf-8"),
        middleware=around,
        context_schema=TurnContext,
        checkpointer=memory,
    )
