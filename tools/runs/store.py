"""Runs as the book knows them: one row a run, one row a change of state, and which thread a run belongs to."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping, func, select, update
from sqlalchemy.dialects.sqlite import insert

from policies import fault
from policies.book import Book, now_text
from policies.tables import run_events, runs, thread_runs
from policies.tool import ToolFailed
from tools.runs.identity import identify
from tools.runs.state import ALIVE, FINAL, RunState, may_become

HERE = "this machine"
"""Where a run is that takes the machine Luthier runs on; any other place is in the cloud."""
LINE = "line"
"""The key of `outcome_json` under which a run keeps its place in the line before the machine, until it has ended."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run's row."""

    id: str
    owner: str
    thread: str | None
    call_id: str
    name: str
    state: RunState
    reason: str
    model_id: str
    dataset_ref: str
    method: str
    spec: Mapping[str, JsonValue]
    plan: Mapping[str, JsonValue]
    where: str
    attempt: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    outcome: Mapping[str, JsonValue]
    predicted_memory_bytes: int | None
    measured_memory_bytes: int | None

    @property
    def line(self) -> Mapping[str, Any]:
        """Its place in the line: since, ready, by (who prepared it), and at, taken (who sent it off) once its turn has come."""
        found = self.outcome.get(LINE)
        return found if isinstance(found, Mapping) else {}

    @property
    def waits(self) -> bool:
        """Whether it is in this machine's line and its turn has not come."""
        return self.where == HERE and self.state is RunState.QUEUED and "since" in self.line and "taken" not in self.line

    @property
    def sweep(self) -> str:
        """The id that the runs of one sweep share; empty for a run of its own."""
        found = self.plan.get("sweep")
        return str(found.get("id", "")) if isinstance(found, Mapping) else ""


def row_of(found: RowMapping) -> RunRow:
    """A row of the table as a value."""
    values: dict[str, Any] = {k: found[k] for k in RunRow.__dataclass_fields__ if k in found}
    values["state"] = RunState(found["state"])
    for field, column in (("spec", "spec_json"), ("plan", "plan_json"), ("outcome", "outcome_json")):
        values[field] = json.loads(found[column] or "{}")
    return RunRow(**values)


@dataclass(frozen=True, slots=True)
class NewRun:
    """What `create` writes."""

    id: str
    owner: str
    thread: str | None
    call_id: str
    name: str
    model_id: str
    dataset_ref: str
    method: str
    plan: Mapping[str, JsonValue]
    predicted_memory_bytes: int | None
    where: str = HERE


class RunStore:
    """The one owner of the tables `runs`, `run_events` and `thread_runs`."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def create(self, *new: NewRun) -> RunRow:
        """Write queued runs that join the line, not ready yet; the same call finds what it wrote before. Gives the first."""
        at = now_text()

        def write(db: Connection) -> RunRow:
            for each in new:
                known = db.execute(select(runs.c.id).where(runs.c.call_id == each.call_id)).first()
                if known is not None:
                    continue
                db.execute(runs.insert().values(
                    id=each.id, owner=each.owner, thread=each.thread, call_id=each.call_id, name=each.name, state=RunState.QUEUED.value,
                    reason="", model_id=each.model_id, dataset_ref=each.dataset_ref, method=each.method, spec_json="{}",
                    plan_json=json.dumps(dict(each.plan)), where=each.where, attempt=1, created_at=at,
                    outcome_json=json.dumps({LINE: joined(at)} if each.where == HERE else {}),
                    predicted_memory_bytes=each.predicted_memory_bytes,
                ))
                note_event(db, each.id, at, "", RunState.QUEUED, "started by its owner")
                if each.thread:
                    _attach(db, each.thread, each.id, at)
            return row_of(db.execute(select(runs).where(runs.c.call_id == new[0].call_id)).mappings().one())

        fault.point("runs.create.before")
        made = self._book.write(write)
        fault.point("runs.create.after")
        return made

    def get(self, run_id: str) -> RunRow | None:
        """A run by its id."""
        return self._first(select(runs).where(runs.c.id == run_id))

    def of_call(self, call_id: str) -> list[RunRow]:
        """The runs that a call created: one, or those of its sweep in order."""
        query = select(runs).where((runs.c.call_id == call_id) | runs.c.call_id.startswith(f"{call_id}#", autoescape=True))
        return self._book.read(lambda db: [row_of(r) for r in db.execute(query.order_by(runs.c.call_id)).mappings()])

    def of_sweep(self, sweep: str) -> list[RunRow]:
        """The runs of a sweep, in the order of its values."""
        query = select(runs).where(runs.c.plan_json.contains(json.dumps({"id": sweep})[1:-1], autoescape=True)).order_by(runs.c.call_id)
        return [row for row in self._book.read(lambda db: [row_of(r) for r in db.execute(query).mappings()]) if row.sweep == sweep]

    def wanted(self, run_id: str, person: str | None = None) -> RunRow:
        """A run that must exist and, when `person` is given, be theirs; ToolFailed, the same for foreign and for unknown."""
        row = self.get(run_id)
        if row is None or (person not in (None, "system") and row.owner != person):
            raise ToolFailed(
                f"Find the run {run_id}", "There is no such run.", "List your runs with list_runs, or leave run_id out for the latest.",
                kind="no_such_run",
            )
        return row

    def rows(self, owner: str | None = None, states: frozenset[RunState] | None = None) -> list[RunRow]:
        """Runs, newest first; of one owner and in some states only, where given."""
        query = select(runs).order_by(runs.c.created_at.desc(), runs.c.id)
        if owner is not None:
            query = query.where(runs.c.owner == owner)
        if states is not None:
            query = query.where(runs.c.state.in_([s.value for s in states]))
        return self._book.read(lambda db: [row_of(r) for r in db.execute(query).mappings()])

    def alive(self) -> list[RunRow]:
        """The runs that take this machine now."""
        return self._book.read(alive_here)

    def latest(self, thread: str | None, person: str, states: frozenset[RunState] | None = None) -> RunRow | None:
        """The person's latest run in the thread, else their latest anywhere; in some states only, where given."""
        query = select(runs).where(runs.c.owner == person).order_by(runs.c.created_at.desc(), runs.c.id).limit(1)
        if states is not None:
            query = query.where(runs.c.state.in_([s.value for s in states]))
        if thread:
            shown = select(thread_runs.c.run_id).where(thread_runs.c.thread == thread)
            found = self._first(query.where(runs.c.id.in_(shown)))
            if found is not None:
                return found
        return self._first(query)

    def attach_thread(self, thread: str, run_id: str) -> None:
        """Say that a thread shows this run."""
        self._book.write(lambda db: _attach(db, thread, run_id, now_text()))

    def set_spec(self, run_id: str, spec: Mapping[str, JsonValue]) -> None:
        """Keep the exact spec that the engine reads."""
        self._book.write(lambda db: db.execute(update(runs).where(runs.c.id == run_id).values(spec_json=json.dumps(dict(spec)))) and None)

    def set_state(
        self, run_id: str, then: RunState, reason: str, *, outcome: Mapping[str, JsonValue] | None = None, measured: int | None = None
    ) -> RunRow | None:
        """Pass to another state with its event row; None, and nothing written, when the table does not allow it from where the run is."""
        at = now_text()

        def write(db: Connection) -> RunRow | None:
            now = row_of(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())
            if not may_become(now.state, then):
                return None
            values: dict[str, Any] = {"state": then.value, "reason": reason}
            if then is RunState.RUNNING and now.started_at is None:
                values["started_at"] = at
            values["ended_at"] = None if then in ALIVE else at
            kept = {**(now.outcome if outcome is None else outcome)}
            if then in FINAL:
                kept.pop(LINE, None)
            values["outcome_json"] = json.dumps(kept)
            if measured is not None:
                values["measured_memory_bytes"] = measured
            db.execute(update(runs).where(runs.c.id == run_id).values(**values))
            note_event(db, run_id, at, now.state.value, then, reason)
            return row_of(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())

        fault.point("runs.state.before")
        after = self._book.write(write)
        fault.point("runs.state.after")
        return after

    def ends(self, after: int) -> tuple[list[tuple[RunRow, RunState, RunState, str]], int]:
        """The ends in the list of changes beyond entry `after`, each as (run, state before, end, reason), and the newest entry's number."""
        changed = select(run_events.c.from_state, run_events.c.to_state, run_events.c.reason.label("said"), runs).join(
            runs, runs.c.id == run_events.c.run_id).where(run_events.c.id > after).order_by(run_events.c.id)

        def read(db: Connection) -> tuple[list[RowMapping], int]:
            newest = db.execute(select(func.max(run_events.c.id))).scalar() or 0
            return list(db.execute(changed).mappings()) if newest > after else [], newest

        found, newest = self._book.read(read)
        final = [each for each in found if RunState(each["to_state"]) in FINAL]
        return [(row_of(each), RunState(each["from_state"]), RunState(each["to_state"]), each["said"]) for each in final], newest

    def set_outcome(self, run_id: str, outcome: Mapping[str, JsonValue]) -> None:
        """Keep measured scores and the like beside a run, whatever its state."""
        self._book.write(
            lambda db: db.execute(update(runs).where(runs.c.id == run_id).values(outcome_json=json.dumps(dict(outcome)))) and None
        )

    def raise_attempt(self, run_id: str, attempt: int) -> RunRow | None:
        """Say that a run in the cloud is at another attempt under the same approval."""
        self._book.write(lambda db: db.execute(update(runs).where(runs.c.id == run_id, runs.c.attempt < attempt).values(
            attempt=attempt)) and None)
        return self.get(run_id)

    def next_attempt(self, run_id: str, attempt: int, reason: str, where: str = HERE) -> RunRow:
        """Let attempt number `attempt` of an ended run begin at a place, here by joining the line, not ready yet.

        ToolFailed when it lives or has finished.
        """
        at = now_text()

        def write(db: Connection) -> RunRow:
            now = row_of(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())
            if now.attempt == attempt and now.state in ALIVE:
                return now
            if now.attempt != attempt - 1 or not may_become(now.state, RunState.QUEUED):
                raise ToolFailed(f"Resume the run {run_id}", f"It is {now.state.value}.", "Look at it with run_status.", kind="state")
            db.execute(update(runs).where(runs.c.id == run_id).values(
                state=RunState.QUEUED.value, reason=reason, attempt=attempt, ended_at=None, where=where,
                outcome_json=json.dumps({**{k: v for k, v in now.outcome.items() if k == "scores"},
                                         **({LINE: joined(at)} if where == HERE else {})}),
            ))
            note_event(db, run_id, at, now.state.value, RunState.QUEUED, reason)
            return row_of(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())

        fault.point("runs.attempt.before")
        row = self._book.write(write)
        fault.point("runs.attempt.after")
        return row

    def events(self, run_id: str) -> list[tuple[str, str, str, str]]:
        """The changes of state: (at, from, to, reason), oldest first."""
        query = select(run_events).where(run_events.c.run_id == run_id).order_by(run_events.c.id)
        return self._book.read(lambda db: [(r.at, r.from_state, r.to_state, r.reason) for r in db.execute(query)])

    def _first(self, query: Any) -> RunRow | None:
        found = self._book.read(lambda db: db.execute(query).mappings().first())
        return None if found is None else row_of(found)


def joined(at: str) -> dict[str, Any]:
    """The place of a run that joins the line: prepared by this process, and not ready yet."""
    return {"since": at, "ready": False, "by": identify(os.getpid()).as_json()}


def alive_here(db: Connection) -> list[RunRow]:
    """The runs that have this machine or wait for it, oldest first."""
    query = select(runs).where(runs.c.state.in_([s.value for s in ALIVE]), runs.c.where == HERE).order_by(runs.c.created_at)
    return [row_of(r) for r in db.execute(query).mappings()]


def note_event(db: Connection, run_id: str, at: str, before: str, then: RunState, reason: str) -> None:
    """One row for one change of a run."""
    db.execute(run_events.insert().values(run_id=run_id, at=at, from_state=before, to_state=then.value, reason=reason))


def _attach(db: Connection, thread: str, run_id: str, at: str) -> None:
    db.execute(insert(thread_runs).values(thread=thread, run_id=run_id, at=at).on_conflict_do_nothing())
