"""Who hears what, and what is kept for those who come later."""

import asyncio

from agent.events import ApprovalChanged, Event, Notice, TextDelta, TextDone, ToolEnded, TurnEnded
from agent.threads import BACKLOG, Threads
from tests.agent.test_notices import APPROVAL


async def heard(threads: Threads, count: int, thread: str = "t", ear: str = "") -> list[Event]:
    """The first events that a listener gets."""
    found: list[Event] = []
    async with asyncio.timeout(5):
        async for event in threads.listen(thread, ear):
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_what_nobody_heard_is_kept_for_the_next_listener_once() -> None:
    threads = Threads()
    for event in (Notice("t", "run", "over"), TextDelta("t", "1", "It "), TextDone("t", "1", "It is over."), TurnEnded("t", "1")):
        threads.tell(event)
    assert await heard(threads, 2) == [Notice("t", "run", "over"), TextDone("t", "1", "It is over.")]
    assert not threads.unheard("t")


async def test_what_is_kept_is_bounded() -> None:
    threads = Threads()
    for place in range(BACKLOG + 50):
        threads.tell(Notice("t", "run", str(place)))
    kept = list(threads.unheard("t"))
    assert len(kept) == BACKLOG and kept[-1] == Notice("t", "run", str(BACKLOG + 49))


async def test_a_turn_is_heard_by_its_sink_and_by_other_ears() -> None:
    threads, sink = Threads(), asyncio.Queue[Event | None]()
    other = asyncio.create_task(heard(threads, 1, ear="b"))
    own = asyncio.create_task(heard(threads, 1, ear="a"))
    await asyncio.sleep(0)
    async with threads.turn("t", "a", sink):
        threads.tell(TextDone("t", "1", "x"))
        assert sink.get_nowait() == TextDone("t", "1", "x")
        assert await other == [TextDone("t", "1", "x")]
        threads.tell_all(ApprovalChanged("t", APPROVAL))
    assert await own == [ApprovalChanged("t", APPROVAL)], "a card's new state is for everyone"
    assert not threads.unheard("t")


async def test_threads_do_not_hear_each_other_and_closing_ends_listening() -> None:
    threads = Threads()
    listening = asyncio.create_task(heard(threads, 9, "one"))
    await asyncio.sleep(0)
    threads.tell(Notice("two", "run", "x"))
    threads.close()
    assert await listening == []


async def test_the_table_that_a_sweep_ended_with_is_kept_and_other_results_are_not() -> None:
    threads = Threads()
    table = ToolEnded("t", "1", "c", "compare_runs", "done", {"curves": {}})
    for event in (ToolEnded("t", "1", "b", "run_status", "done", {}), table):
        threads.tell(event)
    assert threads.unheard("t") == (table,)
