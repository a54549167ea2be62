"""A run's live values as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.ui.fakes_run import FakeLog
from ui.stream import MOST_WAITING, Batch, run_frames


async def quick_log(mark: str) -> FakeLog:
    return FakeLog((), mark="1") if mark else FakeLog(("a line",), mark="1")


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
    assert len(news["train"]) == 50 and "curves" not in news and news["eval"] == [[50, 0.5]]
    assert news["view"] == {"state": "finished"} and news["log"]["lines"] == ["a line"]
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


async def test_the_curves_so_far_come_first_and_what_follows_is_new():
    async def items() -> AsyncIterator[dict[str, Any]]:
        yield {"kind": "step", "step": 1, "loss": 9.0}
        yield {"kind": "curves", "train": [(1, 3.0), (2, 2.0)], "eval": [(2, 2.5)]}
        yield {"kind": "step", "step": 3, "loss": 1.5}

    (news,) = data([each async for each in run_frames(items(), quick_log, asyncio.Event())])
    assert news["curves"] == {"train": [[1, 3.0], [2, 2.0]], "eval": [[2, 2.5]]} and news["train"] == [[3, 1.5]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
async def test_a_number_that_json_has_no_word_for_becomes_null(value: float):
    async def items() -> AsyncIterator[dict[str, Any]]:
        yield {"kind": "step", "step": 1, "loss": value}
        yield {"kind": "view", "view": {"loss": value, "deep": [{"x": (value, 1.0)}]}}

    (news,) = data([each async for each in run_frames(items(), quick_log, asyncio.Event())])
    assert news["train"] == [[1, None]] and news["view"] == {"loss": None, "deep": [{"x": [None, 1.0]}]}


async def test_a_log_that_grows_is_told_while_no_step_comes():
    grown, wait = ["a"], asyncio.Event()

    async def silent() -> AsyncIterator[dict[str, Any]]:
        await wait.wait()
        yield {"kind": "view", "view": {"state": "finished"}}

    async def log(mark: str) -> FakeLog:
        told = int(mark or 0)
        return FakeLog(tuple(grown[told:]), mark=str(len(grown)))

    told: list[str] = []
    async for each in run_frames(silent(), log, asyncio.Event()):
        if each.startswith("event: news") and (found := json.loads(each.split("data: ", 1)[1]).get("log")):
            told += found["lines"]
            if len(grown) < 3:
                grown.append("bc"[len(grown) - 1])
            else:
                wait.set()
    assert told == ["a", "b", "c"]


async def test_a_reader_that_is_slow_does_not_make_the_queue_grow():
    given = 0

    async def endless() -> AsyncIterator[dict[str, Any]]:
        nonlocal given
        while True:
            given += 1
            yield {"kind": "step", "step": given, "loss": 1.0}

    frames = run_frames(endless(), quick_log, asyncio.Event())
    await anext(frames)
    await asyncio.sleep(0)
    await anext(frames)
    assert given <= 3 * MOST_WAITING
    await asyncio.sleep(0)  # the queue is full again
    await asyncio.sleep(0)
    await frames.aclose()
    left = [task for task in asyncio.all_tasks() if task.get_name() == "run-stream"]
    assert not left or not (await asyncio.wait(left, timeout=20))[1], "nothing goes on reading for a reader who left"
