"""Standing orders: the stops that came with an approval, from its consumption until what it started has ended."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from policies.book import now_text
from policies.proposal import Proposal
from policies.tables import approvals, standing_orders

ENDED = "ended"
"""What the plan of a stop says, and is true, when there is nothing left to stop."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that one target may be stopped for: the stopping tool, its argument, and when or on what evidence."""

    tool: str
    argument: str
    target: str
    due: tuple[tuple[str, str | None], ...]
    """Kind of each order, and when it is due; None: when the stop's own proposal brings the evidence."""

    def is_due(self, evidence: Collection[str], now: datetime) -> bool:
        """Whether one of the orders holds now."""
        return any(kind in evidence if at is None else at <= now_text(now) for kind, at in self.due)


def place(conn: Connection, approval_id: str, proposal: Proposal, now: datetime) -> None:
    """Write the orders of an approval that is being consumed; they name no target before the outcome does."""
    for order in proposal.orders:
        due = None if order.due_s is None else now_text(now + timedelta(seconds=order.due_s))
        conn.execute(standing_orders.insert().values(
            approval_id=approval_id, tool=order.tool, target="", kind=order.kind, text=order.text, due_at=due, created_at=now_text(now),
        ))


def aim(conn: Connection, approval_id: str | None, result: Mapping[str, Any], now: datetime) -> None:
    """Complete the orders of an approval by the ids that its performed call gave back; older ones for the same target are over."""
    if approval_id is None:
        return
    for row, argument in _with_argument(conn, standing_orders.c.approval_id == approval_id, standing_orders.c.target == ""):
        targets = _named(result, argument)
        for target in targets:
            same = (standing_orders.c.tool == row.tool, standing_orders.c.target == target, standing_orders.c.approval_id != approval_id)
            conn.execute(standing_orders.update().where(*same, standing_orders.c.ended_at.is_(None)).values(ended_at=now_text(now)))
        for target in targets[1:]:
            conn.execute(standing_orders.insert().values(
                approval_id=approval_id, tool=row.tool, target=target, kind=row.kind, text=row.text, due_at=row.due_at,
                created_at=row.created_at,
            ))
        if targets:
            conn.execute(standing_orders.update().where(standing_orders.c.id == row.id).values(target=targets[0]))


def _named(result: Mapping[str, Any], argument: str) -> list[str]:
    """The ids that a result gives under the argument's name, and of several things at once under its plural."""
    several = result.get(f"{argument}s")
    found = [result.get(argument), *(several if isinstance(several, list | tuple) else ())]
    return list(dict.fromkeys(one for one in found if isinstance(one, str) and 0 < len(one) <= 200))


def drop(conn: Connection, approval_id: str | None, now: datetime) -> None:
    """The call of this approval began nothing: its orders are over."""
    if approval_id is None:
        return
    mine = (standing_orders.c.approval_id == approval_id, standing_orders.c.ended_at.is_(None))
    conn.execute(standing_orders.update().where(*mine).values(ended_at=now_text(now)))


def end(conn: Connection, tool: str, target: str, now: datetime) -> None:
    """The target has ended: every order to stop it is over."""
    mine = (standing_orders.c.tool == tool, standing_orders.c.target == target, standing_orders.c.ended_at.is_(None))
    conn.execute(standing_orders.update().where(*mine).values(ended_at=now_text(now)))


def standing(conn: Connection) -> list[Standing]:
    """What may be stopped under a standing order, each target once, in the order of their approvals."""
    found: dict[tuple[str, str], Standing] = {}
    for row, argument in _with_argument(conn, standing_orders.c.target != ""):
        known = found.get((row.tool, row.target))
        due = (*(known.due if known is not None else ()), (row.kind, row.due_at))
        found[row.tool, row.target] = Standing(row.tool, argument, row.target, due)
    return list(found.values())


def is_due(conn: Connection, tool: str, proposal: Proposal, now: datetime) -> bool:
    """Whether an approved order says that exactly this tool stops exactly this target now."""
    target = proposal.target.partition(":")[2]
    return any(one.is_due(proposal.evidence, now) for one in standing(conn) if target and (one.tool, one.target) == (tool, target))


def unaimed(conn: Connection, before: str) -> list[str]:
    """Call ids whose orders, written before this time, still name no target."""
    wanted = select(approvals.c.call_id).join(standing_orders, standing_orders.c.approval_id == approvals.c.id).where(
        standing_orders.c.target == "", standing_orders.c.ended_at.is_(None), standing_orders.c.created_at <= before)
    return list(conn.execute(wanted.order_by(standing_orders.c.id)).scalars())


def _with_argument(conn: Connection, *which: Any) -> list[tuple[Row[Any], str]]:
    """The open rows of consumed approvals, each with the name of the stopping tool's argument, as the approved proposal has it."""
    wanted = select(standing_orders, approvals.c.proposal_json).join(approvals, approvals.c.id == standing_orders.c.approval_id).where(
        *which, standing_orders.c.ended_at.is_(None), approvals.c.state == "consumed").order_by(standing_orders.c.id)
    found = []
    for row in conn.execute(wanted):
        named = {(one["tool"], one["kind"]): one["argument"] for one in json.loads(row.proposal_json).get("orders", ())}
        if (row.tool, row.kind) in named:
            found.append((row, str(named[row.tool, row.kind])))
    return found
