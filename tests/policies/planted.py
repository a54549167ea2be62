"""Three bugs that the state machine has to find; each takes the place of a right part while its test runs."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from policies import ledger
from policies.approvals import Approvals, Step, Word
from policies.book import now_text
from policies.calls import caller_of
from policies.people import Caller
from policies.tables import approvals

_decide, _settle = Approvals.decide, ledger.settle


def settle_quietly(conn: Connection, *, call_id: str, person: str, actual: int, basis: str, now: datetime) -> int:
    """Books no more than was reserved: what a bill is above it is not counted."""
    held = ledger.used(conn, call_id=call_id).reserved
    return _settle(conn, call_id=call_id, person=person, actual=min(actual, held), basis=basis, now=now)


def consume_twice(self: Approvals, conn: Connection, row: Row[Any], now: datetime) -> bool:
    """Looks at nothing but the digest: a yes that was used may be used again."""
    conn.execute(approvals.update().where(approvals.c.id == row.id, approvals.c.digest == row.digest).values(state="consumed"))
    self.log.append(conn, self._record(conn, row, "consumed", caller_of(row)))  # pyright: ignore[reportPrivateUsage]
    return True


def decide_late(self: Approvals, conn: Connection, approval_id: str, word: Word, caller: Caller, why: str, now: datetime) -> Step:
    """Decides as if it were the moment after the question: what has expired is approved all the same."""
    row = self.find(conn, approval_id)
    if row is not None and row.state == "pending" and now_text(now) >= row.expires_at:
        conn.execute(approvals.update().where(approvals.c.id == approval_id).values(expires_at=now_text(now + timedelta(hours=1))))
        step = _decide(self, conn, approval_id, word, caller, why, now)
        conn.execute(approvals.update().where(approvals.c.id == approval_id).values(expires_at=row.expires_at))
        return step
    return _decide(self, conn, approval_id, word, caller, why, now)
