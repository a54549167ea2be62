"""The thread that looks after the runs in the cloud: every few seconds, less often while nobody answers, at once when it is woken."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from policies.book import BookBroken, BookBusy

LOOK_S, LONGEST_S = 10.0, 60.0
"""Seconds between two looks, and the most that they become."""
AT_ONCE = 8
"""Looks at the same time; how many of them may move files, the reconciler says."""
log = logging.getLogger("luthier.cloud")


class CloudThread:
    """Begun with the first run that needs it. Each run is looked at on its own, so that an upload holds nothing else up."""

    def __init__(self, runs: Callable[[], Sequence[str]], look: Callable[[str], bool], look_s: float = LOOK_S) -> None:
        """`runs` gives the ids of those that want a look; `look` is False where the cloud did not answer."""
        self._runs, self._look, self._look_s = runs, look, look_s
        self._guard, self._hurry, self.closed = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self) -> None:
        """Start it, unless it runs or is closed."""
        with self._guard:
            if self.running or self.closed.is_set():
                return
            self._pool = ThreadPoolExecutor(AT_ONCE, "cloud-run")
            self._thread = threading.Thread(target=self._loop, args=(self._pool,), name="cloud-runs", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._hurry.set()

    def close(self) -> None:
        """End it, after what is being done."""
        self.closed.set()
        self._hurry.set()
        if self._thread is not None:
            self._thread.join(30)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        failing, asked = 0, dict[str, Future[bool]]()
        while not self.closed.is_set():
            self._hurry.clear()
            with suppress(BookBroken, BookBusy, RuntimeError):  # the last: closed in this moment
                for run_id in self._runs():
                    if run_id not in asked:  # else its look of before waits or goes on: slow answers do not pile up
                        asked[run_id] = pool.submit(self._safely, run_id)
            self._hurry.wait(min(LONGEST_S, self._look_s * 2 ** min(failing, 3)))
            done = {run_id: each for run_id, each in asked.items() if each.done()}
            asked = {run_id: each for run_id, each in asked.items() if run_id not in done}
            answers = [each.result() for each in done.values() if not each.cancelled()]
            failing = failing + 1 if answers and not any(answers) else 0

    def _safely(self, run_id: str) -> bool:
        try:
            return self._look(run_id)
        except (BookBroken, BookBusy):
            return True
        except Exception:  # one run that meets a bug does not keep the others waiting
            log.exception("looking after the run %s failed", run_id)
            return False
