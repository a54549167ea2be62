"""What must be on disk before anything happens: decisions, intents, consumed approvals, policy loads.

All functions work inside the caller's transaction; if one raises, nothing may happen.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row

from policies import glass, ledger, orders
from policies.approvals import Approvals
from policies.audit.log import AuditLog
from policies.audit.record import Record
from policies.book import now_text
from policies.calls import Draft, caller_of, insert_call, start_call
from policies.consent import standing_yes
from policies.digest import action_digest, proposal_from_json, sha256_json
from policies.facts import known_facts
from policies.judge import Facts, effects_of, judge
from policies.outcome import Outcomes
from policies.people import SYSTEM, Caller, find_person
from policies.policy import Policy
from policies.proposal import Proposal, Unpriced
from policies.redact import redact, redact_value, visible
from policies.tables import policy_loads
from policies.verdict import Allow, Answer, ApprovalView, Ask, Deny

_ITSELF = Caller(SYSTEM, "system")


class NotNow(Exception):
    """An approved call may not start; `void` when the yes itself no longer holds."""

    def __init__(self, reason: str, remedy: str, *, void: bool) -> None:
        super().__init__(reason)
        self.reason, self.remedy, self.void = reason, remedy, void


@dataclass(frozen=True, slots=True)
class Intents:
    """Writes everything that precedes an effect."""

    environment: str
    policy: Policy
    log: AuditLog
    approvals: Approvals
    outcomes: Outcomes

    @classmethod
    def build(cls, home: str, policy: Policy, log: AuditLog) -> "Intents":
        """Everything that writes, under one policy."""
        approvals = Approvals(log, policy)
        return cls(home, policy, log, approvals, Outcomes(log, policy, approvals))

    def facts(self, conn: Connection, tool: str, proposal: Proposal, person: str, now: datetime, row: Row[Any] | None = None) -> Facts:
        """What the book knows at this moment about who asks, and with the approval's `row` about who said yes to exactly this."""
        known = known_facts(conn, self.policy.limits, proposal, person, now)
        if person == SYSTEM:
            return replace(known, order_due=orders.is_due(conn, tool, proposal, now))
        if row is None:
            return known
        broken = bool(glass.who_broke_it(conn, row, self.policy))
        return replace(known, yes=standing_yes(conn, row, self.policy), broken_glass=broken)

    def knows(self, conn: Connection, person: str) -> bool:
        """Whether a proposal of this person is worth making: an active person, or the system itself."""
        found = find_person(conn, person)
        return person == SYSTEM or (found is not None and found.active)

    def digest(self, tool: str, version: str, args: Mapping[str, Any], proposal: Mapping[str, Any], actor: str) -> str:
        """The action digest under the policy in force."""
        return action_digest(tool=tool, version=version, args=args, proposal=proposal, actor=actor,
                             environment=self.environment, policy=self.policy.hash)

    def allow(self, conn: Connection, draft: Draft, verdict: Allow, now: datetime) -> int:
        """The intent of a call that needs no yes; returns its number in the log."""
        record = draft.record("intent", "allowed", args=draft.args, policy_hash=self.policy.hash, decision="allow", rules=verdict.rules)
        seq = self.log.append(conn, record)
        insert_call(conn, draft, "running", now_text(now), intent_seq=seq)
        return seq

    def deny(
        self, conn: Connection, draft: Draft, answer: Answer, verdict: Deny | None, error: str, now: datetime, *, keep: bool = True,
    ) -> None:
        """The refusal of a call, and the answer that a repeat gets; `keep` is False when its key belongs to another call."""
        refused = answer.status == "refused"
        record = draft.record(
            "decision", "denied" if refused else "failed", args=draft.args, policy_hash=self.policy.hash, decision="deny",
            rules=verdict.rules if verdict else (), errors=verdict.errors if verdict else (), error_class=error or None,
            # What a model, an engine or a cloud said of it is for people alone, and then the brain's side has the reason without it.
            status="denied" if refused else "error", detail={"reason": answer.for_brain.get("reason", answer.reason)},
        )
        self.log.append(conn, record)
        if keep:
            insert_call(conn, draft, answer.status, now_text(now), answer=answer, limit=self.policy.limits.calls.result_bytes)

    def consume(self, conn: Connection, row: Row[Any], now: datetime) -> tuple[int, ApprovalView]:
        """Judge again, consume once, reserve the approved ceiling, write the intent: all or nothing. Raises NotNow."""
        kept = json.loads(row.proposal_json)
        proposal, caller = proposal_from_json(kept), caller_of(row)
        if row.policy_hash != self.policy.hash or self.policy.changed_on_disk():
            raise NotNow("The policy has changed since it was asked for.", "Ask again.", void=True)
        if self.digest(row.tool, row.tool_version, json.loads(row.args_json), kept, row.requester) != row.digest:
            remedy = "Ask again, and run `python -m ui audit verify`."
            raise NotNow("The recorded call is not the one that was approved.", remedy, void=True)
        ceiling = 0 if isinstance(proposal.cost, Unpriced) else proposal.cost.ceiling_micros
        verdict = judge(proposal, row.tool, caller, self.facts(conn, row.tool, proposal, row.requester, now, row), self.policy)
        match verdict:
            case Deny():
                raise NotNow(verdict.reason, verdict.remedy, void=False)
            case Ask():
                raise NotNow("Whoever said yes may no longer say it for this.", "Ask again.", void=True)
            case Allow():
                pass
        if not self.approvals.consume(conn, row, now):
            raise NotNow("It was already started, or its time is over.", "Look at its card.", void=False)
        try:
            ledger.reserve(conn, self.policy.limits, call_id=row.call_id, person=row.requester, ceiling=ceiling, basis=row.id, now=now)
        except ledger.OverBudget as over:
            remedy = "Wait for the next day or month, or ask the owner to raise [budget] in limits.toml."
            raise NotNow(str(over), remedy, void=False) from over
        record = draft_of(row, kept).record(
            "intent", "approved", args=json.loads(row.args_json), policy_hash=self.policy.hash, decision="allow", rules=verdict.rules,
            approval_id=row.id, approvers=self.approvals.approvers(conn, row), expiry=row.execute_by, quorum=row.quorum,
            reserved=ceiling or None, detail={"orders": [order.kind for order in proposal.orders]} if proposal.orders else {},
        )
        seq = self.log.append(conn, record)
        start_call(conn, row.call_id, seq)
        orders.place(conn, row.id, proposal, now)
        view = self.approvals.set_outcome(conn, row.id, "running")
        assert view is not None
        return seq, view

    def policy_loaded(self, conn: Connection, now: datetime, caller: Caller = _ITSELF) -> list[ApprovalView]:
        """Record which policy is in force, and who had it read; approvals given under another one are void."""
        policy = self.policy
        conn.execute(policy_loads.insert().values(at=now_text(now), hash=policy.hash, source=str(policy.source), alarm=policy.alarm))
        errors = (policy.alarm,) if policy.alarm else ()
        event = "alarm" if errors else "loaded"
        self.log.append(conn, Record("policy", event, caller, policy_hash=policy.hash, errors=errors))
        return self.approvals.void(conn, now, all_open=False)

    def policy_changed(self, conn: Connection, found: str, now: datetime) -> list[ApprovalView]:
        """The files changed while the program runs: an alarm, and every open approval is void."""
        detail = {"on_disk": found}
        record = Record("policy", "changed_on_disk", _ITSELF, policy_hash=self.policy.hash, detail=detail)
        self.log.append(conn, record)
        return self.approvals.void(conn, now, all_open=True)

    def policy_refused(self, conn: Connection, new: Policy, caller: Caller) -> None:
        """The files that somebody wanted to put in force are not valid: an alarm, and the old set stays."""
        detail = {"on_disk": new.hash}
        self.log.append(conn, Record("policy", "not_loaded", caller, policy_hash=self.policy.hash, errors=(new.alarm,), detail=detail))

    def note(self, kind: Literal["auth", "admin"], event: str, caller: Caller, detail: Mapping[str, Any]) -> Record:
        """A login, a link, a changed person, a stored secret's name: what is no call and still belongs into the log."""
        return Record(kind, event, caller, policy_hash=self.policy.hash, detail=detail)


def draft_of(row: Row[Any], proposal: Mapping[str, Any]) -> Draft:
    """The draft of a call again, from its own row or from that of its approval."""
    if proposal:
        effects = tuple(effect.value for effect in effects_of(proposal_from_json(proposal)))
    else:
        effects = tuple(filter(None, row.effects.split(",")))
    key, digest = getattr(row, "key", ""), getattr(row, "digest", None)
    return Draft(row.call_id, key, "", row.tool, caller_of(row), json.loads(row.args_json), row.tool_version, effects, proposal, digest)


def new_draft(call_id: str, tool: str, raw: Mapping[str, Any], caller: Caller, key: str) -> Draft:
    """A call as it comes in: its arguments redacted, and the digest by which a repeat is recognised."""
    kept = redact_value(raw) if isinstance(raw, Mapping) else {"arguments": redact_value(raw)}
    try:
        digest = sha256_json({"tool": tool, "args": kept})
    except ValueError:
        kept, digest = {"arguments": "not plain JSON"}, sha256_json(visible(f"{tool} {kept!r}")[:10_000])
    # The name may be anything a model wrote; one that is a tool's passes unchanged.
    return Draft(call_id, key or call_id, digest, visible(redact(tool))[:80], caller, kept)
