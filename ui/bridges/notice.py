"""Notices into open pages: everything that happens on a thread outside a page's own turns."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from chainlit.context import local_steps

from agent.events import Event
from ui.render import Screen


async def follow(
    events: AsyncIterator[Event], screen: Screen, *, missed: Callable[[], Iterable[Event]], settled: asyncio.Event,
    alive: Callable[[], bool],
) -> None:
    """Show `events` on `screen` once the page has settled, until the page is gone or the workshop closes.

    `missed` is read after the listening has begun, so that nothing falls between what was missed and what comes.
    """
    local_steps.set(None)  # this task was made inside a callback; its messages must not hang below that callback's step
    coming = asyncio.ensure_future(anext(events, None))
    await asyncio.sleep(0)
    try:
        await settled.wait()
        for event in missed():
            await screen.show(event)
        while (event := await coming) is not None and alive():
            await screen.show(event)
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
