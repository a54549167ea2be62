"""Answers take turns: first come, first begun, so many at once, one token each in a round, in one event loop.

GenAI keeps Python's interpreter lock while it works (0.18, 2026-11), so a second thread would win nothing; between two steps the
loop reads requests and writes tokens.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from tools.engine.serve_error import RequestRefused
from tools.engine.serve_loaded import Answering, Loaded, Sampling
from tools.engine.serve_metrics import ServeMetrics
from tools.engine.serve_stops import StopTexts

BUSY_S = 2
"""What a refused client is told to wait."""


class Ticket:
    """One request's place: its text comes through `pieces`, None is the end, and then `finish` says why."""

    def __init__(self, loaded: Loaded, ids: Sequence[int], sampling: Sampling, stops: Sequence[str]) -> None:
        self.loaded, self.ids, self.sampling = loaded, ids, sampling
        self.stop_texts = StopTexts(stops)
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self.finish = ""
        """stop, length; cut when the server closed, failed when the model did; empty while it goes on."""
        self.given_up = False
        self.answering: Answering | None = None
        self.tokens = 0
        """Generated so far, the end token included."""
        self.came, self.first_at = time.monotonic(), 0.0

    def end(self, finish: str) -> None:
        """Say that no more comes, once; what was held back for a stop text is let through first."""
        if self.finish:
            return
        self.finish = finish
        if rest := self.stop_texts.rest():
            self.pieces.put_nowait(rest)
        self.pieces.put_nowait(None)


class Turns:
    """The places, the queue before them, and the loop that gives each its turn."""

    def __init__(self, at_once: int, queue: int) -> None:
        self._at_once, self._queue = at_once, queue
        self._waiting: deque[Ticket] = deque()
        self._working: list[Ticket] = []
        self._wake = asyncio.Event()
        self.closing = False
        self.metrics = ServeMetrics(lambda: len(self._waiting), lambda: len(self._working))

    def enter(self, ticket: Ticket) -> None:
        """Take a place or wait for one. RequestRefused: 429 when too many wait, 503 when the server closes."""
        if self.closing:
            raise RequestRefused(503, "This server is closing. Ask again when it is back.", code="closing", retry_after_s=BUSY_S)
        if len(self._working) + len(self._waiting) >= self._at_once + self._queue:
            raise RequestRefused(429, f"{len(self._waiting)} requests wait already. Ask again in {BUSY_S} seconds.", code="queue_full",
                                 retry_after_s=BUSY_S)
        self._waiting.append(ticket)
        self._wake.set()

    def leave(self, ticket: Ticket) -> None:
        """The client has gone: the answer is not made any further."""
        if not ticket.finish:
            ticket.given_up = True
            self.metrics.dropped.inc()
            self._wake.set()

    def close(self) -> None:
        """Take nothing new; whoever still waits is told so."""
        self.closing = True
        while self._waiting:
            self._waiting.popleft().end("cut")

    def cut(self) -> None:
        """End the answers in the making where they are."""
        for ticket in self._working:
            ticket.end("cut")

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            self._admit()
            if not self._working:
                self._wake.clear()
                await self._wake.wait()
                continue
            for ticket in tuple(self._working):
                self._step(ticket)
                if ticket.finish or ticket.given_up:
                    self._working.remove(ticket)
                    self._count(ticket)
                await asyncio.sleep(0)

    def _admit(self) -> None:
        while self._waiting and len(self._working) < self._at_once:
            ticket = self._waiting.popleft()
            if not ticket.given_up:
                self._working.append(ticket)

    def _step(self, ticket: Ticket) -> None:
        if ticket.finish or ticket.given_up:
            return
        try:
            if ticket.answering is None:
                ticket.answering = ticket.loaded.begin(ticket.ids, ticket.sampling)
            piece = ticket.answering.step()
        except Exception as error:
            print(f"answering failed: {type(error).__name__}: {error}", flush=True)
            ticket.end("failed")
            return
        ticket.tokens = ticket.answering.tokens
        if ticket.tokens and not ticket.first_at:
            ticket.first_at = time.monotonic()
        if piece and (shown := ticket.stop_texts.feed(piece)):
            ticket.pieces.put_nowait(shown)
        if ticket.stop_texts.reached:
            ticket.end("stop")
        elif ticket.answering.finish:
            ticket.end(ticket.answering.finish)

    def _count(self, ticket: Ticket) -> None:
        """Once, when it has ended; the generator and its memory go with it."""
        ticket.answering = None
        name = ticket.loaded.name
        self.metrics.tokens.labels(name, "prompt").inc(len(ticket.ids))
        self.metrics.tokens.labels(name, "completion").inc(ticket.tokens)
        if ticket.first_at:
            self.metrics.first.observe(ticket.first_at - ticket.came)
            self.metrics.whole.observe(time.monotonic() - ticket.came)
