"""Deployments as the book knows them; the one owner of their tables."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping, func, select, update

from policies.book import Book, now_text
from policies.deployment_tables import deployment_events, deployments
from policies.tool import ToolFailed
from tools.serve.deploy_state import ALIVE, DeployState


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One deployment's row."""

    id: str
    owner: str
    thread: str | None
    call_id: str
    where: str
    state: DeployState
    reason: str
    revision: int
    revision_call: str
    run_id: str | None
    model_id: str
    plan: Mapping[str, Any]
    url: str
    key_hint: str
    stop_by: str
    """Who asked for the end of the current revision; empty while nobody has."""
    created_at: str
    started_at: str | None
    ended_at: str | None
    expires_at: str

    @property
    def alive(self) -> bool:
        """Whether the book takes it to be there."""
        return self.state in ALIVE

    @property
    def tried(self) -> int:
        """The newest revision that was ever begun, though it may not have come up."""
        return max(self.revision, self.failed.revision if self.failed is not None else 0)

    @property
    def before(self) -> "Before | None":
        """What answers while this revision comes up, and goes on answering should it not."""
        kept = self.plan.get("before")
        return Before(**kept) if isinstance(kept, dict) else None

    @property
    def failed(self) -> "FailedRevision | None":
        """The newer revision that did not come up."""
        kept = self.plan.get("failed")
        return FailedRevision(**kept) if isinstance(kept, dict) else None


@dataclass(frozen=True, slots=True)
class Before:
    """The revision that answered when a newer one was begun, as its row was."""

    revision: int
    revision_call: str
    run_id: str | None
    model_id: str
    where: str
    expires_at: str
    plan: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FailedRevision:
    """A revision that did not come up, while an older one went on answering."""

    revision: int
    call: str
    reason: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What a deployment, or its next revision, is to serve and until when."""

    run_id: str | None
    model_id: str
    plan: Mapping[str, JsonValue]
    ttl_s: float

    def values(self, call_id: str) -> dict[str, Any]:
        """Its columns."""
        return {"run_id": self.run_id, "model_id": self.model_id, "plan_json": json.dumps(dict(self.plan)), "revision_call": call_id,
                "expires_at": now_text(datetime.now(UTC) + timedelta(seconds=self.ttl_s))}


def _row(found: RowMapping) -> DeploymentRow:
    values: dict[str, Any] = {name: found[name] for name in DeploymentRow.__dataclass_fields__ if name in found}
    return DeploymentRow(**{**values, "state": DeployState(found["state"]), "plan": json.loads(found["plan_json"])})


class DeploymentStore:
    """Reads and writes deployments. Thread-safe, as the book is."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def create(self, ident: str, owner: str, thread: str | None, call_id: str, planned: Planned, key_hint: str,
               where: str = "this machine") -> DeploymentRow:
        """Write a starting deployment; the same call finds what it wrote before."""
        at = now_text()

        def write(db: Connection) -> DeploymentRow:
            if db.execute(select(deployments.c.id).where(deployments.c.call_id == call_id)).first() is None:
                db.execute(deployments.insert().values(
                    id=ident, owner=owner, thread=thread, call_id=call_id, where=where, state=DeployState.STARTING.value,
                    key_hint=key_hint, created_at=at, **planned.values(call_id),
                ))
                _note(db, ident, at, "", DeployState.STARTING, "deployed by its owner")
            return _row(db.execute(select(deployments).where(deployments.c.call_id == call_id)).mappings().one())

        return self._book.write(write)

    def next_revision(self, ident: str, revision: int, call_id: str, planned: Planned, where: str = "", *,
                      beside: bool = False) -> DeploymentRow:
        """Begin revision number `revision`; the same call finds it. ToolFailed when another call was quicker or it is deleted.

        With `beside`, the revision that answers goes on until this one is up, and for good where it does not come up.
        """
        at = now_text()

        def write(db: Connection) -> DeploymentRow:
            now = _row(db.execute(select(deployments).where(deployments.c.id == ident)).mappings().one())
            if now.revision_call == call_id:
                return now
            if now.tried != revision - 1 or now.state is DeployState.DELETED:
                raise ToolFailed(f"Redeploy {ident}", f"It is {now.state.value}, at revision {now.tried}.",
                                 "Look at it with list_deployments.", kind="state")
            kept = _answering(now) if beside else None
            values = planned.values(call_id)
            if kept is not None:
                values["plan_json"] = json.dumps({**planned.plan, "before": asdict(kept)})
            db.execute(update(deployments).where(deployments.c.id == ident).values(
                state=DeployState.STARTING.value, reason="", revision=revision, stop_by="", ended_at=None,
                **({"where": where} if where else {}), **values))
            _note(db, ident, at, now.state.value, DeployState.STARTING, f"revision {revision}")
            return _row(db.execute(select(deployments).where(deployments.c.id == ident)).mappings().one())

        return self._book.write(write)

    def set_state(self, row: DeploymentRow, then: DeployState, reason: str, url: str = "") -> DeploymentRow | None:
        """Pass to another state with its event; None, and nothing written, when the row has moved on since it was read."""
        at = now_text()

        def write(db: Connection) -> DeploymentRow | None:
            mine = (deployments.c.id == row.id, deployments.c.state == row.state.value, deployments.c.revision == row.revision)
            values: dict[str, Any] = {"state": then.value, "reason": reason, "ended_at": None if then in ALIVE else at}
            if url:
                values["url"] = url
            if then is DeployState.RUNNING:
                values["started_at"] = at
            if db.execute(update(deployments).where(*mine).values(**values)).rowcount != 1:
                return None
            _note(db, row.id, at, row.state.value, then, reason)
            return _row(db.execute(select(deployments).where(deployments.c.id == row.id)).mappings().one())

        return self._book.write(write)

    def go_back(self, row: DeploymentRow, before: Before, reason: str) -> DeploymentRow | None:
        """The revision of before goes on under its own approval; None, and nothing written, when the row has moved on since it was read."""
        failed = FailedRevision(row.revision, row.revision_call, reason)
        values: dict[str, Any] = {**asdict(before), "state": DeployState.RUNNING.value, "reason": reason,
                                  "plan_json": json.dumps({**before.plan, "failed": asdict(failed)})}
        del values["plan"]

        def write(db: Connection) -> DeploymentRow | None:
            mine = (deployments.c.id == row.id, deployments.c.state == row.state.value, deployments.c.revision == row.revision,
                    deployments.c.stop_by == "")
            if db.execute(update(deployments).where(*mine).values(**values)).rowcount != 1:
                return None
            _note(db, row.id, now_text(), row.state.value, DeployState.RUNNING, reason)
            return _row(db.execute(select(deployments).where(deployments.c.id == row.id)).mappings().one())

        return self._book.write(write)

    def ask_to_stop(self, row: DeploymentRow, by: str) -> None:
        """Keep who wants the end of this revision; the first one counts."""
        mine = (deployments.c.id == row.id, deployments.c.revision == row.revision, deployments.c.stop_by == "")
        self._book.write(lambda db: db.execute(update(deployments).where(*mine).values(stop_by=by)) and None)

    def get(self, ident: str) -> DeploymentRow | None:
        """A deployment by its id."""
        return self._first(select(deployments).where(deployments.c.id == ident))

    def of_call(self, call_id: str) -> DeploymentRow | None:
        """The deployment whose current revision a call asked for, or the one after it that did not come up."""
        failed = func.json_extract(deployments.c.plan_json, "$.failed.call") == call_id
        return self._first(select(deployments).where((deployments.c.revision_call == call_id) | failed))

    def wanted(self, ident: str, person: str | None = None) -> DeploymentRow:
        """A deployment that must exist and, when `person` is given, be theirs; ToolFailed, the same for foreign and for unknown."""
        row = self.get(ident)
        if row is None or (person not in (None, "system") and row.owner != person):
            raise ToolFailed(f"Find the deployment {ident[:40]}", "There is no such deployment.", "List yours with list_deployments.",
                             kind="no_such_deployment")
        return row

    def rows(self, owner: str | None = None, alive: bool = False) -> list[DeploymentRow]:
        """Deployments, newest first; of one owner, and only those that are there, where wanted. Deleted ones are left out."""
        query = select(deployments).where(deployments.c.state != DeployState.DELETED.value)
        if owner is not None:
            query = query.where(deployments.c.owner == owner)
        if alive:
            query = query.where(deployments.c.state.in_([state.value for state in ALIVE]))
        query = query.order_by(deployments.c.created_at.desc(), deployments.c.id)
        return self._book.read(lambda db: [_row(found) for found in db.execute(query).mappings()])

    def with_only(self, tool: str, raw: Mapping[str, Any], person: str) -> dict[str, Any]:
        """The arguments with the deployment that is meant where none is named: the person's only living one, else their only one."""
        if tool not in {"stop_deployment", "redeploy"} or raw.get("deployment_id"):
            return dict(raw)
        rows = self.rows(person, alive=True) or self.rows(person)
        return {**raw, "deployment_id": rows[0].id} if len(rows) == 1 else dict(raw)

    def events(self, ident: str) -> list[tuple[str, str, str]]:
        """The changes of state: (from, to, reason), oldest first."""
        query = select(deployment_events).where(deployment_events.c.deployment_id == ident).order_by(deployment_events.c.id)
        return self._book.read(lambda db: [(r.from_state, r.to_state, r.reason) for r in db.execute(query)])

    def changed_at(self, ident: str) -> str:
        """When its state last changed."""
        query = select(deployment_events.c.at).where(deployment_events.c.deployment_id == ident).order_by(deployment_events.c.id.desc())
        return str(self._book.read(lambda db: db.execute(query.limit(1)).scalar_one()))

    def _first(self, query: Any) -> DeploymentRow | None:
        found = self._book.read(lambda db: db.execute(query).mappings().first())
        return None if found is None else _row(found)


def _answering(now: DeploymentRow) -> Before | None:
    if now.stop_by or not now.alive:
        return None
    if now.state is DeployState.STARTING:
        return now.before
    plan = {name: value for name, value in now.plan.items() if name not in ("before", "failed")}
    return Before(now.revision, now.revision_call, now.run_id, now.model_id, now.where, now.expires_at, plan)


def _note(db: Connection, ident: str, at: str, before: str, then: DeployState, reason: str) -> None:
    db.execute(deployment_events.insert().values(deployment_id=ident, at=at, from_state=before, to_state=then.value, reason=reason))
