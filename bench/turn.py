"""`python -m bench.turn`: what a turn through the workshop adds to the bare graph, with a model that follows a script."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.figure import Figure, median, show

TURNS = 40
WARM = 5
LIMIT_MS = 80.0


async def timed(turn: Callable[[int], Awaitable[None]]) -> list[float]:
    """Milliseconds of each turn after the warm ones."""
    taken = []
    for index in range(WARM + TURNS):
        started = time.perf_counter()
        await turn(index)
        taken.append((time.perf_counter() - started) * 1000)
    return taken[WARM:]


async def bare() -> list[float]:
    """The same script in `create_agent` alone: a tool that returns at once, the conversation in memory."""
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver

    from bench.scripted import ScriptedModel

    @tool
    def list_runs() -> str:
        """List runs."""
        return "[]"

    graph = create_agent(ScriptedModel(), [list_runs], checkpointer=InMemorySaver())

    async def turn(index: int) -> None:
        async for _ in graph.astream({"messages": [HumanMessage("list my runs")]}, {"configurable": {"thread_id": f"t{index}"}},
                                     stream_mode="messages"):
            pass

    return await timed(turn)


async def ours(home: Path) -> list[float]:
    """The same through `Workshop.say`: gateway, judge, book, audit record, memory on disk, events."""
    from agent.brain.brain import Brain
    from agent.compose import build_door, build_workshop
    from agent.settings import Settings
    from bench.scripted import ScriptedModel
    from policies.people import Caller

    door = build_door(Settings(home=home))
    workshop = build_workshop(door, Brain(ScriptedModel(), "scripted"))
    await workshop.start()

    async def turn(index: int) -> None:
        caller = Caller("owner", "cli", "bench", thread=f"t{index}")
        kinds = [type(event).__name__ async for event in workshop.say(f"t{index}", "list my runs", caller)]
        assert kinds[-1] == "TurnEnded" and "ToolEnded" in kinds and "TextDone" in kinds, kinds

    try:
        return await timed(turn)
    finally:
        await workshop.close()
        door.close()


def measure() -> list[Figure]:
    """The difference of the medians."""
    from ui.stage import set_process_variables

    set_process_variables(os.environ)
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as folder:
        around = asyncio.run(ours(Path(folder, "home")))
        alone = asyncio.run(bare())
    added = median(around) - median(alone)
    note = f"{median(around):.0f} ms through the workshop, {median(alone):.0f} ms bare, medians of {TURNS}; one tool call a turn"
    return [Figure("a turn adds", added, "ms", LIMIT_MS, note=note)]


if __name__ == "__main__":
    show(measure())
