"""What became of a call: one audit outcome for one intent, with the call, the ledger and the card in the same commit."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, select

from policies import ledger, orders
from policies.approvals import Approvals
from policies.audit.log import AuditLog
from policies.audit.record import Record
from policies.book import now_text
from policies.calls import Draft, clean, fingerprint, finish_call, get_call
from policies.people import SYSTEM, Caller
from policies.policy import Policy
from policies.tables import calls
from policies.tool import Recall, Result, ToolFailed
from policies.verdict import Answer, ApprovalView

LEASE = timedelta(minutes=2)
"""How long the money of a call that seems not to have begun is held."""
_LOOK = "Look at its target before asking again."


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an effect, as the log and the person see it."""

    status: Literal["ok", "error", "timeout", "unknown", "not_started"]
    answer: Answer
    error_class: str | None = None
    keeps_money: bool = False
    """The reservation stays open: the effect goes on, or nobody knows whether it does, or what it has cost is settled later."""
    over: bool = False
    """Nothing of it goes on, whatever becomes of its money: its standing orders are over."""


def done(draft: Draft, result: Result) -> Outcome:
    """The tool returned. Raises TypeError when what it returned is no JSON."""
    answer = Answer("done", draft.tool, draft.call_id, clean(result.result), clean(result.for_brain))
    return Outcome("ok", answer, keeps_money=True)


def failed(draft: Draft, error: ToolFailed) -> Outcome:
    """The tool says that it could not do it."""
    return Outcome("error", tool_failed(draft, error), error.kind, keeps_money=error.paid, over=True)


def tool_failed(draft: Draft, error: ToolFailed) -> Answer:
    """The answer to a call whose tool said no; kind `refused` is a refusal, all others a failure."""
    said = f"{error.what}: {error.because}"
    answer = draft.no(f"{said} {error.heard}".strip(), error.try_next, error.kind, "refused" if error.kind == "refused" else "failed")
    return replace(answer, for_brain={**answer.for_brain, "reason": said}) if error.heard else answer


def not_started(draft: Draft) -> Outcome:
    """After a crash, the tool says that it never began."""
    return Outcome("not_started", draft.no("Luthier was stopped before this call began.", "Ask again.", "not_started"))


def unknown(draft: Draft) -> Outcome:
    """After a crash, nobody can say whether it was done."""
    reason = "Luthier was stopped during this call, and nobody knows how far it came."
    return Outcome("unknown", draft.no(reason, _LOOK, "unknown"), keeps_money=True)


def timed_out(draft: Draft, seconds: float) -> Outcome:
    """The tool took too long; its thread may still be at work."""
    reason = f"It took longer than {seconds:g} s and may still be at work."
    return Outcome("timeout", draft.no(reason, _LOOK, "timeout"), "TimeoutError", keeps_money=True)


def recalled(draft: Draft, said: Result | Recall) -> Outcome:
    """The end of a call that a crash interrupted, by what its tool remembers."""
    if isinstance(said, Result):
        return done(draft, said)
    return not_started(draft) if said is Recall.NOT_STARTED else unknown(draft)


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling a call did, in micro-units."""

    actual: int
    freed: int
    overrun: int
    """How far it went above what was reserved."""
    again: bool = False
    """It had been settled before, and nothing was written."""


def lease_end(now: datetime) -> str:
    """Reservations made up to this time are older than their lease."""
    return now_text(now - LEASE)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Writes outcomes."""

    log: AuditLog
    policy: Policy
    approvals: Approvals

    def write(self, conn: Connection, draft: Draft, outcome: Outcome, now: datetime) -> ApprovalView | None:
        """Record the outcome unless the call has already ended; returns the new state of its approval's card, if it had one."""
        row = get_call(conn, draft.call_id)
        answer = outcome.answer
        if not finish_call(conn, answer, now_text(now), self.policy.limits.calls.result_bytes):
            return self.approvals.view(conn, row.approval_id)
        digest, size = fingerprint(answer.result) if outcome.status == "ok" else (None, None)
        held = ledger.used(conn, call_id=draft.call_id).reserved
        if outcome.status == "ok":
            orders.aim(conn, row.approval_id, answer.result, now)
        elif outcome.over or not outcome.keeps_money:
            # What a crash cut off may still be on its way: its money is held until the lease is over, and the tool is asked again.
            young = outcome.status == "not_started" and self._is_young(conn, draft.call_id, now)
            if held and not outcome.keeps_money and not young:
                ledger.release(conn, call_id=draft.call_id, person=draft.caller.person, basis=outcome.status, now=now)
            orders.drop(conn, row.approval_id, now)
        run = answer.result.get("run_id")
        record = draft.record(
            "outcome", outcome.status, status=outcome.status, result_hash=digest, result_size=size, error_class=outcome.error_class,
            intent_seq=row.intent_seq, approval_id=row.approval_id, policy_hash=self.policy.hash, reserved=held or None,
        )
        self.log.append(conn, replace(record, run_id=run) if isinstance(run, str) else record)
        text = "ok" if outcome.status == "ok" else f"{outcome.status.replace('_', ' ')}: {answer.reason}"
        return self.approvals.set_outcome(conn, row.approval_id, text)

    def _is_young(self, conn: Connection, call_id: str, now: datetime) -> bool:
        return call_id not in ledger.held_before(conn, lease_end(now))

    def unclear(self, conn: Connection, now: datetime) -> list[Row[Any]]:
        """Calls that ended unclear or not begun longer than a lease ago, and still hold money or orders without a target."""
        before = lease_end(now)
        ids = dict.fromkeys([*ledger.held_before(conn, before), *orders.unaimed(conn, before)])
        return [row for call_id in ids if (row := get_call(conn, call_id)).status == "failed"]

    def clear_up(self, conn: Connection, row: Row[Any], said: Result | Recall, now: datetime) -> None:
        """What the tool says by now about an unclear call: nothing began, so its money is free; or it did, so its orders have a target."""
        if said is Recall.NOT_STARTED:
            orders.drop(conn, row.approval_id, now)
            freed = ledger.release(conn, call_id=row.call_id, person=row.person, basis="not_started", now=now)
            if freed:
                self.log.append(conn, self._money(row, "released", reserved=freed))
        elif isinstance(said, Result):
            orders.aim(conn, row.approval_id, said.result, now)

    def settle(self, conn: Connection, call_id: str, actual: int, basis: str, now: datetime) -> Settled:
        """Book what a call really cost, once, and free the rest; an overrun counts, with an alarm. Raises ToolFailed on an unknown call."""
        row = conn.execute(select(calls).where(calls.c.call_id == call_id)).one_or_none()
        if row is None:
            raise ToolFailed("Settle the cost of a call", "there is no such call.", "Name a call of this book.", kind="unknown")
        held = ledger.used(conn, call_id=call_id)
        if ledger.is_settled(conn, call_id):
            return Settled(held.settled, 0, 0, again=True)
        over = ledger.settle(conn, call_id=call_id, person=row.person, actual=actual, basis=basis, now=now)
        record = self._money(row, "settled", reserved=held.reserved, actual=actual, price_source=basis[:120] or None)
        self.log.append(conn, record)
        if over:
            self.log.append(conn, replace(record, event="overrun", detail={"over_micros": over}))
        return Settled(actual, max(0, held.reserved - actual), over)

    def _money(self, row: Row[Any], event: str, **more: Any) -> Record:
        return Record(
            "admin", event, Caller(SYSTEM, "system"), tool=row.tool, tool_version=row.tool_version or None, call_id=row.call_id,
            approval_id=row.approval_id, policy_hash=self.policy.hash, currency="USD", **more,
        )
