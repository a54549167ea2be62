"""The ledger: reserve a ceiling before an effect, settle the actual amount after it, release the rest.

Rows only add up; reserved and spent are derived from them. A `reserve` stays open until one `release` of the same
amount closes it; `settle` is money spent.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, select

from policies.book import now_text
from policies.limits import Limits, dollars, micros
from policies.tables import ledger

SETTLED = "settled"
"""The basis of the release that closes a settled reservation."""


class OverBudget(Exception):
    """A reservation would pass a cap; nothing was written."""


@dataclass(frozen=True, slots=True)
class Used:
    """Micro-units that are reserved and still open, and that are spent."""

    reserved: int
    settled: int

    @property
    def total(self) -> int:
        """What counts against a cap."""
        return self.reserved + self.settled


def used(conn: Connection, *, person: str | None = None, call_id: str | None = None, since: str = "") -> Used:
    """Sums over the ledger; `since` is the least `at`. An open reservation counts whenever it was made."""
    wanted = {"since": since} | ({} if person is None else {"who": person}) | ({} if call_id is None else {"call": call_id})
    sums: Any = conn.execute(_sums(person is not None, call_id is not None), wanted).one()
    return Used(int(sums[0]), int(sums[1]))


@cache
def _sums(by_person: bool, by_call: bool) -> Any:
    kind, amount = ledger.c.kind, ledger.c.micros
    held = case((kind == "reserve", amount), (kind == "release", -amount), else_=0)
    spent = case(((kind == "settle") & (ledger.c.at >= bindparam("since")), amount), else_=0)
    wanted = select(func.coalesce(func.sum(held), 0), func.coalesce(func.sum(spent), 0))
    if by_person:
        wanted = wanted.where(ledger.c.person == bindparam("who"))
    return wanted.where(ledger.c.call_id == bindparam("call")) if by_call else wanted


def room(conn: Connection, limits: Limits, person: str, now: datetime) -> int:
    """The least that any budget still leaves for one more call of this person, in micro-units, never below zero."""
    return max(0, min(left for _, left in _left(conn, limits, person, now)))


def reserve(conn: Connection, limits: Limits, *, call_id: str, person: str, ceiling: int, basis: str, now: datetime) -> None:
    """Reserve a ceiling in the open transaction. Nothing to reserve is fine; a cap that it would pass raises OverBudget."""
    if ceiling < 0:
        raise ValueError("a ceiling is never negative")
    if ceiling == 0:
        return
    if not limits.budget.spending:
        raise OverBudget("Spending is switched off.")
    for name, left in _left(conn, limits, person, now):
        if ceiling > left:
            raise OverBudget(f"It could cost {dollars(ceiling)} USD, and {name} leaves {dollars(max(0, left))} USD.")
    _add(conn, "reserve", call_id, person, ceiling, basis, now)
    over = [name for name, left in _left(conn, limits, person, now, besides_run=True) if left < 0]
    if over:
        raise OverBudget(f"{over[0]} would be passed.")


def settle(conn: Connection, *, call_id: str, person: str, actual: int, basis: str, now: datetime) -> int:
    """Book what a call really cost and close its reservation; returns the overrun above it (an alarm), which still counts."""
    if actual < 0:
        raise ValueError("money spent is never negative")
    held = used(conn, call_id=call_id).reserved
    if actual:
        _add(conn, "settle", call_id, person, actual, basis, now)
    _add(conn, "release", call_id, person, held, SETTLED, now)
    return max(0, actual - held)


def release(conn: Connection, *, call_id: str, person: str, basis: str, now: datetime) -> int:
    """Close a reservation whose effect did not start; returns what was freed."""
    held = used(conn, call_id=call_id).reserved
    if held:
        _add(conn, "release", call_id, person, held, basis, now)
    return held


def is_settled(conn: Connection, call_id: str) -> bool:
    """Whether the money of a call was settled: that happens once."""
    return conn.execute(select(ledger.c.id).where(ledger.c.call_id == call_id, ledger.c.basis == SETTLED).limit(1)).first() is not None


def held_before(conn: Connection, before: str) -> list[str]:
    """Call ids whose reservation, made before this time, is still open; oldest first."""
    amount = case((ledger.c.kind == "reserve", ledger.c.micros), (ledger.c.kind == "release", -ledger.c.micros), else_=0)
    wanted = select(ledger.c.call_id).group_by(ledger.c.call_id).having(func.sum(amount) > 0, func.min(ledger.c.at) <= before)
    return list(conn.execute(wanted.order_by(func.min(ledger.c.id))).scalars())


def budgets(conn: Connection, limits: Limits, person: str, now: datetime) -> tuple[tuple[str, int, Used], ...]:
    """Name, cap and use of the two budgets that fill up: the person's UTC day, and everybody's UTC month."""
    now = now.astimezone(UTC)
    day = now_text(now.replace(hour=0, minute=0, second=0, microsecond=0))
    month = now_text(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    budget = limits.budget
    return (
        ("the person's budget of the day", micros(budget.per_person_day_usd), used(conn, person=person, since=day)),
        ("the team's budget of the month", micros(budget.team_month_usd), used(conn, since=month)),
    )


def _left(conn: Connection, limits: Limits, person: str, now: datetime, *, besides_run: bool = False) -> list[tuple[str, int]]:
    left = [(name, cap - spent.total) for name, cap, spent in budgets(conn, limits, person, now)]
    return left if besides_run else [("the budget of one run", micros(limits.budget.per_run_usd)), *left]


def _add(conn: Connection, kind: str, call_id: str, person: str, amount: int, basis: str, now: datetime) -> None:
    conn.execute(ledger.insert().values(
        at=now_text(now), kind=kind, call_id=call_id, person=person, micros=amount, currency="USD", basis=basis,
    ))
