"""Approvals as one person may see and decide them: their own, and everybody's for those whose role it is."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import Row, select

from agent.door import Door
from policies.consent import refusal_to_approve
from policies.people import SEES_ALL, Caller
from policies.tables import approvals, calls
from policies.tool import ToolFailed
from policies.verdict import Answer, ApprovalView, Decision

_WEB_THREAD = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ASKED_AGAIN = frozenset({"expired", "revoked"})


class Inbox:
    """What waits, for one person at a time; another's approval does not exist for whom it does not concern."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def waiting(self, caller: Caller) -> tuple[ApprovalView, ...]:
        """The approvals that wait and that the caller may see, oldest first."""
        return tuple(view for view in self._door.gateway.pending() if self._may_see(view, caller))

    def seen(self, approval_id: str, caller: Caller) -> ApprovalView | None:
        """One approval, or None when there is none that concerns the caller."""
        view = self._door.gateway.approval(approval_id)
        return view if view is not None and self._may_see(view, caller) else None

    def may_not(self, approval_id: str, caller: Caller) -> str:
        """Why the caller cannot say yes to an approval; empty when they can. The gateway judges it again at the click."""
        policy = self._door.gateway.policy

        def read(conn: Any) -> str:
            row = conn.execute(select(approvals).where(approvals.c.id == approval_id)).one_or_none()
            return "There is no such approval." if row is None else refusal_to_approve(conn, row, caller, policy)

        return self._door.book.read(read)

    async def decide_many(
        self, approval_ids: Sequence[str], answer: Literal["approve", "deny"], caller: Caller, why: str = ""
    ) -> Sequence[Decision]:
        """One yes or no for several approvals; each is judged, consumed and recorded on its own."""
        return await self._door.gateway.decide_many(tuple(approval_ids), answer, caller, why)

    async def ask_again(self, approval_id: str, caller: Caller) -> Answer:
        """Propose anew, with the same arguments, what expired, was made void, or could not begin. Raises ToolFailed.

        It is a new proposal: judged and priced from the start, with a digest of its own.
        """
        row = self._row(approval_id)
        if row is None or row.requester != caller.person:
            raise ToolFailed("Nothing was asked", "no approval of yours has this id.", "Say again what you want.")
        stuck = row.state == "approved" and row.outcome.startswith("not started")
        if row.state not in ASKED_AGAIN and not stuck:
            raise ToolFailed("Nothing was asked", f"the approval {row.id} is {row.state}.", "Say again what you want.")
        if stuck:  # the old yes must not start it a second time
            await self._door.gateway.withdraw(row.id, caller)
        key = f"again:{row.id}"
        return await self._door.gateway.call(row.tool, json.loads(row.args_json), replace(caller, thread=row.thread), key)

    def is_foreign(self, thread: str, caller: Caller) -> bool:
        """Whether a web conversation of this name is not the caller's: somebody else called the first tool in it, or it is a terminal's."""
        first = select(calls.c.person).where(calls.c.thread == thread).order_by(calls.c.created_at).limit(1)
        person = self._door.book.read(lambda conn: conn.execute(first).scalar_one_or_none())
        return person not in (None, caller.person) or not _WEB_THREAD.fullmatch(thread)

    def _may_see(self, view: ApprovalView, caller: Caller) -> bool:
        return view.requester == caller.person or self._door.people.role(caller.person) in SEES_ALL

    def _row(self, approval_id: str) -> Row[Any] | None:
        asked = select(approvals).where(approvals.c.id == approval_id)
        return self._door.book.read(lambda conn: conn.execute(asked).one_or_none())
