"""A kill inside a tool: the thread goes on, and nothing happens twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from agent.brain.brain import Brain
from agent.context import TurnContext
from agent.events import Problem, TextDone, ToolEnded, TurnEnded
from agent.graph import build_graph
from agent.memory import open_memory
from policies.tool import Call, Result
from tests.agent.home import ME, Home, only, said
from tests.agent.scripted import Scripted, after_words, call
from tests.faults.proof import proves

SCRIPT = after_words(call("look", {"name": "once"}))


class Killed(BaseException):
    """What the process feels when it is killed: nothing after it runs."""


async def killed_inside_a_tool(home: Home, *, after: bool) -> None:
    """Leave a thread as a kill leaves it: the call is saved with the conversation, its answer is not."""
    memory = await open_memory(home.path / "memory.sqlite")
    door = home.door()
    graph = build_graph(door.gateway, home.hands.tools, Brain(Scripted(script=SCRIPT), "test"), memory)
    config = {"configurable": {"thread_id": "t1"}}
    context = TurnContext(ME, "t1", "turn")
    async for part in graph.astream({"messages": [HumanMessage("go")]}, config, context=context, stream_mode="updates", durability="sync"):  # pyright: ignore[reportArgumentType]
        if "model" in part:
            break
    state = await graph.aget_state(config)  # pyright: ignore[reportArgumentType]
    assert state.next == ("tools",) or "after_model" in state.next[0]
    if after:
        asked = state.values["messages"][-1]
        await door.gateway.call("look", asked.tool_calls[0]["args"], ME, f"t1:{asked.id}:{asked.tool_calls[0]['id']}")
    await memory.conn.close()


async def test_a_call_that_was_done_before_the_kill_is_not_done_again(home: Home) -> None:
    await killed_inside_a_tool(home, after=True)
    assert home.calls("look") == 1
    async with home.workshop(Scripted(script=SCRIPT)) as shop:
        events = await said(shop, "hello again")
    assert only(events, ToolEnded)[0].status == "done"
    assert home.calls("look") == 2, "the open call answered from the book, and the new message's own call"
    assert max(home.hands.small["look"].done.values()) == 1


async def test_a_call_that_was_not_begun_is_done_once(home: Home) -> None:
    await killed_inside_a_tool(home, after=False)
    async with home.workshop(Scripted(script=SCRIPT)) as shop:
        await said(shop, "hello again")
    assert home.calls("look") == 2
    assert max(home.hands.small["look"].done.values()) == 1


async def test_a_stopped_turn_leaves_no_call_unanswered(home: Home) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(args: object, made: Call) -> Result:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
        return Result({}, {"slow": True})

    home.hands.small["look"].deed = slow
    async with home.workshop(Scripted(script=SCRIPT)) as shop:
        turn = asyncio.create_task(said(shop, "go"))
        await begun.wait()
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        release.set()
        await shop.door.gateway.settle()
        events = await said(shop, "again")
        assert isinstance(events[-1], TurnEnded)
        state = await shop._runner._graph.aget_state({"configurable": {"thread_id": "t1"}})  # type: ignore[union-attr]
    assert max(home.hands.small["look"].done.values()) == 1
    asked = [each["id"] for message in state.values["messages"] for each in getattr(message, "tool_calls", [])]
    answered = [message.tool_call_id for message in state.values["messages"] if isinstance(message, ToolMessage)]
    assert sorted(asked) == sorted(answered)


async def test_a_bug_in_a_tool_is_told_without_its_text(home: Home) -> None:
    def bug(args: object, made: Call) -> Result:
        raise RuntimeError("PASSWORD=hunter2")

    home.hands.small["look"].deed = bug
    async with home.workshop(Scripted(script=SCRIPT)) as shop:
        events = await said(shop, "go")
        assert "hunter2" not in str(events)
        assert isinstance((await said(shop, "still there?"))[-1], TurnEnded)


async def test_a_brain_that_breaks_ends_the_turn_in_a_sentence(home: Home) -> None:
    def breaks(messages: object) -> object:
        raise ValueError("secret internals")

    async with home.workshop(Scripted(script=breaks)) as shop:  # pyright: ignore[reportArgumentType]
        events = await said(shop, "go")
    assert "went wrong" in only(events, Problem)[0].text
    assert "secret internals" not in str(events)
    assert isinstance(events[-1], TurnEnded)


async def test_an_empty_answer_is_said(home: Home) -> None:
    from langchain_core.messages import AIMessage

    async with home.workshop(Scripted(script=after_words(AIMessage("")))) as shop:
        events = await said(shop, "go")
    assert only(events, Problem)[0].text == "The model gave no answer."
    assert not only(events, TextDone)


class Late(Scripted):
    """Begins to call a tool, and is then not heard of any more; once."""

    times: int = 1

    async def _astream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        if self.times:
            self.times -= 1
            half = tool_call_chunk(name="look", args='{"na', id="call-1", index=0)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[half]))
            raise TimeoutError
        async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
            yield chunk

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Late":
        """The same one, which remembers that it was late."""
        return self


@proves("F29", "the provider of the language model times out in the middle of a tool call",
        "a sentence says so, no half call runs, and the thread goes on with the next message")
async def test_a_provider_that_times_out_in_the_middle_of_a_call_runs_nothing_and_the_thread_goes_on(home: Home) -> None:
    async with home.workshop(Late(script=SCRIPT)) as shop:
        events = await said(shop, "go")
        assert only(events, Problem) and isinstance(events[-1], TurnEnded) and not only(events, ToolEnded)
        assert home.calls("look") == 0
        again = await said(shop, "go on")
    assert only(again, ToolEnded)[0].status == "done" and home.calls("look") == 1 and not only(again, Problem)
