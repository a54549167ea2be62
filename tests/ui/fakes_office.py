"""The parts of the small workshop that keep the record, the people, the policy and the inbox."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from policies.people import Caller
from policies.tool import ToolFailed
from policies.verdict import Answer, ApprovalView, Decision

LOG = "luthier/small"
EMPTY: Mapping[str, Any] = {
    "v": 1, "log": LOG, "agent": {"build": None, "model": None, "prompt": None}, "args": None, "args_commit": None, "action_digest": None,
    "policy": {"hash": "a" * 64, "decision": None, "rules": [], "errors": []},
    "approval": {"id": None, "approvers": [], "expiry": None, "quorum": None},
    "cost": {"currency": None, "estimate": None, "reserved": None, "actual": None, "price_source": None, "price_date": None},
    "result": {"status": None, "hash": None, "size": None, "error_class": None}, "trace": {"trace": None, "span": None},
    "refs": {"intent": None, "run": None, "provider": None}, "detail": {}, "key": None, "prev": "0" * 64,
}


def record(seq: int, kind: str, event: str, sub: str = "owner", **more: Any) -> dict[str, Any]:
    """A record with every field; `more` fills in parts."""
    made = copy.deepcopy(dict(EMPTY)) | {
        "seq": seq, "ts": f"2026-11-24T10:00:{seq:02d}.000000Z", "kind": kind, "event": event,
        "actor": {"sub": sub, "via": "web", "auth": "link", "session": None, "ip_class": "local"},
        "tool": {"name": None, "version": None, "call_id": None, "effects": []},
    }
    for name, value in more.items():
        made[name] = {**made[name], **value} if isinstance(value, dict) and isinstance(made[name], dict) else value
    return made


TOOL = {"name": "start_finetune", "version": "1", "call_id": "c1", "effects": ["LOCAL", "SPEND"]}
APPROVAL = {"id": "3f2a91c0", "quorum": 2, "expiry": "2026-11-25T10:00:00.000000Z"}
RECORDS: tuple[dict[str, Any], ...] = (
    record(1, "policy", "loaded", "system", detail={"source": "shipped"}),
    record(2, "auth", "signed_in"),
    record(3, "approval", "requested", tool=TOOL, approval=APPROVAL, args={"dataset": "samples/helpdesk.jsonl", "epochs": "3"},
           action_digest="9f86d081" * 8, policy={"decision": "ask", "rules": ["spend-with-yes"]}, refs={"run": "4k2j8m9qxz"},
           cost={"currency": "USD", "estimate": 2_000_000}),
    record(4, "approval", "granted", "ann", tool=TOOL, approval={**APPROVAL, "approvers": ["ann"]}, refs={"run": "4k2j8m9qxz"}),
    record(5, "intent", "started", tool=TOOL, refs={"run": "4k2j8m9qxz"}, cost={"currency": "USD", "reserved": 4_200_000}),
    record(6, "outcome", "ended", tool=TOOL, refs={"run": "4k2j8m9qxz"}, result={"status": "ok", "hash": "b" * 64, "size": 120},
           cost={"currency": "USD", "actual": 1_250_000}),
    record(7, "decision", "refused", "bob", tool={"name": "validate_dataset", "version": "1", "call_id": "c2", "effects": ["READ"]},
           policy={"decision": "deny"}, args={"path": "<script>alert(1)</script>"}, result={"status": "denied"}),
)


EXPLAINED: Mapping[str, Any] = {
    "tool": "start_finetune", "verdict": "ask", "reason": "It takes the machine for long.", "remedy": "", "quorum": 1,
    "effects": [{"effect": "LOCAL", "decision": "ask", "reason": "", "remedy": "", "rules": [{"id": "local-long", "says": "A yes."}]}],
    "changes": [{"fact": "if another person who may decide said yes", "verdict": "allow"}],
    "policy": {"hash": "a" * 64, "source": "shipped", "alarm": ""}, "errors": [], "notes": [], "message": "It would need a yes.",
}


@dataclass(frozen=True)
class FakeVerified:
    """A verdict."""

    status: int = 0
    text: str = "intact: 7 records"


class FakeRecords:
    """Seven records."""

    def __init__(self, role: Callable[[str], str]) -> None:
        self._role = role
        self.noted: list[int] = []

    def sees_all(self, caller: Caller) -> bool:
        """Owners and auditors."""
        return self._role(caller.person) in ("owner", "auditor")

    def search(self, caller: Caller, asked: Mapping[str, str], before: int | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Those that match, newest first."""
        def fits(each: Mapping[str, Any]) -> bool:
            found = {"run": each["refs"]["run"], "person": each["actor"]["sub"], "tool": each["tool"]["name"],
                     "decision": each["policy"]["decision"], "kind": each["kind"]}
            return all(found[name] == text for name, text in asked.items() if text)

        mine = [each for each in RECORDS if self.sees_all(caller) or each["actor"]["sub"] == caller.person]
        return [each for each in reversed(mine) if fits(each) and (before is None or each["seq"] < before)][:limit]

    def story(self, identity: str, caller: Caller) -> list[dict[str, Any]]:
        """Of a call, a run or an approval."""
        found = [each for each in RECORDS if identity in (each["tool"]["call_id"], each["refs"]["run"], each["approval"]["id"])]
        return found if self.sees_all(caller) or any(each["actor"]["sub"] == caller.person for each in found) else []

    def record(self, seq: int, caller: Caller) -> dict[str, Any] | None:
        """One of them."""
        return next((each for each in self.search(caller, {}) if each["seq"] == seq), None)

    def prove(self, seq: int, caller: Caller) -> dict[str, Any]:
        """Six are signed."""
        if seq > 6:
            raise ToolFailed("There is no proof yet", "the last signed checkpoint covers 6 records.", "Try again in a minute.")
        note = f"{LOG}\n6\nzMzM\n\n— {LOG} AbCd"
        return {"seq": seq, "size": 6, "root": "c" * 64, "leaf": "d" * 64, "path": ["e" * 64, "f" * 64], "note": note}

    async def verify(self, caller: Caller, options: Sequence[str] = ()) -> FakeVerified:
        """Always intact."""
        return FakeVerified()

    async def note_verified(self, caller: Caller, status: int) -> None:
        """Remember."""
        self.noted.append(status)

    def checkpoint(self) -> dict[str, Any] | None:
        """Six records."""
        return {"size": 6, "root": "c" * 64, "key_id": "1a2b3c4d", "at": "2026-11-24T10:00:06.000000Z", "note": "note"}

    def state(self) -> dict[str, Any]:
        """As the real one's."""
        return {"records": 7, "signed": 6, "checkpoint_at": "2026-11-24T10:00:06.000000Z", "checkpoint_age_s": 4, "key_id": "1a2b3c4d",
                "witnesses": []}


class FakeArchive:
    """Does nothing, and says so."""

    async def export(self, folder: str, kind: str, since: str, caller: Caller) -> dict[str, Any]:
        """Where it would lie."""
        return {"file": f"{folder}/audit.{kind}", "records": 7}

    async def fsck(self, caller: Caller) -> list[dict[str, Any]]:
        """Nothing wrong."""
        return []

    async def erase(self, seq: int, caller: Caller) -> dict[str, Any]:
        """The third had arguments."""
        return {"seq": seq, "erased": seq == 3}

    async def rotate(self, caller: Caller) -> dict[str, Any]:
        """A new key."""
        return self.key()

    def key(self) -> dict[str, Any]:
        """The key."""
        return {"key_id": "1a2b3c4d", "public_key": f"{LOG}+1a2b3c4d+AbCd", "public_key_file": "/home/keys/audit.pub"}


class FakeHousehold:
    """An owner, a member, an auditor, and a person who was switched off."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {
            name: {"id": name, "name": name.capitalize(), "role": role, "kind": "human", "active": name != "gone", "identities": []}
            for name, role in (("owner", "owner"), ("bob", "member"), ("aud", "auditor"), ("gone", "member"))
        }

    def role(self, person: str) -> str:
        """Of somebody active."""
        found = self.people.get(person)
        return found["role"] if found and found["active"] else ""

    def list(self) -> list[dict[str, Any]]:
        """Everybody."""
        return list(self.people.values())

    async def add(self, person: str, name: str, role: str, kind: str, caller: Caller) -> Mapping[str, Any]:
        """One more."""
        if person in self.people:
            raise ToolFailed(f"{person!r} was not added", "there is such a person already.", "Choose another id.")
        self.people[person] = {"id": person, "name": name or person, "role": role, "kind": kind, "active": True, "identities": []}
        return self.people[person]

    async def set(self, person: str, caller: Caller, role: str | None = None, active: bool | None = None) -> Mapping[str, Any]:
        """Another role."""
        if person not in self.people:
            raise ToolFailed(f"{person!r} was not changed", "there is no such person.", "Look at `people list`.")
        changes = {"role": role, "active": active}
        self.people[person] |= {name: value for name, value in changes.items() if value is not None}
        return self.people[person]

    def make_code(self, caller: Caller) -> str:
        """Always the same."""
        return "KXQ7-2M4P"

    async def unlink(self, provider: str, subject: str, caller: Caller) -> None:
        """Nothing is linked."""
        raise ToolFailed("Nothing was unlinked", "there is no such linked account.", "Look at `people list`.")


class FakeRulebook:
    """A policy of two cases, one of which fails."""

    def state(self) -> dict[str, Any]:
        """Shipped."""
        return {"source": "shipped", "hash": "a" * 64, "alarm": ""}

    async def test(self) -> dict[str, Any]:
        """One of two holds."""
        cases = [{"file": "a.toml", "name": "an owner trains", "ok": True, "words": "ask"},
                 {"file": "a.toml", "name": "a viewer trains", "ok": False, "words": "It is ask, not deny."}]
        return {"alarm": "", "results": cases}

    async def reload(self, caller: Caller) -> dict[str, Any]:
        """Never valid."""
        return {"ok": False, "words": "limits.toml is not valid.", **self.state()}


class FakeInbox:
    """The small workshop's approvals, as one person may see them."""

    def __init__(self, shop: Any) -> None:
        self._shop = shop

    def waiting(self, caller: Caller) -> tuple[ApprovalView, ...]:
        """One's own, and everybody's for an owner."""
        return tuple(view for view in self._shop.pending() if self._may_see(view, caller))

    def seen(self, approval_id: str, caller: Caller) -> ApprovalView | None:
        """One."""
        view = self._shop.approval(approval_id)
        return view if view is not None and self._may_see(view, caller) else None

    def may_not(self, approval_id: str, caller: Caller) -> str:
        """A member decides nothing."""
        return "" if self._shop.household.role(caller.person) == "owner" else f"{caller.person} may not decide approvals here."

    async def decide_many(
        self, approval_ids: Sequence[str], answer: Literal["approve", "deny"], caller: Caller, why: str = "",
    ) -> Sequence[Decision]:
        """One after the other; each message names its digest."""
        decided = [await self._shop.decide(each, answer, caller, why) for each in approval_ids]
        return [replace(one, message=f"{one.approval.id} ({one.approval.digest}): {one.message}") for one in decided]

    async def ask_again(self, approval_id: str, caller: Caller) -> Answer:
        """A new one of the same."""
        view = self._shop.approval(approval_id)
        assert view is not None
        new = self._shop.propose(str(view.thread), caller)
        return Answer("waiting", view.tool, "c9", approval=new, reason=new.reason)

    def is_foreign(self, thread: str, caller: Caller) -> bool:
        """Whatever somebody else asked in."""
        return any(view.thread == thread and view.requester != caller.person for view in self._shop.every())

    def let_expire(self, thread: str) -> None:
        """Nobody decided in time."""
        for view in self._shop.pending(thread):
            self._shop.store(replace(view, status="expired"))

    def _may_see(self, view: ApprovalView, caller: Caller) -> bool:
        return view.requester == caller.person or self._shop.household.role(caller.person) == "owner"


SPENT: Mapping[str, Any] = {
    "currency": "USD", "reserved": "4.20", "settled": "1.25", "since": "2026-11-01T00:00:00.000000Z", "whose": "everybody", "billed": None,
    "by_run": [
        {"run_id": "4k2j8m9qxz", "call_id": "c1", "name": "helpdesk", "tool": "start_finetune", "person": "owner", "state": "running",
         "since": "2026-11-24T10:00:00.000000Z", "reserved": "4.20", "settled": "0.00", "currency": "USD"},
        {"run_id": None, "call_id": "c3", "name": "", "tool": "prepare_cloud", "person": "bob", "state": None,
         "since": "2026-11-23T09:00:00.000000Z", "reserved": "0.00", "settled": "1.25", "currency": "USD"},
    ],
    "more": 0, "spending": True, "message": "Since 2026-11-01, 1.25 USD were spent.",
    "budgets": [{"name": "one run", "cap": "50.00", "used": None, "left": None},
                {"name": "your day", "cap": "100.00", "used": "5.45", "left": "94.55"},
                {"name": "everybody's month", "cap": "500.00", "used": "340.00", "left": "160.00"}],
    "tokens": {"today": 12_400, "cap": 2_000_000, "left": 1_987_600},
}


class FakeNotifying:
    """Addresses that take every message."""

    async def test(self, caller: Caller) -> str:
        """Sent."""
        return "The message has been sent to every address."
