"""Tells threads what happened outside their turns: one delivery a thread at a time, several notices in one turn."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from agent.notices import NoticeBook, Told

log = logging.getLogger("luthier.agent")

Hear = Callable[[str, str, Sequence[Told]], Awaitable[None]]
"""Runs a turn on a thread, for a person, that begins with notices; waits until no other turn is running there."""


class Telling:
    """Delivers what the book of notices holds, at start and whenever it is woken."""

    def __init__(self, notices: NoticeBook, hear: Hear, begin: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.notices, self._hear, self._begin = notices, hear, begin
        self._under_way: set[str] = set()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is something new to tell."""
        self._news.set()

    async def loop(self) -> None:
        """Begin a delivery for every thread that has news and none under way; runs until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            by_thread: dict[str, list[Told]] = {}
            for told in await asyncio.to_thread(self.notices.waiting):
                by_thread.setdefault(told.thread, []).append(told)
            for thread in by_thread.keys() - self._under_way:
                self._under_way.add(thread)
                self._begin(self._deliver(thread, by_thread[thread]))

    async def _deliver(self, thread: str, waiting: list[Told]) -> None:
        try:
            for person in dict.fromkeys(told.person for told in waiting):
                await self._hear(thread, person, [told for told in waiting if told.person == person])
        except Exception:  # told or not, it is not told for ever
            log.exception("a notice of thread %s could not be told", thread)
        try:
            await asyncio.to_thread(self.notices.delivered, [told.id for told in waiting])
        finally:
            self._under_way.discard(thread)
            self._news.set()
