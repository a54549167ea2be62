"""Runs what blocks in threads of its own, so that no tool can hold up the event loop."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """At most `at_once` blocking calls at a time, each in a daemon thread: a hanging one never holds up the exit."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)

    async def run(self, fn: Callable[[], T], timeout_s: float) -> T:
        """The result of `fn()`. Raises TimeoutError after `timeout_s`; the thread itself cannot be cut and keeps its place."""
        loop = asyncio.get_running_loop()
        await self._places.acquire()
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(lambda _: self._places.release())
        context = contextvars.copy_context()

        def deliver(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        def work() -> None:
            value, failed = None, None
            try:
                value = context.run(fn)
            except BaseException as error:  # handed to the waiting coroutine, whatever it is
                # A future refuses StopIteration, and SystemExit would end the loop.
                failed = error if isinstance(error, Exception) and not isinstance(error, StopIteration) else RuntimeError(repr(error))
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(deliver, value, failed)

        threading.Thread(target=work, name="tool", daemon=True).start()
        done, _ = await asyncio.wait({future}, timeout=timeout_s)
        if done:
            return future.result()
        future.add_done_callback(lambda late: late.cancelled() or late.exception())  # seen, so that nothing warns
        raise TimeoutError
