"""A run's live values as server-sent events: the view, new points of the curves and the last log lines, four times a second at most."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from ui.shop import LogLines

EVERY_S = 0.25
LOG_EVERY_S = 1.0
LOG_LINES = 8
QUIET_S = 15.0
"""After so long without news a comment is sent, so that proxies keep the connection."""


def frame(data: Mapping[str, Any], event: str = "news") -> str:
    """One server-sent event."""
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'), default=str)}\n\n"


class Batch:
    """What has happened since the last frame: the newest view, and the curves' points as [step, value]."""

    def __init__(self) -> None:
        self.view: Mapping[str, Any] | None = None
        self.train: list[list[float]] = []
        self.held_out: list[list[float]] = []

    def add(self, item: Mapping[str, Any]) -> None:
        """Take in one item of `Workshop.watch`: a run event, or a snapshot of the view."""
        match item.get("kind"):
            case "view":
                self.view = item["view"]
            case "step" if item.get("loss") is not None:
                self.train.append([item["step"], item["loss"]])
            case "eval" if item.get("eval_loss") is not None:
                self.held_out.append([item["step"], item["eval_loss"]])
            case _:
                return

    def take(self) -> dict[str, Any] | None:
        """The frame's data, or None when nothing happened; empties the batch."""
        if self.view is None and not self.train and not self.held_out:
            return None
        found = {"view": self.view, "train": self.train, "eval": self.held_out}
        self.view, self.train, self.held_out = None, [], []
        return found


async def run_frames(
    items: AsyncIterator[Mapping[str, Any]], log: Callable[[], Awaitable[LogLines]], stopping: asyncio.Event,
) -> AsyncIterator[str]:
    """Frames until the run has ended, the server stops or the reader leaves."""
    batch, queue = Batch(), asyncio.Queue[Mapping[str, Any] | None]()

    async def pump() -> None:
        try:
            async with aclosing(items) as source:  # pyright: ignore[reportArgumentType]
                async for item in source:
                    queue.put_nowait(item)
        finally:
            queue.put_nowait(None)

    task = asyncio.create_task(pump(), name="run-stream")
    last_log: tuple[str, ...] = ()
    said = logged = 0.0
    try:
        yield "retry: 2000\n\n"
        while not stopping.is_set():
            ended = await _gather(queue, batch, QUIET_S if batch.view is None else EVERY_S)
            wait = said + EVERY_S - time.monotonic()
            if wait > 0 and not ended:
                await asyncio.sleep(wait)  # a limit on the rate, not a wait for something
                ended = _drain(queue, batch)
            data = batch.take()
            now = time.monotonic()
            if (ended or now - logged >= LOG_EVERY_S) and (lines := (await log()).lines) != last_log:
                data, last_log, logged = {**(data or {}), "log": list(lines)}, lines, now
            if data is not None:
                said = now
                yield frame(data)
            if ended:
                yield frame({}, "end")
                return
            if data is None:
                yield ": still here\n\n"
    finally:
        task.cancel()


async def _gather(queue: asyncio.Queue[Mapping[str, Any] | None], batch: Batch, patience: float) -> bool:
    try:
        item = await asyncio.wait_for(queue.get(), patience)
    except TimeoutError:
        return False
    if item is None:
        return True
    batch.add(item)
    return _drain(queue, batch)


def _drain(queue: asyncio.Queue[Mapping[str, Any] | None], batch: Batch) -> bool:
    while not queue.empty():
        item = queue.get_nowait()
        if item is None:
            return True
        batch.add(item)
    return False
