"""What the policy and the gateway answer: verdicts, approvals as faces show them, answers, decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may run now."""

    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """The call may run once a person has approved exactly it."""

    reason: str
    quorum: int = 1
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """The call may not run; `remedy` says what would change that."""

    reason: str
    remedy: str = ""
    rules: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


Verdict = Allow | Ask | Deny


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """An approval as every face shows it: written from the book, never from the model."""

    id: str
    """8 hex digits, unique in the book."""
    tool: str
    status: Literal["pending", "approved", "consumed", "denied", "withdrawn", "expired", "revoked", "superseded"]
    requester: str
    thread: str | None
    digest: str
    """The first 8 hex digits of the action digest."""
    effects: tuple[str, ...]
    target: str
    where: str
    reason: str
    lines: tuple[tuple[str, str], ...]
    """Label and value of each line of the card; plain text, odd characters already escaped."""
    stop_rules: tuple[str, ...]
    plan: Mapping[str, JsonValue]
    ceiling: str
    """Decimal string of the money that would be reserved; `0.00` is free, `unpriced` is unknown."""
    currency: str
    created_at: str
    expires_at: str
    decided_by: tuple[str, ...] = ()
    why: str = ""
    outcome: str = ""
    """After consumption: ok, failed, running, … and one sentence."""
    quorum: int = 1
    """How many people must say yes."""
    yes: int = 0
    """How many have said yes so far."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway answers to a call; `as_json` is the object that `python -m ui call --json` prints."""

    status: Literal["done", "waiting", "refused", "failed"]
    tool: str
    call_id: str
    result: Mapping[str, JsonValue] = field(default_factory=dict)
    for_brain: Mapping[str, JsonValue] = field(default_factory=dict)
    approval: ApprovalView | None = None
    reason: str = ""
    remedy: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """The shape of toolbox `call --json`."""
        wanted = self.approval
        return {
            "status": self.status, "tool": self.tool, "call_id": self.call_id, "result": dict(self.result),
            "approval": None if wanted is None else {
                "id": wanted.id, "reason": wanted.reason, "expires_at": wanted.expires_at,
                "ceiling": {"amount": wanted.ceiling, "currency": wanted.currency},
            },
            "reason": self.reason, "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one person's yes or no."""

    ok: bool
    approval: ApprovalView
    message: str
    """A sentence for the person: approved, already decided by …, not allowed because …"""
    answer: Answer | None = None
    """The performed call's answer, when this decision was the last one needed."""
