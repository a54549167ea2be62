"""The threads of this process: one turn at a time each, and everyone who listens to one."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from agent.events import Event, Notice, RunShown, TextDone, ToolEnded

BACKLOG = 200
_KEPT = (Notice, RunShown, TextDone)
"""What a face that comes later still wants to hear; cards it asks for by `pending`, and deltas are covered by the whole text."""
TABLE = "compare_runs"
"""The one tool whose result is kept as well: a sweep that ended while nobody looked ends with its table all the same."""


class Threads:
    """Locks and listeners by thread. What nobody heard is kept, bounded, for the next one who listens."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._ears: dict[str, list[tuple[str, asyncio.Queue[Event | None]]]] = {}
        self._unheard: dict[str, deque[Event]] = {}
        self._turns: dict[str, tuple[str, asyncio.Queue[Event | None]]] = {}

    def lock(self, thread: str) -> asyncio.Lock:
        """The lock that a turn on `thread` holds."""
        return self._locks.setdefault(thread, asyncio.Lock())

    @asynccontextmanager
    async def turn(self, thread: str, ear: str, sink: "asyncio.Queue[Event | None] | None") -> AsyncIterator[None]:
        """Hold the thread for one turn; `sink` hears everything of it, and all listeners but `ear` as well."""
        async with self.lock(thread):
            if sink is not None:
                self._turns[thread] = (ear, sink)
            try:
                yield
            finally:
                self._turns.pop(thread, None)

    def tell(self, event: Event) -> None:
        """An event of the turn that runs on its thread, or of no turn: to everyone who should hear it."""
        running = self._turns.get(event.thread)
        if running is not None:
            running[1].put_nowait(event)
            self._to_ears(event, but=running[0])
        else:
            self._to_ears(event, but=None)

    def tell_all(self, event: Event) -> None:
        """An event that every listener must hear, the one who is speaking included: a card's new state."""
        if running := self._turns.get(event.thread):
            running[1].put_nowait(event)
        self._to_ears(event, but=None)

    async def listen(self, thread: str, ear: str = "") -> AsyncIterator[Event]:
        """Everything that happens on `thread` outside turns begun by `ear` itself, from now on and what nobody heard before."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        for event in self.unheard(thread):
            queue.put_nowait(event)
        mine = (ear, queue)
        self._ears.setdefault(thread, []).append(mine)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            if mine in self._ears.get(thread, ()):
                self._ears[thread].remove(mine)

    def unheard(self, thread: str) -> Iterable[Event]:
        """Take what was said while nobody listened."""
        return tuple(self._unheard.pop(thread, ()))

    def close(self) -> None:
        """End every listener."""
        for ears in self._ears.values():
            for _, queue in ears:
                queue.put_nowait(None)
        self._ears.clear()

    def _to_ears(self, event: Event, but: str | None) -> None:
        ears = self._ears.get(event.thread, [])
        for ear, queue in ears:
            if ear != but:
                queue.put_nowait(event)
        if not ears and but is None and (isinstance(event, _KEPT) or (isinstance(event, ToolEnded) and event.tool == TABLE)):
            self._unheard.setdefault(event.thread, deque(maxlen=BACKLOG)).append(event)
