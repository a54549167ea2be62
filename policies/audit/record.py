"""One audit record, version 1: its fields, and the canonical bytes that are hashed and kept."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
import rfc8785

from policies.people import Caller
from policies.redact import redact, redact_value

VERSION = 1
GENESIS = "0" * 64
"""`prev` of the first record."""

Kind = Literal["intent", "outcome", "decision", "approval", "policy", "auth", "admin"]
Status = Literal["ok", "error", "timeout", "unknown", "denied", "not_started"]

_PLAIN = re.compile(r"[\w.@:/+\-<>, ]{0,120}")
_MAX_SAFE = 2**53 - 1


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """Which build, model and prompt were at work; empty where no brain was involved."""

    build: str = ""
    model: str = ""
    prompt: str = ""


_NOBODY = AgentFacts()


@dataclass(frozen=True, slots=True)
class Record:
    """What happened, before it has a place in the log. None means not known or not applicable."""

    kind: Kind
    event: str
    """One word within the kind: `requested`, `granted`, `consumed`, `loaded`, `signed_in`, …"""
    caller: Caller
    agent: AgentFacts = AgentFacts()
    tool: str | None = None
    tool_version: str | None = None
    call_id: str | None = None
    effects: tuple[str, ...] = ()
    args: Mapping[str, Any] | None = None
    """The original arguments; the record keeps them redacted, and their salted commitment."""
    action_digest: str | None = None
    policy_hash: str | None = None
    decision: Literal["allow", "ask", "deny"] | None = None
    rules: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    approval_id: str | None = None
    approvers: tuple[str, ...] = ()
    expiry: str | None = None
    quorum: int | None = None
    currency: str | None = None
    estimate: int | None = None
    reserved: int | None = None
    actual: int | None = None
    price_source: str | None = None
    price_date: str | None = None
    status: Status | None = None
    result_hash: str | None = None
    result_size: int | None = None
    error_class: str | None = None
    intent_seq: int | None = None
    run_id: str | None = None
    provider_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    """A few plain facts of the event, redacted: a reason, an error id, a file's hash."""

    def shape(
        self, seq: int, ts: str, log: str, prev: str, args_commit: str | None, key: str | None = None, agent: AgentFacts | None = None,
    ) -> dict[str, Any]:
        """Every field of the schema in its nesting; what is unknown is null, never absent. `agent` stands in where it names none."""
        by = agent if agent is not None and self.agent == _NOBODY else self.agent
        return {
            "v": VERSION, "seq": seq, "ts": ts, "log": log, "kind": self.kind, "event": self.event,
            "actor": {"sub": self.caller.person, "via": self.caller.via, "auth": self.caller.auth or None,
                      "session": self.caller.session or None, "ip_class": _ip_class(self.caller)},
            "agent": {"build": by.build or None, "model": by.model or None, "prompt": by.prompt or None},
            "tool": {"name": self.tool, "version": self.tool_version, "call_id": self.call_id, "effects": list(self.effects)},
            "args": None if self.args is None else plain(redact_value(self.args)),
            "args_commit": args_commit, "action_digest": self.action_digest,
            "policy": {"hash": self.policy_hash, "decision": self.decision, "rules": list(self.rules),
                       "errors": [redact(error) for error in self.errors]},
            "approval": {"id": self.approval_id, "approvers": list(self.approvers), "expiry": self.expiry, "quorum": self.quorum},
            "cost": {"currency": self.currency, "estimate": _whole(self.estimate), "reserved": _whole(self.reserved),
                     "actual": _whole(self.actual), "price_source": self.price_source, "price_date": self.price_date},
            "result": {"status": self.status, "hash": self.result_hash, "size": self.result_size, "error_class": self.error_class},
            "trace": {"trace": self.trace_id, "span": self.span_id},
            "refs": {"intent": self.intent_seq, "run": self.run_id, "provider": self.provider_id},
            "detail": plain(redact_value(self.detail)),
            "key": key, "prev": prev,
        }


def canonical(value: Any, *, floats: bool = True) -> bytes:
    """RFC 8785 bytes. Raises ValueError on NaN, on integers beyond 2^53, on lone surrogates, and without `floats` on those."""
    try:
        # A hundred times as fast, and the same bytes where there is no float, no huge integer and no odd key.
        if _simple(value):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        if not floats and _has_float(value):
            raise ValueError("a record holds no float")
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, orjson.JSONEncodeError, ValueError, RecursionError) as error:
        raise ValueError(f"not canonical JSON: {error}") from error


def canonical_record(shape: Mapping[str, Any]) -> bytes:
    """The RFC 8785 bytes of what `Record.shape` gives, which holds no float. Raises ValueError for what no record may hold.

    Names and texts of a shape are our own but for the arguments and the details; of the rest only the numbers are looked at.
    """
    cost, result = shape["cost"], shape["result"]
    numbers = (shape["v"], shape["seq"], shape["approval"]["quorum"], cost["estimate"], cost["reserved"], cost["actual"], result["size"],
               shape["refs"]["intent"])
    if _simple([*numbers, shape["args"], shape["detail"]]):
        try:
            return orjson.dumps(shape, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError as error:
            raise ValueError(f"not canonical JSON: {error}") from error
    return canonical(shape, floats=False)


def _simple(value: Any) -> bool:
    rest = [value]
    for one in rest:  # grows as it goes
        kind = type(one)
        if kind is str or one is None or kind is bool:
            continue
        if kind is dict:
            # RFC 8785 sorts names by UTF-16 units, Python by code points: the same below the surrogates.
            try:
                names = "".join(one)
            except TypeError:
                return False
            if not names.isascii() and max(names) >= "\ud800":
                return False
            rest += one.values()
        elif kind is list or kind is tuple:
            rest += one
        elif kind is not int or not -_MAX_SAFE <= one <= _MAX_SAFE:
            return False
    return True


def _has_float(value: Any) -> bool:
    match value:
        case float():
            return True
        case Mapping():
            return any(_has_float(part) for part in value.values())
        case list() | tuple():
            return any(_has_float(part) for part in value)
        case _:
            return False


def commit(salt: bytes, original: bytes) -> str:
    """SHA-256(salt ‖ canonical arguments): provable later with the side table, meaningless without it."""
    return hashlib.sha256(salt + original).hexdigest()


def plain(value: Any) -> Any:
    """A JSON value as a record may hold it: no float, no huge integer, no free text.

    Numbers that are not safe integers become text; a text that is more than a name, a path or a short phrase is
    replaced by its length, because a prompt, a data row or a log line never enters the log.
    """
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) <= _MAX_SAFE else str(value)
        case float():
            return repr(value) if math.isfinite(value) else "not a number"
        case str():
            return value if _PLAIN.fullmatch(value) and len(value.split()) <= 12 else f"<text: {len(value)} characters>"
        case Mapping():
            return {str(plain(str(key))): plain(part) for key, part in value.items()}
        case list() | tuple():
            return [plain(part) for part in value]
        case _:
            return f"<{type(value).__name__}>"


def _whole(amount: int | None) -> int | str | None:
    return amount if amount is None or abs(amount) <= _MAX_SAFE else str(amount)


def _ip_class(caller: Caller) -> str:
    return "local" if caller.via in ("cli", "mcp", "system") else "unknown"
