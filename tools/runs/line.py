"""The line of runs before this machine: who has it, who waits, whose turn comes next. It lies in the book, so it survives a restart."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from policies import fault
from policies.book import Book, now_text
from policies.tables import run_events, runs
from tools.runs.identity import identify, is_alive, read_identity
from tools.runs.moment import mark
from tools.runs.state import RunState
from tools.runs.store import LINE, RunRow, alive_here, note_event, row_of
from tools.runs.turns import Waiting, in_turn


class Line:
    """Changes of place are compared and set in one write of the book, so that no two processes give the machine away."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def holder(self) -> RunRow | None:
        """The run that has the machine now, or was just given it."""
        return next((row for row in self._book.read(alive_here) if not row.waits), None)

    def waiting(self) -> list[RunRow]:
        """The runs that wait, in the order of their turns."""
        return self._book.read(lambda db: _ordered(db, alive_here(db)))

    def ready(self, run_ids: Sequence[str]) -> None:
        """Say that prepared runs may start when their turn comes; one that does not have it at once gets an event that says so."""
        at = now_text()

        def write(db: Connection) -> None:
            here = alive_here(db)
            mine = [row for row in here if row.id in run_ids and row.waits]
            others = any(row.id not in run_ids and (not row.waits or row.line.get("ready")) for row in here)
            for number, row in enumerate(mine):
                waits = others or number > 0
                if waits and not row.line.get("waits"):
                    note_event(db, row.id, at, RunState.QUEUED.value, RunState.QUEUED, "waits for its turn on this machine")
                _keep(db, row, {**row.line, "ready": True, "waits": waits})

        fault.point("runs.ready.before")
        self._book.write(write)
        fault.point("runs.ready.after")

    def take(self) -> RunRow | None:
        """Give the machine to the run whose turn it is, in the name of this process; None while another has it or nobody is ready."""
        at, me = now_text(), identify(os.getpid()).as_json()

        def write(db: Connection) -> RunRow | None:
            here = alive_here(db)
            ready = [row for row in here if row.waits and row.line.get("ready")]
            if not ready or any(not row.waits for row in here):
                return None
            row = _ordered(db, ready)[0]
            if row.line.get("waits"):
                note_event(db, row.id, at, RunState.QUEUED.value, RunState.QUEUED, "its turn has come")
            return _keep(db, row, {**row.line, "at": at, "taken": me, "moment": mark()})

        fault.point("runs.take.before")
        row = self._book.write(write)
        fault.point("runs.take.after")
        return row

    def give_back(self, row: RunRow) -> RunRow | None:
        """Put a run that was given the machine and could not use it back to its place; None when it is not what `row` says any more."""
        line = {k: v for k, v in row.line.items() if k not in {"at", "taken", "moment"}}
        return self._book.write(lambda db: _keep(db, row, line) if _unchanged(db, row) else None)

    def forsake(self, row: RunRow) -> bool:
        """End a run that its cut-off call left neither ready nor started; False when it stands in the line or is being started now."""
        if (row.waits and row.line.get("ready")) or ("taken" in row.line and lives(row.line["taken"])):
            return False
        reason = "Luthier stopped before the training process was started. Start it again."
        return self.leave(row, RunState.FAILED, reason, {"kind": "start"}) is not None

    def leave(self, row: RunRow, then: RunState, reason: str, outcome: Mapping[str, Any]) -> RunRow | None:
        """Take a run that has not been sent off out of the line, to an end; None when its turn came meanwhile."""
        at = now_text()

        def write(db: Connection) -> RunRow | None:
            if not _unchanged(db, row):
                return None
            kept = {**{k: v for k, v in row.outcome.items() if k != LINE}, **outcome}
            values = {"state": then.value, "reason": reason, "ended_at": at, "outcome_json": json.dumps(kept)}
            db.execute(update(runs).where(runs.c.id == row.id).values(**values))
            note_event(db, row.id, at, row.state.value, then, reason)
            return _read(db, row.id)

        fault.point("runs.leave.before")
        after = self._book.write(write)
        fault.point("runs.leave.after")
        return after


def is_orphaned(row: RunRow) -> bool:
    """Whether a run was given the machine by a process that has died since; whether it was started, its lock says."""
    return row.state is RunState.QUEUED and "taken" in row.line and not lives(row.line.get("taken"))


def lives(who: Any) -> bool:
    """Whether the process that a place names still runs."""
    found = read_identity(who) if isinstance(who, Mapping) else None
    return found is not None and is_alive(found)


def likely_seconds(plan: Mapping[str, Any]) -> float | None:
    """How long a plan's run is likely to take, start to scored result; None when the plan does not say."""
    time = plan.get("time")
    found = time.get("likely_s") if isinstance(time, Mapping) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def as_waiting(row: RunRow) -> Waiting:
    """A row as the order of turns sees it."""
    # The runs of a sweep join at the same moment; their calls are numbered.
    return Waiting(row.id, row.owner, f"{row.line.get('since', row.created_at)} {row.call_id}", likely_seconds(row.plan))


def _ordered(db: Connection, rows: Sequence[RunRow]) -> list[RunRow]:
    by_id = {row.id: row for row in rows if row.waits}
    last = select(runs.c.owner, func.max(run_events.c.at)).join(run_events, run_events.c.run_id == runs.c.id)
    found = db.execute(last.where(run_events.c.to_state == RunState.RUNNING.value).group_by(runs.c.owner))
    served = {str(owner): str(at) for owner, at in found} | {row.owner: now_text() for row in rows if not row.waits}
    return [by_id[each.id] for each in in_turn([as_waiting(row) for row in by_id.values()], served)]


def _unchanged(db: Connection, row: RunRow) -> bool:
    now = _read(db, row.id)
    return now.state is RunState.QUEUED and now.attempt == row.attempt and now.line.get("taken") == row.line.get("taken")


def _keep(db: Connection, row: RunRow, line: Mapping[str, Any]) -> RunRow:
    kept = json.dumps({**row.outcome, LINE: dict(line)})
    db.execute(update(runs).where(runs.c.id == row.id).values(outcome_json=kept))
    return _read(db, row.id)


def _read(db: Connection, run_id: str) -> RunRow:
    return row_of(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())
