"""What a run's container says before the run's own log begins, line by line to whoever watches: Azure's log stream, kept beside the run."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tools.azure.client import Azure
from tools.azure.logs import LogStream
from tools.azure.place import PlaceStore
from tools.azure.trouble import AzureTrouble
from tools.runs.cloud_store import CloudStore
from tools.runs.logs import EARLY, OWN

KEPT_S = 10.0
"""A run counts as watched for so long after the last question about it."""
PAUSE_S = 10.0
"""Before a run whose container is not heard yet is asked after again."""
AT_ONCE = 4
MOST_BYTES = 4 << 20
log = logging.getLogger("luthier.cloud")


class _Over(threading.Event):
    """Set as soon as what it asks says so."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        super().__init__()
        self._ask = ask

    def is_set(self) -> bool:
        """Whether the following is over."""
        return super().is_set() or self._ask()


class EarlyStreams:
    """Follows at most four runs, each in a thread that lives while the run is watched and has no log of its own. Thread-safe."""

    def __init__(self, azure: Azure, prepared: PlaceStore, runs: CloudStore, folder: Callable[[str], Path]) -> None:
        self._azure, self._prepared, self._runs, self._folder = azure, prepared, runs, folder
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._until: dict[str, float] = {}
        self._quiet: dict[str, float] = {}
        self._threads: dict[str, threading.Thread] = {}

    def want(self, run_id: str) -> None:
        """Somebody watches the run. Quick; nothing for a run that is here, has ended, or has a log of its own."""
        now = time.monotonic()
        if self._has_own(run_id):
            return
        with self._guard:
            self._until[run_id] = now + KEPT_S
            if self._closed.is_set() or run_id in self._threads or len(self._threads) >= AT_ONCE or self._quiet.get(run_id, 0.0) > now:
                return
        row = self._runs.get(run_id)
        if row is None or row.ended or not row.execution:
            return
        with self._guard:
            if run_id not in self._threads:
                thread = threading.Thread(target=self._follow, args=(run_id, row.region, row.execution), name="early-log", daemon=True)
                self._threads[run_id] = thread
                thread.start()

    def close(self) -> None:
        """Let every stream go; one that is silent ends by itself."""
        self._closed.set()

    def _has_own(self, run_id: str) -> bool:
        own = self._folder(run_id) / OWN
        return own.exists() and own.stat().st_size > 0

    def _over(self, run_id: str) -> bool:
        return self._closed.is_set() or self._until.get(run_id, 0.0) < time.monotonic() or self._has_own(run_id)

    def _follow(self, run_id: str, region: str, execution: str) -> None:
        path = self._folder(run_id) / EARLY
        try:
            place = self._prepared.get(region)
            if place is None:
                return
            job = self._azure.names(place.subscription, place.group).job(run_id)
            written, file = 0, None
            try:
                for line in LogStream(self._azure, place).lines(job, execution, _Over(lambda: self._over(run_id))):
                    file = file or path.open("wb")  # anew: the stream tells its last lines again
                    data = line.text.encode() + b"\n"
                    written += len(data)
                    if written > MOST_BYTES:
                        return
                    file.write(data)
                    file.flush()
            finally:
                if file is not None:
                    file.close()
        except (AzureTrouble, OSError) as error:  # lines are a help: without them the run goes on, and says how it stands
            log.info("the stream of the run %s was not followed: %s", run_id, error)
        finally:
            with self._guard:
                self._threads.pop(run_id, None)
                self._until.pop(run_id, None)
                self._quiet[run_id] = time.monotonic() + PAUSE_S
