"""Views of many runs: one watch a run, kept while it is looked at, so that a look reads only what is new."""

import threading
from collections import OrderedDict
from typing import Any

from tools.runs.local import LocalRuns
from tools.runs.state import RunView
from tools.runs.store import RunRow
from tools.runs.watch import LogPage, RunWatch

_KEPT = 32


class Views:
    """Thread-safe. Holds the folds of the runs last looked at."""

    def __init__(self, local: LocalRuns) -> None:
        self._local = local
        self._watches: OrderedDict[tuple[str, int], RunWatch] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, row: RunRow) -> RunView:
        """The run as faces show it."""
        with self._lock:
            key = (row.id, row.attempt)
            watch = self._watches.get(key) or RunWatch(self._local.folder(row.id))
            self._watches[key] = watch
            self._watches.move_to_end(key)
            while len(self._watches) > _KEPT:
                self._watches.popitem(last=False)
            return watch.view(row)

    def events(self, run_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Events from a byte offset, and the next offset."""
        return RunWatch(self._local.folder(run_id)).read(offset)

    def log(self, run_id: str, offset: int | None = None, lines: int | None = None) -> LogPage:
        """A page of the log."""
        return RunWatch(self._local.folder(run_id)).log(offset, lines)
