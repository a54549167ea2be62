"""A run's live values as server-sent events: the view, new points of the curves and new log lines, four times a second at most."""

import asyncio
import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ui.shop import LogMore

EVERY_S = 0.25
QUIET_S = 15.0
"""After so long without news a comment is sent, so that proxies keep the connection."""
MOST_WAITING = 5000
"""Items that a slow reader may be behind; the source then waits."""


def frame(data: Mapping[str, Any], event: str = "news") -> str:
    """One server-sent event. A number that JSON has no word for becomes null."""
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(data), ensure_ascii=False, separators=(",", ":"), default=str)
    return f"event: {event}\ndata: {text}\n\n"


def finite(value: Any) -> Any:
    """The value with None for every infinity and every not-a-number in it."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: finite(part) for name, part in value.items()}
        case list() | tuple():
            return [finite(part) for part in value]
        case _:
            return value


class Batch:
    """What has happened since the last frame: the newest view, the curves' points as [step, value], the log's new lines."""

    def __init__(self) -> None:
        self.view: Mapping[str, Any] | None = None
        self.curves: Mapping[str, Any] | None = None
        self.train: list[Sequence[float]] = []
        self.held_out: list[Sequence[float]] = []
        self.log: dict[str, Any] | None = None

    def add(self, item: Mapping[str, Any]) -> None:
        """Take in one item of `Workshop.watch`: the curves so far, a run event, or a snapshot of the view."""
        match item.get("kind"):
            case "view":
                self.view = item["view"]
            case "curves":
                self.curves = {"train": item["train"], "eval": item["eval"]}
                self.train, self.held_out = [], []
            case "step" if item.get("loss") is not None:
                self.train.append([item["step"], item["loss"]])
            case "eval" if item.get("eval_loss") is not None:
                self.held_out.append([item["step"], item["eval_loss"]])
            case _:
                return

    def add_log(self, news: LogMore, bar: str) -> None:
        """Take in what a look at the log found; `bar` is what was shown of a progress bar before."""
        if news.lines or news.skipped_bytes or news.again or news.bar != bar:
            self.log = {"lines": list(news.lines), "skipped_bytes": news.skipped_bytes, "again": news.again, "bar": news.bar}

    def take(self) -> dict[str, Any] | None:
        """The frame's data, or None when nothing happened; empties the batch."""
        found: dict[str, Any] = {}
        if self.view is not None or self.train or self.held_out:
            found = {"view": self.view, "train": self.train, "eval": self.held_out}
        found |= {} if self.curves is None else {"curves": self.curves}
        found |= {} if self.log is None else {"log": self.log}
        self.view, self.curves, self.log, self.train, self.held_out = None, None, None, [], []
        return found or None


async def run_frames(
    items: AsyncIterator[Mapping[str, Any]], follow_log: Callable[[str], Awaitable[LogMore]], stopping: asyncio.Event,
) -> AsyncGenerator[str, None]:
    """Frames until the run has ended, the server stops or the reader leaves. `follow_log` gives what came since a mark."""
    batch, queue = Batch(), asyncio.Queue[Mapping[str, Any] | None](MOST_WAITING)

    async def pump() -> None:
        try:
            async with aclosing(items) as source:  # pyright: ignore[reportArgumentType]
                async for item in source:
                    await queue.put(item)
        finally:
            if not gone:  # nobody empties the queue any more: waiting for room in it would never end
                await queue.put(None)

    gone = False
    task = asyncio.create_task(pump(), name="run-stream")
    mark = bar = ""
    said = time.monotonic()
    try:
        yield "retry: 2000\n\n"
        while not stopping.is_set():
            began = time.monotonic()
            ended = await _gather(queue, batch, EVERY_S)
            wait = began + EVERY_S - time.monotonic()
            if wait > 0 and not ended:
                await asyncio.sleep(wait)  # a limit on the rate, not a wait for something
                ended = _drain(queue, batch)
            news = await follow_log(mark)
            batch.add_log(news, bar)
            mark, bar = news.mark, news.bar
            if (data := batch.take()) is not None:
                said = time.monotonic()
                yield frame(data)
            if ended:
                yield frame({}, "end")
                return
            if time.monotonic() - said > QUIET_S:
                said = time.monotonic()
                yield ": still here\n\n"
    finally:
        gone = True
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
