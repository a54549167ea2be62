"""The book's list of calls: who asked for what, and the answer that a repeat of the same key gets again."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Connection, Row, select

from policies.audit.record import Record
from policies.people import Caller
from policies.redact import visible
from policies.tables import calls
from policies.verdict import Answer, ApprovalView

CallStatus = Literal["running", "waiting", "done", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A call on its way through the gateway; grows a proposal, then a digest."""

    call_id: str
    key: str
    args_digest: str
    tool: str
    caller: Caller
    args: Mapping[str, Any]
    """Redacted as long as nothing has parsed them, then normalised."""
    version: str = ""
    effects: tuple[str, ...] = ()
    proposal: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None

    def no(self, reason: str, remedy: str, kind: str, status: Literal["refused", "failed"] = "failed") -> Answer:
        """The answer that says no; the brain learns its kind."""
        told = ["\n".join(map(visible, text.split("\n"))) for text in (reason, remedy)]
        return Answer(status, self.tool, self.call_id, reason=told[0], remedy=told[1], for_brain={"error_kind": kind})

    def record(self, kind: Literal["intent", "outcome", "decision"], event: str, **more: Any) -> Record:
        """An audit record about this call."""
        base = Record(
            kind, event, self.caller, tool=self.tool, tool_version=self.version or None, call_id=self.call_id,
            effects=self.effects, action_digest=self.digest, run_id=run_of(self.proposal.get("target", "")),
        )
        return replace(base, **cost_fields(self.proposal), **more)


def run_of(target: str) -> str | None:
    """The run that a target names, if it names one."""
    return target[4:] if target.startswith("run:") and len(target) < 80 else None


def cost_fields(proposal: Mapping[str, Any]) -> dict[str, Any]:
    """The cost of a proposal as fields of a record; money nobody could work out stays null."""
    cost = proposal.get("cost") or {}
    if "ceiling_micros" not in cost:
        return {}
    return {"currency": cost["currency"], "estimate": cost["likely_micros"],
            "price_source": cost["basis"] or None, "price_date": cost["price_date"] or None}


def find_call(conn: Connection, person: str, key: str) -> Row[Any] | None:
    """The call that this person made under this key."""
    return conn.execute(select(calls).where(calls.c.person == person, calls.c.key == key)).one_or_none()


def get_call(conn: Connection, call_id: str) -> Row[Any]:
    """The call with this id, which must exist."""
    return conn.execute(select(calls).where(calls.c.call_id == call_id)).one()


def open_calls(conn: Connection) -> list[Row[Any]]:
    """Calls with an intent and no outcome."""
    return list(conn.execute(select(calls).where(calls.c.status == "running").order_by(calls.c.created_at)))


def insert_call(
    conn: Connection, draft: Draft, status: CallStatus, now: str, *, answer: Answer | None = None, approval_id: str | None = None,
    intent_seq: int | None = None, limit: int = 0,
) -> None:
    """Write a new call; its key must be new for its person."""
    conn.execute(calls.insert().values(
        call_id=draft.call_id, person=draft.caller.person, key=draft.key, args_digest=draft.args_digest, tool=draft.tool,
        tool_version=draft.version, thread=draft.caller.thread, caller_json=json.dumps(asdict(draft.caller)),
        args_json=json.dumps(draft.args), effects=",".join(draft.effects), status=status, approval_id=approval_id,
        intent_seq=intent_seq, answer_json=None if answer is None else keep(answer, limit), created_at=now,
        ended_at=None if answer is None else now,
    ))


def start_call(conn: Connection, call_id: str, intent_seq: int) -> None:
    """A waiting call whose approval was consumed now runs."""
    conn.execute(calls.update().where(calls.c.call_id == call_id).values(status="running", intent_seq=intent_seq))


def finish_call(conn: Connection, answer: Answer, now: str, limit: int) -> bool:
    """Keep the answer of a call that ran or waited; False when it has already ended."""
    open_ = calls.c.status.in_(("running", "waiting"))
    done = conn.execute(calls.update().where(calls.c.call_id == answer.call_id, open_).values(
        status=answer.status, answer_json=keep(answer, limit), ended_at=now,
    ))
    return done.rowcount == 1


def caller_of(row: Row[Any]) -> Caller:
    """Who made the call."""
    return Caller(**json.loads(row.caller_json))


def keep(answer: Answer, limit: int) -> str:
    """An answer as the book keeps it; a result above `limit` bytes is kept as a note."""
    kept = {"status": answer.status, "result": answer.result, "for_brain": answer.for_brain,
            "reason": answer.reason, "remedy": answer.remedy}
    text = json.dumps(kept)
    if len(text) > limit:
        note = {"truncated": True, "bytes": len(text)}
        text = json.dumps(kept | {"result": note, "for_brain": note})
    return text


def stored_answer(row: Row[Any], approval: ApprovalView | None) -> Answer:
    """The answer that a repeat of the call gets."""
    if row.answer_json is not None:
        return Answer(tool=row.tool, call_id=row.call_id, approval=approval, **json.loads(row.answer_json))
    if approval is not None and row.status == "waiting":
        return waiting(row.tool, row.call_id, approval)
    return Answer("waiting", row.tool, row.call_id, reason="This call is still at work.", remedy="Ask again in a moment.")


def waiting(tool: str, call_id: str, approval: ApprovalView) -> Answer:
    """The answer to a call that a person has to approve first."""
    return Answer(
        "waiting", tool, call_id, approval=approval, reason=approval.reason,
        remedy=f"Press Approve on its card, or run `python -m ui approve {approval.id}`.",
        for_brain={"waiting_for_approval": approval.id},
    )


def clean(value: Any) -> Any:
    """A tool's result as strict JSON: tuples are lists, numbers that are none are null. Raises TypeError on anything else."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case Mapping():
            return {str(key): clean(part) for key, part in value.items()}
        case list() | tuple():
            return [clean(part) for part in value]
        case _:
            raise TypeError(f"a result holds JSON, not {type(value).__name__}")


def fingerprint(result: Mapping[str, Any]) -> tuple[str, int]:
    """SHA-256 and size of a result's JSON; the audit log keeps these and not the result."""
    text = json.dumps(result, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest(), len(text)
