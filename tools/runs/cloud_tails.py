"""While somebody watches a run in the cloud, what it writes is brought here every two seconds and not only at each look at the run."""

import logging
import threading
import time
from collections.abc import Callable

EVERY_S = 2.0
"""Each round costs two requests to the share for each run that is watched, and none to the resource manager."""
KEPT_S = 10.0
"""A run counts as watched for so long after the last question about it; one that has nothing to bring is left alone as long."""
log = logging.getLogger("luthier.cloud")


class CloudTails:
    """Thread-safe. Its thread lives while a run is watched."""

    def __init__(self, tail: Callable[[str], bool], every_s: float = EVERY_S) -> None:
        """`tail` brings what a run has written since; False when there is nothing to bring any more, or not yet."""
        self._tail, self._every_s = tail, every_s
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._wanted: dict[str, float] = {}
        self._idle: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def want(self, run_id: str) -> None:
        """Somebody watches it. Quick."""
        now = time.monotonic()
        with self._guard:
            if self._closed.is_set() or self._idle.get(run_id, 0.0) > now:
                return
            self._wanted[run_id] = now + KEPT_S
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="cloud-tails", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread, after what is being read."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            thread.join(30)

    def _loop(self) -> None:
        while not self._closed.is_set():
            began = time.monotonic()
            with self._guard:
                self._wanted = {run: until for run, until in self._wanted.items() if until > began}
                self._idle = {run: until for run, until in self._idle.items() if until > began}
                watched = list(self._wanted)
                if not watched:
                    self._thread = None
                    return
            for run_id in watched:
                if self._closed.is_set():
                    return
                if not self._safely(run_id):
                    with self._guard:
                        self._wanted.pop(run_id, None)
                        self._idle[run_id] = time.monotonic() + KEPT_S
            self._closed.wait(max(0.0, began + self._every_s - time.monotonic()))

    def _safely(self, run_id: str) -> bool:
        try:
            return self._tail(run_id)
        except Exception as error:  # the look at the run meets the same trouble, and says so
            log.info("the log of the run %s was not read: %s", run_id, error)
            return False
