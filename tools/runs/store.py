"""Runs as the book knows them: one row a run, one row a change of state, and which thread a run belongs to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping, select, update
from sqlalchemy.dialects.sqlite import insert

from policies.book import Book, now_text
from policies.tables import run_events, runs, thread_runs
from policies.tool import ToolFailed
from tools.runs.state import ALIVE, RunState, may_become


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


def _row(found: RowMapping) -> RunRow:
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
    where: str = "this machine"


class RunStore:
    """The one owner of the tables `runs`, `run_events` and `thread_runs`."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def create(self, new: NewRun) -> RunRow:
        """Write a queued run; the same call finds the row it wrote before. ToolFailed while another run takes the machine."""
        at = now_text()

        def write(db: Connection) -> RunRow:
            known = db.execute(select(runs).where(runs.c.call_id == new.call_id)).mappings().first()
            if known is not None:
                return _row(known)
            busy = _alive(db)
            if busy:
                raise one_at_a_time(busy[0])
            db.execute(runs.insert().values(
                id=new.id, owner=new.owner, thread=new.thread, call_id=new.call_id, name=new.name, state=RunState.QUEUED.value, reason="",
                model_id=new.model_id, dataset_ref=new.dataset_ref, method=new.method, spec_json="{}", plan_json=json.dumps(dict(new.plan)),
                where=new.where, attempt=1, created_at=at, outcome_json="{}", predicted_memory_bytes=new.predicted_memory_bytes,
            ))
            _event(db, new.id, at, "", RunState.QUEUED, "started by its owner")
            if new.thread:
                _attach(db, new.thread, new.id, at)
            return _row(db.execute(select(runs).where(runs.c.id == new.id)).mappings().one())

        return self._book.write(write)

    def get(self, run_id: str) -> RunRow | None:
        """A run by its id."""
        return self._first(select(runs).where(runs.c.id == run_id))

    def of_call(self, call_id: str) -> RunRow | None:
        """The run that a call created."""
        return self._first(select(runs).where(runs.c.call_id == call_id))

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
        return self._book.read(lambda db: [_row(r) for r in db.execute(query).mappings()])

    def alive(self) -> list[RunRow]:
        """The runs that take this machine now."""
        return self._book.read(_alive)

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
            now = _row(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())
            if not may_become(now.state, then):
                return None
            values: dict[str, Any] = {"state": then.value, "reason": reason}
            if then is RunState.RUNNING and now.started_at is None:
                values["started_at"] = at
            values["ended_at"] = None if then in ALIVE else at
            if outcome is not None:
                values["outcome_json"] = json.dumps(dict(outcome))
            if measured is not None:
                values["measured_memory_bytes"] = measured
            db.execute(update(runs).where(runs.c.id == run_id).values(**values))
            _event(db, run_id, at, now.state.value, then, reason)
            return _row(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())

        return self._book.write(write)

    def set_outcome(self, run_id: str, outcome: Mapping[str, JsonValue]) -> None:
        """Keep measured scores and the like beside a run, whatever its state."""
        self._book.write(
            lambda db: db.execute(update(runs).where(runs.c.id == run_id).values(outcome_json=json.dumps(dict(outcome)))) and None
        )

    def next_attempt(self, run_id: str, attempt: int, reason: str) -> RunRow:
        """Queue attempt number `attempt` of an ended run; ToolFailed when it lives, has finished, or another run takes the machine."""
        at = now_text()

        def write(db: Connection) -> RunRow:
            now = _row(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())
            if now.attempt == attempt and now.state in ALIVE:
                return now
            busy = [row for row in _alive(db) if row.id != run_id]
            if busy:
                raise one_at_a_time(busy[0])
            if now.attempt != attempt - 1 or not may_become(now.state, RunState.QUEUED):
                raise ToolFailed(f"Resume the run {run_id}", f"It is {now.state.value}.", "Look at it with run_status.", kind="state")
            db.execute(update(runs).where(runs.c.id == run_id).values(
                state=RunState.QUEUED.value, reason=reason, attempt=attempt, ended_at=None,
            ))
            _event(db, run_id, at, now.state.value, RunState.QUEUED, reason)
            return _row(db.execute(select(runs).where(runs.c.id == run_id)).mappings().one())

        return self._book.write(write)

    def events(self, run_id: str) -> list[tuple[str, str, str, str]]:
        """The changes of state: (at, from, to, reason), oldest first."""
        query = select(run_events).where(run_events.c.run_id == run_id).order_by(run_events.c.id)
        return self._book.read(lambda db: [(r.at, r.from_state, r.to_state, r.reason) for r in db.execute(query)])

    def _first(self, query: Any) -> RunRow | None:
        found = self._book.read(lambda db: db.execute(query).mappings().first())
        return None if found is None else _row(found)


def one_at_a_time(busy: RunRow) -> ToolFailed:
    """The refusal while another run takes the machine."""
    return ToolFailed(
        "Start a run", f"The run {busy.id} is {busy.state.value} and this machine does one training at a time.",
        f"Wait for it (run_status {busy.id}) or stop it (cancel_run {busy.id}).", kind="one_at_a_time",
    )


def _alive(db: Connection) -> list[RunRow]:
    query = select(runs).where(runs.c.state.in_([s.value for s in ALIVE]), runs.c.where == "this machine").order_by(runs.c.created_at)
    return [_row(r) for r in db.execute(query).mappings()]


def _event(db: Connection, run_id: str, at: str, before: str, then: RunState, reason: str) -> None:
    db.execute(run_events.insert().values(run_id=run_id, at=at, from_state=before, to_state=then.value, reason=reason))


def _attach(db: Connection, thread: str, run_id: str, at: str) -> None:
    db.execute(insert(thread_runs).values(thread=thread, run_id=run_id, at=at).on_conflict_do_nothing())
