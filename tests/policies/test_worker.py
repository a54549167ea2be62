"""Blocking work in threads: results and errors come back, time limits hold, a hanging one keeps only its own place."""

import asyncio
import contextvars
import threading

import pytest

from policies.worker import Worker


def fail(error: BaseException) -> None:
    """Raise."""
    raise error


async def test_results_come_back() -> None:
    mark = contextvars.ContextVar("mark", default="none")
    mark.set("mine")
    assert await Worker(1).run(mark.get, 30) == "mine"


@pytest.mark.parametrize(("raised", "seen"), [(KeyError("x"), KeyError), (StopIteration(), RuntimeError), (SystemExit(1), RuntimeError)])
async def test_errors_come_back_and_none_can_end_the_loop(raised: BaseException, seen: type[Exception]) -> None:
    with pytest.raises(seen):
        await Worker(1).run(lambda: fail(raised), 30)


async def test_a_hanging_call_times_out_and_keeps_its_place_until_it_ends() -> None:
    worker, free = Worker(1), threading.Event()
    with pytest.raises(TimeoutError):
        await worker.run(lambda: free.wait(30), 0.02)
    second = asyncio.create_task(worker.run(lambda: "second", 30))
    done, _ = await asyncio.wait({second}, timeout=0.02)
    assert not done
    free.set()
    assert await second == "second"


async def test_no_more_than_allowed_are_at_work() -> None:
    worker, lock, now, most = Worker(2), threading.Lock(), [0], [0]
    both = threading.Barrier(2)

    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        both.wait(30)
        with lock:
            now[0] -= 1

    await asyncio.gather(*(worker.run(work, 30) for _ in range(6)))
    assert most == [2]
