"""Runs in the cloud as the book has them: compare-and-set writes, each with its event; a lease, so that one process acts on a run."""

import json
import os
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from policies import fault, ledger
from policies.book import Book, now_text
from policies.cloud_tables import cloud_run_events, cloud_runs
from policies.tables import runs
from tools.runs.cloud_row import ENDED, CloudPlan, CloudRow, CloudWish, Memory, Phase, moment, stamp
from tools.runs.identity import identify, is_alive, read_identity
from tools.runs.state import ALIVE
from tools.runs.store import HERE
from tools.settlement import Settlement

LEASE_S = 120
"""How long a process may act on a run without saying so again."""


class CloudStore:
    """The one owner of the tables `cloud_runs` and `cloud_run_events`."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._me = json.dumps({**identify(os.getpid()).as_json(), "one": secrets.token_hex(4)})

    def create(self, row: CloudRow) -> CloudRow:
        """Write a run that was approved; one that is there already stays as it is."""
        def write(db: Connection) -> None:
            if db.execute(select(cloud_runs.c.run_id).where(cloud_runs.c.run_id == row.run_id)).first() is None:
                db.execute(cloud_runs.insert().values(run_id=row.run_id, **_values(row), wish=row.wish.text(), settled=0))
                _event(db, row, "", "approved")

        fault.point("cloud.create.before")
        self._book.write(write)
        fault.point("cloud.create.after")
        found = self.get(row.run_id)
        assert found is not None
        return found

    def get(self, run_id: str) -> CloudRow | None:
        """One run; None when it never was in the cloud."""
        query = select(cloud_runs).where(cloud_runs.c.run_id == run_id)
        found = self._book.read(lambda db: db.execute(query).mappings().first())
        return None if found is None else _row(found)

    def of_call(self, call_id: str) -> CloudRow | None:
        """The run that a call started or resumed last."""
        query = select(cloud_runs).where(cloud_runs.c.call_id == call_id)
        found = self._book.read(lambda db: db.execute(query).mappings().first())
        return None if found is None else _row(found)

    def rows(self) -> list[CloudRow]:
        """All of them."""
        return self._book.read(lambda db: [_row(each) for each in db.execute(select(cloud_runs)).mappings()])

    def unfinished(self) -> list[CloudRow]:
        """Runs that have not ended, or whose end the book's own table of runs does not have yet. One that went on here is not theirs."""
        query = select(cloud_runs, runs.c.state, runs.c.where).join(runs, runs.c.id == cloud_runs.c.run_id).order_by(cloud_runs.c.run_id)
        alive = {*(each.value for each in ALIVE), "lost"}

        def read(db: Connection) -> list[CloudRow]:
            return [_row(each) for each in db.execute(query).mappings()
                    if Phase(each["phase"]) not in ENDED or (each["state"] in alive and each["where"] != HERE)]

        return self._book.read(read)

    def move(self, before: CloudRow, after: CloudRow, evidence: str = "") -> CloudRow | None:
        """Write `after` in place of `before`, with an event when the phase or the attempt is another; None when it was changed meanwhile.

        The wish and the lease are not touched: they have writes of their own.
        """
        def write(db: Connection) -> bool:
            done = db.execute(update(cloud_runs).where(
                cloud_runs.c.run_id == before.run_id, cloud_runs.c.phase == before.phase.value, cloud_runs.c.attempt == before.attempt,
                cloud_runs.c.changed_at == before.changed_at).values(**_values(after))).rowcount
            if done and (before.phase, before.attempt) != (after.phase, after.attempt):
                _event(db, after, before.phase.value, evidence)
            return bool(done)

        fault.point(f"cloud.{after.phase}.before")
        done = self._book.write(write)
        fault.point(f"cloud.{after.phase}.after")
        return self.get(before.run_id) if done else None

    def wish(self, run_id: str, wish: CloudWish) -> CloudRow | None:
        """Say what shall become of a run. A stop stays one."""
        def write(db: Connection) -> None:
            found = db.execute(select(cloud_runs.c.wish).where(cloud_runs.c.run_id == run_id)).scalar()
            if found is not None and not CloudWish.read(found).stops:
                db.execute(update(cloud_runs).where(cloud_runs.c.run_id == run_id).values(wish=wish.text()))

        fault.point("cloud.wish.before")
        self._book.write(write)
        fault.point("cloud.wish.after")
        return self.get(run_id)

    def again(self, before: CloudRow, after: CloudRow) -> CloudRow | None:
        """Let an ended run begin its next attempt under another approval; None when it was changed meanwhile."""
        def write(db: Connection) -> bool:
            done = db.execute(update(cloud_runs).where(
                cloud_runs.c.run_id == before.run_id, cloud_runs.c.changed_at == before.changed_at,
            ).values(**_values(after), wish=after.wish.text(), settled=0)).rowcount
            if done:
                _event(db, after, before.phase.value, "resumed")
            return bool(done)

        fault.point("cloud.again.before")
        done = self._book.write(write)
        fault.point("cloud.again.after")
        return self.get(before.run_id) if done else None

    def lease(self, run_id: str) -> bool:
        """Whether this process may act on a run now, for two minutes; ask again to keep it. The lease of a dead process is over."""
        until = now_text(_now() + timedelta(seconds=LEASE_S))

        def write(db: Connection) -> bool:
            mine = cloud_runs.c.run_id == run_id
            held = db.execute(select(cloud_runs.c.lease_by, cloud_runs.c.lease_until).where(mine)).first()
            if held is None or (held.lease_by != self._me and held.lease_until >= now_text() and _lives(held.lease_by)):
                return False
            db.execute(update(cloud_runs).where(mine).values(lease_by=self._me, lease_until=until))
            return True

        return self._book.write(write)

    def release(self, run_id: str) -> None:
        """Give the lease back."""
        mine = (cloud_runs.c.run_id == run_id, cloud_runs.c.lease_by == self._me)
        self._book.write(lambda db: db.execute(update(cloud_runs).where(*mine).values(lease_by="", lease_until="")) and None)

    def settlements(self) -> list[Settlement]:
        """What ended runs have cost, until the ledger has it; only once the table of runs has their end, too."""
        rows, pending = self.rows(), {row.run_id for row in self.unfinished()}
        found = [Settlement(*one) for row in rows for one in row.seen.owed]
        found += [settlement(row) for row in rows if row.ended and not row.settled and row.run_id not in pending]
        done = {each.call_id for each in found if self._book.read(lambda db, each=each: ledger.is_settled(db, each.call_id))}
        for call_id in done:
            self._note_settled(call_id, rows)
        return [each for each in found if each.call_id not in done]

    def _note_settled(self, call_id: str, rows: list[CloudRow]) -> None:
        for row in rows:
            if any(one[0] == call_id for one in row.seen.owed):
                self.move(row, row.remembering(owed=tuple(one for one in row.seen.owed if one[0] != call_id)))
        mine = (cloud_runs.c.call_id == call_id, cloud_runs.c.phase.in_([each.value for each in ENDED]))
        self._book.write(lambda db: db.execute(update(cloud_runs).where(*mine).values(settled=1)) and None)

    def accruing(self, now: datetime) -> list[tuple[str, str, int]]:
        """Run, call and micro-units of what costs money now, or has cost some that is not settled."""
        return [(row.run_id, row.call_id, row.accrued_micros(now)) for row in self.rows() if not row.settled and row.seen.times]

    def events(self, run_id: str) -> list[tuple[str, int, str, str, str]]:
        """The changes of phase: at, attempt, from, to, evidence; oldest first."""
        query = select(cloud_run_events).where(cloud_run_events.c.run_id == run_id).order_by(cloud_run_events.c.id)
        return self._book.read(lambda db: [(r.at, r.attempt, r.from_phase, r.to_phase, r.evidence) for r in db.execute(query)])


def settlement(row: CloudRow) -> Settlement:
    """What an ended run has cost by the clock."""
    spans = [span for span in row.seen.times.values() if span[0]]
    if not spans:
        return Settlement(row.call_id, 0, "nothing ran")
    ended = row.ended_at or max((at for _, end in spans if (at := moment(end))), default=_now())
    seconds = sum(((moment(end) or ended) - (moment(begun) or ended)).total_seconds() for begun, end in spans)
    return Settlement(row.call_id, row.accrued_micros(ended), f"{row.plan.per_second} USD a second × {seconds:.0f} s by the clock; "
                      "Azure's bill follows in days")


def _values(row: CloudRow) -> dict[str, Any]:
    return {
        "attempt": row.attempt, "call_id": row.call_id, "region": row.region, "phase": row.phase.value, "execution": row.execution,
        "plan_json": json.dumps(row.plan.as_json()), "seen_json": json.dumps(row.seen.as_json()), "expires_at": stamp(row.expires_at),
        "requested_at": stamp(row.requested_at) or None, "started_at": stamp(row.started_at) or None,
        "ended_at": stamp(row.ended_at) or None, "changed_at": f"{now_text()} {secrets.token_hex(3)}",
    }


def _row(found: RowMapping) -> CloudRow:
    expires = moment(found["expires_at"])
    assert expires is not None
    return CloudRow(
        found["run_id"], found["attempt"], found["call_id"], found["region"], CloudPlan.read(json.loads(found["plan_json"])), expires,
        Phase(found["phase"]), CloudWish.read(found["wish"]), found["execution"], Memory.read(json.loads(found["seen_json"])),
        moment(found["requested_at"]), moment(found["started_at"]), moment(found["ended_at"]), bool(found["settled"]), found["changed_at"],
    )


def _event(db: Connection, row: CloudRow, before: str, evidence: str) -> None:
    db.execute(cloud_run_events.insert().values(
        run_id=row.run_id, attempt=row.attempt, at=now_text(), from_phase=before, to_phase=row.phase.value, evidence=evidence[:500]))


def _lives(holder: str) -> bool:
    """Whether the process that took a lease still runs; one that cannot be made out counts as alive until its time is over."""
    try:
        found = read_identity(json.loads(holder))
    except (ValueError, AttributeError):
        return bool(holder)
    return found is None or is_alive(found)


def _now() -> datetime:
    found = moment(now_text())
    assert found is not None
    return found
