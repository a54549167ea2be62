"""What became of a call: one audit outcome for one intent, with the call, the ledger and the card in the same commit."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from policies import ledger
from policies.approvals import Approvals
from policies.audit.log import AuditLog
from policies.book import now_text
from policies.calls import Draft, clean, fingerprint, finish_call, get_call
from policies.policy import Policy
from policies.tool import Recall, Result, ToolFailed
from policies.verdict import Answer, ApprovalView

_LOOK = "Look at its target before asking again."


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an effect, as the log and the person see it."""

    status: Literal["ok", "error", "timeout", "unknown", "not_started"]
    answer: Answer
    error_class: str | None = None
    keeps_money: bool = False
    """The reservation stays open: the effect goes on, or nobody knows whether it does."""


def done(draft: Draft, result: Result) -> Outcome:
    """The tool returned. Raises TypeError when what it returned is no JSON."""
    answer = Answer("done", draft.tool, draft.call_id, clean(result.result), clean(result.for_brain))
    return Outcome("ok", answer, keeps_money=True)


def failed(draft: Draft, error: ToolFailed) -> Outcome:
    """The tool says that it could not do it."""
    return Outcome("error", tool_failed(draft, error), error.kind)


def tool_failed(draft: Draft, error: ToolFailed) -> Answer:
    """The answer to a call whose tool said no; kind `refused` is a refusal, all others a failure."""
    return draft.no(f"{error.what}: {error.because}", error.try_next, error.kind, "refused" if error.kind == "refused" else "failed")


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
        if held and not outcome.keeps_money:
            ledger.release(conn, call_id=draft.call_id, person=draft.caller.person, basis=outcome.status, now=now)
        run = answer.result.get("run_id")
        record = draft.record(
            "outcome", outcome.status, status=outcome.status, result_hash=digest, result_size=size, error_class=outcome.error_class,
            intent_seq=row.intent_seq, approval_id=row.approval_id, policy_hash=self.policy.hash, reserved=held or None,
        )
        self.log.append(conn, replace(record, run_id=run) if isinstance(run, str) else record)
        text = "ok" if outcome.status == "ok" else f"{outcome.status.replace('_', ' ')}: {answer.reason}"
        return self.approvals.set_outcome(conn, row.approval_id, text)
