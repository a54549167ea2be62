"""A run's live values as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from tests.ui.fakes_run import FakeLog
from ui.stream import Batch, run_frames


async def quick_log() -> FakeLog:
    return FakeLog(("a line",))


async def run(count: int, pause: float = 0.0) -> AsyncIterator[dict[str, Any]]:
    for step in range(1, count + 1):
        yield {"kind": "step", "step": step, "loss": 1 / step}
        if pause:
            await asyncio.sleep(pause)
    yield {"kind": "eval", "step": count, "eval_loss": 0.5}
    yield {"kind": "checkpoint", "step": count}
    yield {"kind": "view", "view": {"state": "finished"}}


def data(frames: list[str]) -> list[dict[str, Any]]:
    return [json.loads(each.split("data: ", 1)[1]) for each in frames if each.startswith("event: news")]


async def test_a_finished_run_is_one_frame_and_the_end():
    frames = [each async for each in run_frames(run(50), quick_log, asyncio.Event())]
    (news,) = data(frames)
    assert len(news["train"]) == 50 and news["eval"] == [[50, 0.5]] and news["view"] == {"state": "finished"} and news["log"] == ["a line"]
    assert frames[-1].startswith("event: end")


async def test_no_more_than_four_frames_a_second_and_no_point_is_lost():
    began = time.monotonic()
    frames = [each async for each in run_frames(run(100, 0.01), quick_log, asyncio.Event())]
    spent = time.monotonic() - began
    assert len(data(frames)) <= spent * 4 + 2
    assert [point[0] for news in data(frames) for point in news["train"]] == list(range(1, 101))


async def test_a_server_that_stops_ends_the_stream():
    stopping = asyncio.Event()
    frames = run_frames(run(10_000, 0.01), quick_log, stopping)
    assert (await anext(frames)).startswith("retry")
    await anext(frames)
    stopping.set()
    assert [each async for each in frames] == []


def test_a_batch_keeps_the_newest_view_and_is_empty_after_it_was_taken():
    batch = Batch()
    batch.add({"kind": "view", "view": {"step": 1}})
    batch.add({"kind": "view", "view": {"step": 2}})
    batch.add({"kind": "step", "step": 2, "loss": None})
    assert batch.take() == {"view": {"step": 2}, "train": [], "eval": []}
    assert batch.take() is None
