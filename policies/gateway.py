"""The only door to every tool: parse, propose, judge, approve, reserve, record, perform, record again."""

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Row

from policies import fault
from policies import outcome as ends
from policies.admission import Admitted, Turned
from policies.approvals import Step, TooMany, Word
from policies.book import BookBroken, BookBusy
from policies.calls import Draft, find_call, get_call, stored_answer, waiting
from policies.intents import NotNow, draft_of, new_draft
from policies.keeper import Keeper
from policies.outcome import Outcome
from policies.people import Caller
from policies.redact import visible
from policies.regime import Regime, Replaced
from policies.tool import Busy, Call, Tool, ToolArgs, ToolFailed
from policies.trouble import report_bug
from policies.verdict import Allow, Answer, ApprovalView, Ask, Decision, Deny
from policies.watchers import Report, Reporters

T = TypeVar("T")
MOST_AT_ONCE = 50
"""Approvals that one batch may decide."""


class Gateway(Keeper):
    """Every call of every face goes through `call`; every yes and no through `decide`."""

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def call(self, tool: str, raw: Mapping[str, Any], caller: Caller, key: str = "", report: Report | None = None) -> Answer:
        """Perform a tool, or leave a waiting approval. A repeat of the same key gets the same answer, or joins the running call.

        A cancelled caller cuts nothing: the call goes on to its recorded end.
        """
        draft = new_draft(uuid.uuid4().hex, tool, raw, caller, key)
        place = (caller.person, draft.key)
        found = self._flows.get(place)
        if found is None:
            reporters = Reporters()
            task = self._begin(self._flow(draft, raw, reporters))
            self._flows[place] = found = (draft.args_digest, task, reporters)
            task.add_done_callback(lambda _: self._flows.pop(place, None))
        elif found[0] != draft.args_digest:
            return await self._other_args(draft)
        found[2].add(report)
        return await asyncio.shield(found[1])

    async def refuse(self, tool: str, raw: Mapping[str, Any], caller: Caller, key: str, reason: str) -> Answer:
        """Record and answer the refusal of something that never reached a tool."""
        draft = new_draft(uuid.uuid4().hex, tool, raw, caller, key)
        known = self._book.read(lambda conn: find_call(conn, caller.person, draft.key))
        if known is not None:
            return await self._repeat(known, draft)
        return await self._refused(draft, draft.no(reason, "", "refused", "refused"), error="refused")

    async def _flow(self, draft: Draft, raw: Mapping[str, Any], reporters: Reporters) -> Answer:
        try:
            known = self._book.read(lambda conn: find_call(conn, draft.caller.person, draft.key))
            if known is not None:
                return await self._repeat(known, draft)
            return await self._fresh(draft, raw, reporters)
        except (BookBroken, BookBusy) as error:
            return draft.no(str(error), "Nothing begins without a record; what had begun is completed at the next start.", "book")
        except Exception as error:
            return draft.no(*report_bug(f"the call {draft.call_id} of {draft.tool}", error), "internal")

    async def _fresh(self, draft: Draft, raw: Mapping[str, Any], reporters: Reporters) -> Answer:
        while True:
            try:
                return await self._under(self._reign.now, draft, raw, reporters)
            except Replaced:
                continue

    async def _under(self, regime: Regime, draft: Draft, raw: Mapping[str, Any], reporters: Reporters) -> Answer:
        match await regime.admission.admit(draft, raw):
            case Turned() as turned:
                return await self._refused(turned.draft, turned.answer, turned.verdict, turned.error)
            case Admitted(verdict=Ask() as verdict) as admitted:
                return await self._ask(regime, admitted.draft, verdict)
            case Admitted(verdict=Allow() as verdict) as admitted:

                def intend(conn: Connection) -> int:
                    self._reign.must_be(regime)
                    return regime.intents.allow(conn, admitted.draft, verdict, self._clock())

                with self._alive(admitted.draft.call_id):
                    fault.point("gateway.allow.before")
                    await self._book.awrite(intend)
                    fault.point("gateway.allow.after")
                    return await self._carry_out(admitted.tool, admitted.args, admitted.draft, reporters)
            case _:
                raise AssertionError("neither admitted nor turned away")

    async def _ask(self, regime: Regime, draft: Draft, verdict: Ask) -> Answer:
        await self._reign.look()
        if self._reign.changed:
            stale = draft.no(self.alarm, "Have the policy read anew, or start Luthier again.", "policy_changed", "refused")
            return await self._refused(draft, stale, error="policy_changed")

        def write(conn: Connection) -> tuple[ApprovalView, tuple[ApprovalView, ...]]:
            self._reign.must_be(regime)
            return regime.approvals.ask(conn, draft, verdict, self._clock())

        fault.point("gateway.ask.before")
        try:
            view, gone = await self._book.awrite(write)
        except TooMany as many:
            remedy = "Wait for a decision, or take one back with `python -m ui withdraw ID`."
            return await self._refused(draft, draft.no(str(many), remedy, "too_many", "refused"), error="too_many")
        fault.point("gateway.ask.after")
        for old in gone:
            self._watchers.tell(old)
        self._watchers.tell(view)
        return waiting(draft.tool, draft.call_id, view)

    async def _carry_out(self, tool: Tool, args: ToolArgs, draft: Draft, reporters: Reporters) -> Answer:
        call = Call(draft.call_id, draft.caller.person, draft.caller.thread, reporters.report, draft.proposal.get("plan") or {})
        limit = self.policy.limits.calls.timeout_s
        fault.point("gateway.perform.before")
        try:
            ended = ends.done(draft, await self._reign.now.admission.patiently(lambda: tool.perform(args, call), limit))
        except ToolFailed as error:
            ended = ends.failed(draft, error)
        except TimeoutError:
            ended = ends.timed_out(draft, limit)
        except Busy as error:
            ended = Outcome("error", draft.no(f"{error.what} is still busy.", "Try again in a moment.", "busy"), "Busy")
        except Exception as error:
            answer = draft.no(*report_bug(f"{draft.tool}, call {draft.call_id}", error), "internal")
            ended = Outcome("error", answer, type(error).__name__, keeps_money=True)
        fault.point("gateway.perform.after")
        return await self._record(draft, ended)

    async def _record(self, draft: Draft, ended: Outcome) -> Answer:
        fault.point("gateway.outcome.before")
        view = await self._book.awrite(lambda conn: self._intents.outcomes.write(conn, draft, ended, self._clock()))
        fault.point("gateway.outcome.after")
        self._watchers.tell(view, ended.answer)
        return replace(ended.answer, approval=view)

    async def _refused(self, draft: Draft, answer: Answer, verdict: Deny | None = None, error: str = "") -> Answer:
        await self._book.awrite(lambda conn: self._intents.deny(conn, draft, answer, verdict, error, self._clock()))
        return answer

    async def _other_args(self, draft: Draft) -> Answer:
        reason, remedy = "This key was already used for a call with other arguments.", "Use a new key for a new call."
        answer = draft.no(reason, remedy, "key_reused", "refused")
        await self._book.awrite(lambda conn: self._intents.deny(conn, draft, answer, None, "key_reused", self._clock(), keep=False))
        return answer

    async def _repeat(self, row: Row[Any], draft: Draft) -> Answer:
        if row.args_digest != draft.args_digest:
            return await self._other_args(draft)
        running = self._live.get(row.call_id)
        if running:
            await asyncio.wait(tuple(running))
        elif row.status == "running":
            await self._upkeep.recall(row)
        return self._book.read(lambda conn: stored_answer(get_call(conn, row.call_id), self._approvals.view(conn, row.approval_id)))

    # ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────

    async def decide(self, approval_id: str, answer: Word, caller: Caller, why: str = "") -> Decision:
        """One person's yes or no; with the last yes needed the recorded call is performed, and the decision carries its answer.

        `break_glass` is an owner's yes alone, with a reason, where limits.toml permits it. Raises ToolFailed on an unknown id.
        """
        try:
            return await asyncio.shield(self._begin(self._decide(approval_id, answer, caller, why)))
        except (BookBroken, BookBusy) as error:
            what, remedy = f"Decide {visible(approval_id)[:20]}", "Look at its card before deciding again."
            raise ToolFailed(what, str(error), remedy, kind="book") from error

    async def decide_many(
        self, ids: Sequence[str], answer: Literal["approve", "deny"], caller: Caller, why: str = "",
    ) -> list[Decision]:
        """One person's yes or no to several approvals; the log has all their digests, and each message names its own.

        Each is judged, consumed and performed by itself. Raises ToolFailed before anything is decided when one of them does not exist.
        """
        if not 0 < len(set(ids)) <= MOST_AT_ONCE:
            because = f"between 1 and {MOST_AT_ONCE} can be decided at once."
            raise ToolFailed("Decide several approvals", because, "Name fewer, or decide one by one.", kind="malformed")
        digests = await self._book.awrite(lambda conn: self._approvals.batch(conn, list(dict.fromkeys(ids)), answer, caller))
        decided = [(digest, await self.decide(approval_id, answer, caller, why)) for approval_id, digest in digests.items()]
        return [replace(one, message=f"{one.approval.id} ({digest}): {one.message}") for digest, one in decided]

    async def _decide(self, approval_id: str, answer: Word, caller: Caller, why: str) -> Decision:
        await self._reign.look()
        fault.point("gateway.decide.before")
        step = await self._book.awrite(lambda conn: self._approvals.decide(conn, approval_id, answer, caller, why, self._clock()))
        fault.point("gateway.decide.after")
        self._watchers.tell(step.view)
        return await self._execute(step) if step.execute else Decision(step.ok, step.view, step.message)

    async def withdraw(self, approval_id: str, caller: Caller) -> Decision:
        """Take back a waiting request, or a yes that has not been used yet. Raises ToolFailed when there is no such approval."""
        step = await self._book.awrite(lambda conn: self._approvals.withdraw(conn, approval_id, caller, self._clock()))
        self._watchers.tell(step.view)
        return Decision(step.ok, step.view, step.message)

    async def _execute(self, step: Step) -> Decision:
        """Perform what was approved: proposed again, judged again, consumed once."""
        row = self._book.read(lambda conn: self._approvals.find(conn, step.view.id))
        assert row is not None
        with self._alive(row.call_id):
            try:
                tool, args = await self._reign.now.admission.same_again(row)
                fault.point("gateway.consume.before")
                _, view = await self._book.awrite(lambda conn: self._intents.consume(conn, row, self._clock()))
                fault.point("gateway.consume.after")
            except NotNow as no:
                return await self._not_now(row, no)
            self._watchers.tell(view)
            answer = await self._carry_out(tool, args, draft_of(row, json.loads(row.proposal_json)), Reporters())
        return Decision(True, answer.approval or view, f"{step.message} {answer.reason}".strip(), answer)

    async def _not_now(self, row: Row[Any], no: NotNow) -> Decision:
        view = await self._book.awrite(lambda conn: self._approvals.not_now(conn, row, no.reason, self._clock(), void=no.void))
        self._watchers.tell(view)
        if view.status == "consumed":
            return Decision(False, view, "It was already approved and started.")
        return Decision(False, view, f"Approved, but not started. {no.reason} {no.remedy}".strip())
