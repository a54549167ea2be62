"""Views of many runs: one watch a run, kept while it is looked at, so that a look reads only what is new."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from policies.book import now_text
from tools.runs.cloud_view import CloudViews
from tools.runs.curve import Point
from tools.runs.line import Line, as_waiting, likely_seconds
from tools.runs.local import LocalRuns
from tools.runs.logs import LogNews, follow, shown_log
from tools.runs.state import RunState, RunView
from tools.runs.store import HERE, RunRow
from tools.runs.turns import expected_starts
from tools.runs.watch import LogPage, RunWatch

_KEPT = 32


class Views:
    """Thread-safe. Holds the folds of the runs last looked at."""

    def __init__(self, local: LocalRuns, line: Line, gpu_use: Callable[[], float | None] = lambda: None,
                 cloud: CloudViews | None = None) -> None:
        """`gpu_use` is asked about a run that trains on a GPU here and does not say itself how busy that is; `cloud` adds what it knows."""
        self._local, self._line, self._gpu_use, self._cloud = local, line, gpu_use, cloud
        self._watches: OrderedDict[tuple[str, int], tuple[RunWatch, threading.Lock]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, row: RunRow) -> RunView:
        """The run as faces show it; one that waits with its place in the line and when its turn is likely to come."""
        view = self._alone(row)
        if not row.waits:
            return view
        order, holder = self._line.waiting(), self._line.holder()
        place = next((number for number, each in enumerate(order, 1) if each.id == row.id), None)
        if place is None:  # its turn came just now
            return view
        busy = 0.0 if holder is None else remaining(holder, self._alone(holder), time.time())
        seconds = expected_starts([as_waiting(each) for each in order], busy).get(row.id)
        at = None if seconds is None else now_text(datetime.now(UTC) + timedelta(seconds=seconds))
        return replace(view, place=place, expected_start_s=None if seconds is None else round(seconds), expected_start=at)

    def _alone(self, row: RunRow) -> RunView:
        watch, lock = self._watch(row)
        with lock:
            view = watch.view(row)
        if self._cloud is not None:
            view = self._cloud.of(view, datetime.now(UTC))
        if row.where != HERE:
            return view
        on_gpu = view.phase == "train" and row.state is RunState.RUNNING and row.spec.get("device") == "cuda"
        return replace(view, gpu_use=self._gpu_use()) if on_gpu and view.gpu_use is None else view

    def curves(self, row: RunRow) -> tuple[list[Point], list[Point], int]:
        """As `RunWatch.curves`."""
        watch, lock = self._watch(row)
        with lock:
            return watch.curves()

    def _watch(self, row: RunRow) -> tuple[RunWatch, threading.Lock]:
        """The run's watch and what it is held with: the first look at a long run takes seconds, and no other run waits for it."""
        key = (row.id, row.attempt)
        with self._lock:
            kept = self._watches.get(key) or (RunWatch(self._local.folder(row.id)), threading.Lock())
            self._watches[key] = kept
            self._watches.move_to_end(key)
            while len(self._watches) > _KEPT:
                self._watches.popitem(last=False)
        return kept

    def events(self, run_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Events from a byte offset, and the next offset."""
        return RunWatch(self._local.folder(run_id)).read(offset)

    def follow_log(self, run_id: str, mark: str = "") -> LogNews:
        """What the log has beyond a mark; before a run in the cloud has one, what its container said."""
        return follow(shown_log(self._local.folder(run_id)), mark)

    def log(self, run_id: str, offset: int | None = None, lines: int | None = None) -> LogPage:
        """A page of the log."""
        return RunWatch(self._local.folder(run_id)).log(offset, lines)


def remaining(row: RunRow, view: RunView, now_s: float) -> float | None:
    """Seconds that the run at work still needs: its measured pace while it trains, else what its plan foretold, less what has passed.

    None when neither is known; 0 when it takes longer than foretold. Pure.
    """
    total, time_plan = likely_seconds(row.plan), row.plan.get("time")
    train = time_plan.get("train_s") if isinstance(time_plan, dict) else None
    if view.eta_s is not None:
        return view.eta_s + (max(0.0, total - train) if total is not None and isinstance(train, int | float) else 0.0)
    if total is None:
        return None
    began = row.started_at if row.state is RunState.RUNNING and row.attempt == 1 else row.line.get("at")
    passed = now_s - datetime.fromisoformat(began.replace("Z", "+00:00")).timestamp() if isinstance(began, str) else 0.0
    return max(0.0, total - passed)
