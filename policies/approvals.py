"""Approvals as rows of the book: asked, decided, consumed once; every change of state is an audit record.

All functions work inside the caller's transaction, so that a state, its audit record and what follows from it are
one commit. States: pending → approved → consumed; or denied, withdrawn, expired, revoked, superseded.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, select

from policies import glass
from policies.audit.log import AuditLog
from policies.audit.record import Record
from policies.book import now_text
from policies.calls import Draft, caller_of, cost_fields, finish_call, insert_call, run_of
from policies.card import show
from policies.consent import refusal_to_approve, refusal_to_decide, refusal_to_withdraw, standing_yes
from policies.people import SYSTEM, Caller
from policies.policy import Policy
from policies.proposal import Effect
from policies.redact import visible
from policies.tables import approvals, decisions
from policies.tool import ToolFailed
from policies.verdict import Answer, ApprovalView, Ask

OPEN = ("pending", "approved")
End = Literal["denied", "withdrawn", "expired", "revoked", "superseded"]
Word = Literal["approve", "deny", "break_glass"]
"""What one person may say: yes, no, or as an owner alone, with a reason, what needs others."""


class TooMany(Exception):
    """The person already has as many waiting approvals as the limits allow."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one decision did to an approval."""

    ok: bool
    view: ApprovalView
    message: str
    execute: bool = False


@dataclass(frozen=True, slots=True)
class Approvals:
    """The state machine of approvals."""

    log: AuditLog
    policy: Policy

    def find(self, conn: Connection, approval_id: str) -> Row[Any] | None:
        """The row, or None."""
        return conn.execute(select(approvals).where(approvals.c.id == approval_id)).one_or_none()

    def view(self, conn: Connection, approval_id: str | None) -> ApprovalView | None:
        """The view, or None."""
        row = None if approval_id is None else self.find(conn, approval_id)
        return None if row is None else show(conn, row)

    def waiting(self, conn: Connection, now: datetime, thread: str | None = None) -> tuple[ApprovalView, ...]:
        """Every approval that waits for a person, oldest first."""
        wanted = select(approvals).where(approvals.c.state == "pending", approvals.c.expires_at > now_text(now))
        if thread is not None:
            wanted = wanted.where(approvals.c.thread == thread)
        return tuple(show(conn, row) for row in conn.execute(wanted.order_by(approvals.c.created_at, approvals.c.id)))

    def ask(self, conn: Connection, draft: Draft, ask: Ask, now: datetime) -> tuple[ApprovalView, tuple[ApprovalView, ...]]:
        """Write a waiting approval and its call; returns it and those it supersedes. Raises TooMany."""
        asked, limits = draft.caller.person, self.policy.limits.approval
        waits = (approvals.c.state == "pending", approvals.c.requester == asked, approvals.c.expires_at > now_text(now))
        mine = list(conn.execute(select(approvals).where(*waits)))
        supersedes = draft.proposal["supersedes"]
        older = [row for row in mine if supersedes and row.tool == draft.tool and row.supersedes == supersedes]
        if len(mine) - len(older) >= limits.max_pending:
            raise TooMany(f"{len(mine)} approvals of {asked} already wait; at most {limits.max_pending} may.")
        approval_id = self._new_id(conn)
        gone = tuple(self.end(conn, row, "superseded", draft.caller, now, f"Replaced by {approval_id}.") for row in older)
        heavy = set(draft.effects) & {Effect.SPEND, Effect.EXPOSE, Effect.DESTROY}
        expires = now_text(now + timedelta(hours=limits.other_hours if heavy else limits.local_hours))
        insert_call(conn, draft, "waiting", now_text(now), approval_id=approval_id)
        conn.execute(approvals.insert().values(
            id=approval_id, call_id=draft.call_id, state="pending", tool=draft.tool, tool_version=draft.version, requester=asked,
            caller_json=json.dumps(asdict(draft.caller)), thread=draft.caller.thread, args_json=json.dumps(draft.args),
            proposal_json=json.dumps(draft.proposal), digest=draft.digest, policy_hash=self.policy.hash, reason=ask.reason,
            quorum=ask.quorum, supersedes=supersedes, created_at=now_text(now), expires_at=expires,
        ))
        row = self._must(conn, approval_id)
        record = self._record(conn, row, "requested", draft.caller)
        self.log.append(conn, replace(record, decision="ask", rules=ask.rules, args=draft.args))
        return show(conn, row), gone

    def decide(self, conn: Connection, approval_id: str, word: Word, caller: Caller, why: str, now: datetime) -> Step:
        """One person's word. Everything but id and word is read from the book. Raises ToolFailed on an unknown id."""
        row = self._wanted(conn, approval_id)
        if row.state == "pending" and now_text(now) >= row.expires_at:
            return Step(False, self.end(conn, row, "expired", caller, now, "Nobody decided in time."), "It has expired. Ask again.")
        refusal = self._refusal(conn, row, word, caller, why)
        if refusal:
            record = self._record(conn, row, "refused", caller)
            self.log.append(conn, replace(record, decision="deny", status="denied", detail={"reason": refusal, "answer": word}))
            return Step(False, show(conn, row), refusal)
        if row.state == "approved" and word != "deny" and now_text(now) < (row.execute_by or ""):
            return Step(True, show(conn, row), "Approved; trying again to start it.", execute=True)
        if row.state != "pending":
            return Step(False, show(conn, row), _already(show(conn, row)))
        if word == "deny":
            self._say(conn, row, caller, word, why, now)
            view = self.end(conn, row, "denied", caller, now, why)
            stop = self._stop_asking(conn, row, caller, now)
            return Step(True, view, f"Denied. {stop}".strip())
        if word == "approve" and self._has_said(conn, row, caller):
            return Step(False, show(conn, row), f"{caller.person} has already said yes; {row.quorum} people must.")
        self._say(conn, row, caller, word, why, now)
        waited = {"waited_ms": int((now - datetime.fromisoformat(row.created_at)).total_seconds() * 1000)}
        if word == "break_glass":
            loud = {**waited, "broke_glass": caller.person, "reason": why, "quorum": row.quorum}
            self.log.append(conn, replace(self._record(conn, row, "break_glass", caller), detail=loud))
            return self._approved(conn, row, f"{caller.person} broke the glass and approved it alone.", why, now)
        said = len(standing_yes(conn, row, self.policy))
        self.log.append(conn, replace(self._record(conn, row, "granted", caller), detail={**waited, "yes": said}))
        if said < row.quorum:
            return Step(True, show(conn, row), f"Approved by {caller.person}; {row.quorum - said} more must say yes.")
        return self._approved(conn, row, f"Approved by {caller.person}.", why, now)

    def _refusal(self, conn: Connection, row: Row[Any], word: Word, caller: Caller, why: str) -> str:
        match word:
            case "approve":
                return refusal_to_approve(conn, row, caller, self.policy)
            case "deny":
                return refusal_to_decide(conn, caller, self.policy)
            case "break_glass":
                return refusal_to_decide(conn, caller, self.policy) or glass.refusal_to_break(conn, row, caller, why, self.policy)

    def _approved(self, conn: Connection, row: Row[Any], message: str, why: str, now: datetime) -> Step:
        execute_by = now_text(now + timedelta(minutes=self.policy.limits.approval.execution_minutes))
        conn.execute(approvals.update().where(approvals.c.id == row.id, approvals.c.state == "pending").values(
            state="approved", decided_at=now_text(now), execute_by=execute_by, why=why,
        ))
        return Step(True, show(conn, self._must(conn, row.id)), message, execute=True)

    def batch(self, conn: Connection, ids: Sequence[str], word: Word, caller: Caller) -> dict[str, str]:
        """Record that one person decides several at once, with every digest; returns id → digest. Raises ToolFailed on an unknown id."""
        found = {row.id: str(row.digest) for row in (self._wanted(conn, approval_id) for approval_id in ids)}
        detail = {"answer": word, "approvals": list(found), "digests": list(found.values())}
        self.log.append(conn, Record("approval", "batch", caller, policy_hash=self.policy.hash, detail=detail))
        return found

    def withdraw(self, conn: Connection, approval_id: str, caller: Caller, now: datetime) -> Step:
        """Take back a request (its requester) or a yes (anybody who may decide). Raises ToolFailed on an unknown id."""
        row = self._wanted(conn, approval_id)
        refusal = refusal_to_withdraw(conn, row, caller, self.policy)
        if refusal:
            self.log.append(conn, replace(self._record(conn, row, "refused", caller), decision="deny", detail={"answer": "withdraw"}))
            return Step(False, show(conn, row), refusal)
        if row.state not in OPEN:
            return Step(False, show(conn, row), _already(show(conn, row)))
        state: End = "withdrawn" if row.state == "pending" else "revoked"
        return Step(True, self.end(conn, row, state, caller, now, f"Taken back by {caller.person}."), "Taken back; nothing was done.")

    def consume(self, conn: Connection, row: Row[Any], now: datetime) -> bool:
        """The one compare-and-set: approved, this digest, this policy, in time. False when anything differs."""
        done = conn.execute(approvals.update().where(
            approvals.c.id == row.id, approvals.c.state == "approved", approvals.c.digest == row.digest,
            approvals.c.policy_hash == self.policy.hash, approvals.c.execute_by > now_text(now),
        ).values(state="consumed"))
        if done.rowcount != 1:
            return False
        self.log.append(conn, self._record(conn, row, "consumed", caller_of(row)))
        return True

    def end(self, conn: Connection, row: Row[Any], state: End, caller: Caller, now: datetime, why: str) -> ApprovalView:
        """Close an open approval without doing anything; its call is answered as refused."""
        done = conn.execute(approvals.update().where(approvals.c.id == row.id, approvals.c.state.in_(OPEN)).values(
            state=state, decided_at=now_text(now), why=why,
        ))
        if done.rowcount == 1:
            self.log.append(conn, replace(self._record(conn, row, state, caller), detail={"reason": why}))
            who = f" by {caller.person}" if state == "denied" else ""
            reason = f"The approval {row.id} was {state}{who}{': ' + why if why else '.'}"
            remedy = "" if state == "superseded" else "Ask again if it is still wanted."
            answer = Answer("refused", row.tool, row.call_id, reason=reason, remedy=remedy, for_brain={"approval": state})
            finish_call(conn, answer, now_text(now), self.policy.limits.calls.result_bytes)
        return show(conn, self._must(conn, row.id))

    def expire(self, conn: Connection, now: datetime) -> list[ApprovalView]:
        """Close whatever nobody decided, or nobody could start, in time."""
        moment, ended = now_text(now), []
        for row in conn.execute(select(approvals).where(approvals.c.state.in_(OPEN))).all():
            if (row.state == "pending" and row.expires_at <= moment) or (row.state == "approved" and (row.execute_by or "") <= moment):
                why = "Nobody decided in time." if row.state == "pending" else "It could not be started in time after the approval."
                ended.append(self.end(conn, row, "expired", Caller(SYSTEM, "system"), now, why))
        return ended

    def void(self, conn: Connection, now: datetime, *, all_open: bool) -> list[ApprovalView]:
        """Revoke open approvals given under another policy, or all of them when the policy changed on disk."""
        rows = conn.execute(select(approvals).where(approvals.c.state.in_(OPEN))).all()
        gone = [row for row in rows if all_open or row.policy_hash != self.policy.hash]
        why = "The policy has changed since it was asked for."
        return [self.end(conn, row, "revoked", Caller(SYSTEM, "system"), now, why) for row in gone]

    def not_now(self, conn: Connection, row: Row[Any], reason: str, now: datetime, *, void: bool) -> ApprovalView:
        """An approved call could not start: revoke the yes when it no longer holds, else note why and leave it to be tried again."""
        found = self._must(conn, row.id)
        if found.state != "approved":
            return show(conn, found)
        if void:
            return self.end(conn, found, "revoked", Caller(SYSTEM, "system"), now, reason)
        self.log.append(conn, replace(self._record(conn, found, "not_started", Caller(SYSTEM, "system")), detail={"reason": reason}))
        conn.execute(approvals.update().where(approvals.c.id == row.id).values(outcome=f"not started: {reason}"))
        return show(conn, self._must(conn, row.id))

    def approvers(self, conn: Connection, row: Row[Any]) -> tuple[str, ...]:
        """Everybody whose yes to this stands now, by id."""
        return tuple(sorted(standing_yes(conn, row, self.policy) | glass.who_broke_it(conn, row, self.policy)))

    def approved(self, conn: Connection) -> list[ApprovalView]:
        """Approvals that were given and not used yet."""
        return [show(conn, row) for row in conn.execute(select(approvals).where(approvals.c.state == "approved")).all()]

    def proposal(self, conn: Connection, approval_id: str | None) -> dict[str, Any]:
        """What an approval was asked for; empty for a call that needed none."""
        row = None if approval_id is None else self.find(conn, approval_id)
        return {} if row is None else json.loads(row.proposal_json)

    def set_outcome(self, conn: Connection, approval_id: str | None, text: str) -> ApprovalView | None:
        """Note on the card what became of the performed call."""
        if approval_id is None:
            return None
        conn.execute(approvals.update().where(approvals.c.id == approval_id).values(outcome=text))
        return self.view(conn, approval_id)

    def _stop_asking(self, conn: Connection, row: Row[Any], caller: Caller, now: datetime) -> str:
        limits = self.policy.limits.approval
        since = now_text(now - timedelta(minutes=limits.denied_minutes))
        count = conn.execute(select(func.count()).select_from(approvals).where(
            approvals.c.requester == row.requester, approvals.c.state == "denied", approvals.c.decided_at >= since,
        )).scalar_one()
        if count < limits.denied_alarm:
            return ""
        self.log.append(conn, Record("admin", "denied_repeatedly", caller, detail={"requester": row.requester, "denied": count}))
        who = row.requester
        return f"{count} requests of {who} were denied within {limits.denied_minutes} minutes: {who} should stop asking."

    def _has_said(self, conn: Connection, row: Row[Any], caller: Caller) -> bool:
        mine = (decisions.c.approval_id == row.id, decisions.c.person == caller.person)
        return conn.execute(select(decisions.c.id).where(*mine)).first() is not None

    def _say(self, conn: Connection, row: Row[Any], caller: Caller, answer: str, why: str, now: datetime) -> None:
        conn.execute(decisions.delete().where(decisions.c.approval_id == row.id, decisions.c.person == caller.person))
        conn.execute(decisions.insert().values(
            approval_id=row.id, person=caller.person, via=caller.via, auth=caller.auth, answer=answer, why=why, at=now_text(now),
        ))

    def _record(self, conn: Connection, row: Row[Any], event: str, caller: Caller) -> Record:
        proposal: Mapping[str, Any] = json.loads(row.proposal_json)
        base = Record(
            "approval", event, caller, tool=row.tool, tool_version=row.tool_version, call_id=row.call_id,
            effects=tuple(proposal["effects"]), action_digest=row.digest, policy_hash=row.policy_hash, approval_id=row.id,
            approvers=self.approvers(conn, row), expiry=row.execute_by or row.expires_at, quorum=row.quorum,
            run_id=run_of(proposal["target"]),
        )
        return replace(base, **cost_fields(proposal))

    def _wanted(self, conn: Connection, approval_id: str) -> Row[Any]:
        row = self.find(conn, approval_id)
        if row is None:
            what, remedy = f"Find the approval {visible(approval_id)[:20]}", "List them with `python -m ui approvals`."
            raise ToolFailed(what, "no approval has this id.", remedy, kind="unknown")
        return row

    def _must(self, conn: Connection, approval_id: str) -> Row[Any]:
        return conn.execute(select(approvals).where(approvals.c.id == approval_id)).one()

    def _new_id(self, conn: Connection) -> str:
        while True:
            made = secrets.token_hex(4)
            if self.find(conn, made) is None:
                return made


def _already(view: ApprovalView) -> str:
    who = f" by {', '.join(view.decided_by)}" if view.decided_by else ""
    word = {"consumed": "approved and performed", "approved": "approved"}.get(view.status, view.status)
    return f"Already {word}{who}."
