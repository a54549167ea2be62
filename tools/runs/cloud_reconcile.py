"""The pass over the runs in the cloud: looks, decides, writes, and only then acts; one run at a time, each under its lease."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from policies import fault
from policies.book import BookBroken, BookBusy
from policies.tool import ToolFailed
from tools.azure.jobs import StartUnknown
from tools.runs.backend import CloudBackend, Interrupted
from tools.runs.cloud_look import WAITS, Action, Seen, Trouble, Waits
from tools.runs.cloud_project import Projection
from tools.runs.cloud_row import AT_WORK, CloudRow, CloudWish, Phase
from tools.runs.cloud_state import HOPELESS, evidence, fetched, started, step
from tools.runs.cloud_store import CloudStore
from tools.runs.cloud_tails import CloudTails
from tools.runs.cloud_thread import LOOK_S, CloudThread
from tools.runs.reconcile import RunNews
from tools.settlement import Settlement

STOP_S = 20.0
"""How long whoever stops a run waits to hear that the stop was sent."""
_STEPS = 40
"""The most steps of one look."""
_LONG, LONG_AT_ONCE = frozenset({"upload", "put", "fetch"}), 4
"""What may take minutes or hours, and how many of those may go on at once, so that the other runs are looked at meanwhile."""
log = logging.getLogger("luthier.cloud")


class CloudReconciler:
    """Level-triggered: any number of looks ends in the same state. Its thread begins with the first run that needs one."""

    def __init__(self, store: CloudStore, projection: Projection, backend: Callable[[], CloudBackend], *, waits: Waits = WAITS,
                 look_s: float = LOOK_S) -> None:
        """`backend` is asked for when there is something to look at, so that nobody signs in without need."""
        self.store, self.waits = store, waits
        self._projection, self._make = projection, backend
        self._backend: CloudBackend | None = None
        self._untold: deque[RunNews] = deque()
        self._busy: dict[str, threading.Lock] = {}
        self._answered: set[str] = set()
        self._long = threading.BoundedSemaphore(LONG_AT_ONCE)
        self._guard = threading.Lock()
        self._thread = CloudThread(lambda: [row.run_id for row in store.unfinished()], self.look, look_s)
        self._tails = CloudTails(self._tail)

    # ── what the toolbox asks ────────────────────────────────────────────────────────────────────────────────────

    def pass_(self) -> list[RunNews]:
        """Keep the thread at work while there are runs to look after; the news since the last pass. Quick."""
        if not self.running and self.store.unfinished():
            self._thread.begin()
        return [self._untold.popleft() for _ in range(len(self._untold))]

    @property
    def running(self) -> bool:
        """Whether a thread of this process looks after the runs."""
        return self._thread.running

    def settlements(self) -> list[Settlement]:
        """What ended runs have cost."""
        return self.store.settlements()

    def wake(self) -> None:
        """Look now."""
        self._thread.wake()

    def follow(self, run_id: str) -> None:
        """Somebody watches the run: for a while its events and its log come every two seconds. Quick; nothing for a run that is here."""
        self._tails.want(run_id)

    def due(self, run_id: str) -> tuple[str, ...]:
        """The standing orders of a run whose condition holds; none before its first look in this process. Reads the book only."""
        row = self.store.get(run_id) if run_id in self._answered else None
        return () if row is None else evidence(row, self.now(), self.waits)

    def spent(self, row: CloudRow) -> int:
        """Micro-units by the clock so far."""
        return row.accrued_micros(row.ended_at or self.now())

    def now(self) -> datetime:
        """The cloud's clock."""
        return self._azure().now()

    def ready(self, run_id: str) -> None:
        """The folder of an approved run is whole: it may be uploaded."""
        row = self.store.get(run_id)
        if row is not None and row.phase is Phase.APPROVED:
            self.store.move(row, replace(row, phase=Phase.UPLOADING), "its folder is whole")
        self.wake()

    def give_up(self, run_id: str, reason: str) -> None:
        """End a run of which nothing reached the cloud."""
        row = self.store.get(run_id)
        if row is not None and row.phase is Phase.APPROVED:
            end = {"state": "failed", "kind": "start", "reason": reason[:500]}
            self.store.move(row, replace(row, phase=Phase.FAILED).remembering(end=end), "its folder was never whole")

    def stop(self, run_id: str, kind: str, by: str) -> CloudRow | None:
        """Write the wish to end a run, and act on it at once where Azure answers in 20 s; else the thread does, or the next start."""
        row = self.store.get(run_id)
        if row is None or row.ended:
            return row
        self.store.wish(run_id, CloudWish("run" if kind == "second_execution" else "stop", kind, by))
        look = threading.Thread(target=self._look_soon, args=(run_id,), name="cloud-stop", daemon=True)
        look.start()
        look.join(STOP_S)
        self.wake()
        return self.store.get(run_id)

    def _look_soon(self, run_id: str) -> None:
        try:
            self.look(run_id, long=False)
        except Exception:
            log.exception("stopping the run %s at once failed", run_id)

    def close(self) -> None:
        """End the threads; what they were at goes on with the next start."""
        self._tails.close()
        self._thread.close()

    def touch(self, run_id: str) -> None:
        """Bring one run up to date now where no thread does it, as in a terminal alone; else hurry the thread."""
        if self.running:
            self.wake()
        else:
            self.look(run_id)

    # ── the work ─────────────────────────────────────────────────────────────────────────────────────────────────

    def round(self) -> int:
        """One look at every run, one after the other; how many of them Azure did not answer for."""
        return sum(not self.look(row.run_id) for row in self.store.unfinished())

    def _tail(self, run_id: str) -> bool:
        row = self.store.get(run_id)
        if row is None or row.phase not in AT_WORK:
            return False
        self._azure().tail(row)
        return True

    def look(self, run_id: str, *, long: bool = True) -> bool:
        """Bring a run as far as it goes now; False when Azure did not answer. Nothing when somebody is at it already.

        Without `long` no file is moved and no job made, which the thread does, and a look that goes on is waited for a little.
        """
        with self._guard:
            lock = self._busy.setdefault(run_id, threading.Lock())
        if not lock.acquire(timeout=0 if long else STOP_S / 4):
            return True
        try:
            if not self.store.lease(run_id):
                return True
            try:
                return self._advance(run_id, long)
            finally:
                with suppress(BookBroken, BookBusy):
                    self.store.release(run_id)
        finally:
            lock.release()

    def _advance(self, run_id: str, long: bool) -> bool:
        row = self.store.get(run_id)
        answered = True
        for _ in range(_STEPS):
            if row is None:
                return answered
            self._tell(row)
            if row.ended or self._thread.closed.is_set():
                return answered
            seen = self._observe(row)
            answered = seen.trouble is None
            if answered:
                self._answered.add(run_id)
            elif self._thread.closed.is_set():  # nobody asked a second time: that is no trouble of the run's
                return answered
            taken = step(row, seen, self.now(), self.waits)
            moved = self._move(row, taken.row, taken.evidence)
            if moved is None:
                return answered
            changed = (moved.phase, moved.attempt, moved.execution) != (row.phase, row.attempt, row.execution)
            row, went_on = moved, False
            for action in taken.actions:
                self._tell(row)
                if action.kind not in _LONG:
                    row, went_on = self._act(row, action)
                elif long and self._long.acquire(blocking=False):
                    try:
                        row, went_on = self._act(row, action)
                    finally:
                        self._long.release()
                if row is None:
                    return answered
            if not changed and not went_on:
                self._tell(row)
                return answered
        return answered

    def _move(self, before: CloudRow, after: CloudRow, why: str) -> CloudRow | None:
        if replace(after, changed_at=before.changed_at) == before:
            return before
        return self.store.move(before, after, why)

    def _observe(self, row: CloudRow) -> Seen:
        try:
            return self._azure().observe(row)
        except ToolFailed as trouble:
            return Seen(trouble=Trouble(trouble.kind, f"{trouble.because} {trouble.try_next}".strip()))

    def _act(self, row: CloudRow, action: Action) -> tuple[CloudRow | None, bool]:
        """Do one thing outside, and write what came of it; whether the run may go on at once."""
        point = f"cloud.act.{action.kind}"
        fault.point(f"{point}.before")
        try:
            after, why = self._done(row, action)
        except Interrupted:
            return self.store.get(row.run_id), True
        except ToolFailed as trouble:
            found = Trouble(trouble.kind, f"{trouble.because} {trouble.heard} {trouble.try_next}".replace("  ", " ").strip())
            if self._thread.closed.is_set() and action.kind != "start":
                return None, False
            if action.kind == "start":  # the answer is certain: nothing was begun
                row = replace(row, phase=Phase.JOB_READY)
                found = found if trouble.kind == "signin" or found.kind in HOPELESS else Trouble("conflict", found.text)
            if row.phase in AT_WORK:
                log.warning("run %s: %s", row.run_id, trouble)
                return self._move(row, row.remembering(trouble=found.text[:500], stop_sent=""), ""), False
            taken = step(row, Seen(trouble=found), self.now(), self.waits)
            current = self.store.get(row.run_id)
            return (None, False) if current is None else (self._move(current, taken.row, taken.evidence), taken.row.ended)
        fault.point(f"{point}.after")
        current = self.store.get(row.run_id)
        if current is None or (current.phase, current.attempt) != (row.phase, row.attempt):
            return None, False
        return self._move(current, replace(after, changed_at=current.changed_at), why), action.kind != "stop"

    def _done(self, row: CloudRow, action: Action) -> tuple[CloudRow, str]:
        azure = self._azure()
        match action.kind:
            case "upload":
                azure.upload(row, self._saying(row))
                return self._kept(row).remembering(uploaded=True, progress=None, tries=0, trouble=""), ""
            case "put":
                azure.put(row)
                return replace(row, phase=Phase.JOB_READY).remembering(tries=0, trouble="", retry_at=""), "the job was made"
            case "start":
                try:
                    name = azure.start(row)
                except StartUnknown as unknown:
                    said = row.remembering(trouble=str(unknown)[:500])
                    return replace(said, phase=Phase.START_UNKNOWN), "nobody knows whether the start began anything"
                return started(row, name, self.now()), f"Azure named the execution {name}"
            case "stop":
                azure.stop(row, action.execution)
                return row, ""
            case "fetch":
                note = azure.fetch(row, self._saying(row))
                after = fetched(self._kept(row), note)
                return after.row, after.evidence

    def _kept(self, row: CloudRow) -> CloudRow:
        """The row as it is now: what is said of the progress meanwhile is written, too."""
        return self.store.get(row.run_id) or row

    def _saying(self, row: CloudRow) -> Callable[[str, float | None], None]:
        """Keep the lease and the progress while long work goes on; at most once a second."""
        last = [self.now() - timedelta(seconds=10)]

        def say(text: str, share: float | None) -> None:
            if self._thread.closed.is_set():
                raise Interrupted
            if (self.now() - last[0]).total_seconds() < 1:
                return
            last[0] = self.now()
            current = self.store.get(row.run_id)
            stopped = current is not None and current.wish.stops and current.phase is Phase.UPLOADING
            same = current is not None and (current.phase, current.attempt) == (row.phase, row.attempt)
            if current is None or stopped or not same or not self.store.lease(row.run_id):
                raise Interrupted
            self.store.move(current, current.remembering(progress=share, waiting=""))

        return say

    def _tell(self, row: CloudRow) -> None:
        news = self._projection.bring(row)
        if news is not None:
            self._untold.append(news)

    def _azure(self) -> CloudBackend:
        with self._guard:
            if self._backend is None:
                self._backend = self._make()
            return self._backend
