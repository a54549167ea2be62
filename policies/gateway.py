"""The only door to every tool: parse, propose, judge, approve, reserve, record, perform, record again."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import Row

from policies import outcome as ends
from policies.admission import Admission, Admitted, Defaults, Turned
from policies.approvals import Step, TooMany
from policies.audit.record import AgentFacts
from policies.book import Book, BookBroken, BookBusy
from policies.calls import Draft, find_call, get_call, open_calls, stored_answer, waiting
from policies.intents import Intents, NotNow, draft_of, new_draft
from policies.outcome import Outcome
from policies.people import Caller, People
from policies.policy import Policy
from policies.redact import visible
from policies.tool import Busy, Call, Recall, Result, Tool, ToolArgs, ToolFailed
from policies.trouble import report_bug
from policies.verdict import Allow, Answer, ApprovalView, Ask, Decision, Deny
from policies.watchers import Listener, Report, Reporters, Watchers
from policies.worker import Worker

T = TypeVar("T")


class Gateway:
    """Every call of every face goes through `call`; every yes and no through `decide`."""

    def __init__(
        self, tools: Mapping[str, Tool], book: Book, policy: Policy, people: People,
        defaults: Defaults = lambda _tool, raw, _caller: raw, *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        agent: AgentFacts = AgentFacts(),
    ) -> None:
        self.tools, self.policy, self.people = tools, policy, people
        self._book, self._clock = book, clock
        self._intents = Intents.build(book, policy, agent)
        self._approvals = self._intents.approvals
        self._watchers = Watchers()
        self._worker = Worker(policy.limits.calls.at_once)
        self._admission = Admission(tools, book, policy, self._intents, self._worker, defaults, clock, sleep)
        self._flows: dict[tuple[str, str], tuple[str, asyncio.Task[Answer], Reporters]] = {}
        self._live: dict[str, list[asyncio.Task[Any]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._seen_on_disk = ""
        self.alarm = policy.alarm
        book.write(lambda conn: self._intents.policy_loaded(conn, self._clock()))

    @classmethod
    def open(cls, *, home: Path, tools: Mapping[str, Tool], book: Book, people: People, defaults: Defaults) -> "Gateway":
        """The gateway of a home: its own policy folder when there is one, and its owner known."""
        people.ensure_owner()
        return cls(tools, book, Policy.load(home / "policy"), people, defaults)

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
        match await self._admission.admit(draft, raw):
            case Turned() as turned:
                return await self._refused(turned.draft, turned.answer, turned.verdict, turned.error)
            case Admitted(verdict=Ask() as verdict) as admitted:
                return await self._ask(admitted.draft, verdict)
            case Admitted(verdict=Allow() as verdict) as admitted:
                with self._alive(admitted.draft.call_id):
                    await self._book.awrite(lambda conn: self._intents.allow(conn, admitted.draft, verdict, self._clock()))
                    return await self._carry_out(admitted.tool, admitted.args, admitted.draft, reporters)
            case _:
                raise AssertionError("neither admitted nor turned away")

    async def _ask(self, draft: Draft, verdict: Ask) -> Answer:
        await self._look_at_policy()
        if self._seen_on_disk:
            stale = draft.no(self.alarm, "Start Luthier again.", "policy_changed", "refused")
            return await self._refused(draft, stale, error="policy_changed")
        try:
            view, gone = await self._book.awrite(lambda conn: self._approvals.ask(conn, draft, verdict, self._clock()))
        except TooMany as many:
            remedy = "Wait for a decision, or take one back with `python -m ui withdraw ID`."
            return await self._refused(draft, draft.no(str(many), remedy, "too_many", "refused"), error="too_many")
        for old in gone:
            self._watchers.tell(old)
        self._watchers.tell(view)
        return waiting(draft.tool, draft.call_id, view)

    async def _carry_out(self, tool: Tool, args: ToolArgs, draft: Draft, reporters: Reporters) -> Answer:
        call = Call(draft.call_id, draft.caller.person, draft.caller.thread, reporters.report, draft.proposal.get("plan") or {})
        limit = self.policy.limits.calls.timeout_s
        try:
            ended = ends.done(draft, await self._admission.patiently(lambda: tool.perform(args, call), limit))
        except ToolFailed as error:
            ended = ends.failed(draft, error)
        except TimeoutError:
            ended = ends.timed_out(draft, limit)
        except Busy as error:
            ended = Outcome("error", draft.no(f"{error.what} is still busy.", "Try again in a moment.", "busy"), "Busy")
        except Exception as error:
            answer = draft.no(*report_bug(f"{draft.tool}, call {draft.call_id}", error), "internal")
            ended = Outcome("error", answer, type(error).__name__, keeps_money=True)
        return await self._record(draft, ended)

    @contextmanager
    def _alive(self, call_id: str) -> Iterator[None]:
        """Mark a call as at work here, from before its intent is written: nobody may take it for one that a crash cut off."""
        task = asyncio.current_task()
        assert task is not None
        self._live.setdefault(call_id, []).append(task)
        try:
            yield
        finally:
            self._live[call_id].remove(task)
            if not self._live[call_id]:
                del self._live[call_id]

    async def _record(self, draft: Draft, ended: Outcome) -> Answer:
        view = await self._book.awrite(lambda conn: self._intents.outcomes.write(conn, draft, ended, self._clock()))
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
            await self._recall(row)
        return self._book.read(lambda conn: stored_answer(get_call(conn, row.call_id), self._approvals.view(conn, row.approval_id)))

    # ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────

    def approval(self, approval_id: str) -> ApprovalView | None:
        """One approval as the book has it now."""
        return self._book.read(lambda conn: self._approvals.view(conn, approval_id))

    def pending(self, thread: str | None = None) -> tuple[ApprovalView, ...]:
        """Approvals that wait for a person, oldest first, of one thread or of all."""
        return self._book.read(lambda conn: self._approvals.waiting(conn, self._clock(), thread))

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of every change of an approval, in the event loop; returns what ends it."""
        return self._watchers.add(listener)

    async def decide(self, approval_id: str, answer: Literal["approve", "deny"], caller: Caller, why: str = "") -> Decision:
        """One person's yes or no; with the last yes needed the recorded call is performed, and the decision carries its answer.

        Raises ToolFailed when there is no such approval.
        """
        try:
            return await asyncio.shield(self._begin(self._decide(approval_id, answer, caller, why)))
        except (BookBroken, BookBusy) as error:
            what, remedy = f"Decide {visible(approval_id)[:20]}", "Look at its card before deciding again."
            raise ToolFailed(what, str(error), remedy, kind="book") from error

    async def _decide(self, approval_id: str, answer: Literal["approve", "deny"], caller: Caller, why: str) -> Decision:
        await self._look_at_policy()
        step = await self._book.awrite(lambda conn: self._approvals.decide(conn, approval_id, answer, caller, why, self._clock()))
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
                tool, args = await self._admission.same_again(row)
                _, view = await self._book.awrite(lambda conn: self._intents.consume(conn, row, self._clock()))
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

    # ── the passing of time ──────────────────────────────────────────────────────────────────────────────────────

    async def sweep(self) -> None:
        """Close what nobody decided in time, and notice a policy that was changed on disk."""
        await self._look_at_policy()
        for view in await self._book.awrite(lambda conn: self._approvals.expire(conn, self._clock())):
            self._watchers.tell(view)

    async def recover(self) -> None:
        """After a crash: complete every intent without an outcome by asking its tool, and start what was approved and not begun."""
        await self.sweep()
        for row in self._book.read(open_calls):
            if row.call_id not in self._live:
                await self._recall(row)
        for view in self._book.read(self._approvals.approved):
            await asyncio.shield(self._begin(self._execute(Step(True, view, "Approved.", execute=True))))

    async def _recall(self, row: Row[Any]) -> None:
        kept = self._book.read(lambda conn: self._approvals.proposal(conn, row.approval_id))
        draft, tool = draft_of(row, kept), self.tools.get(row.tool)
        said: Result | Recall = Recall.UNKNOWN
        if tool is not None:
            try:
                said = await self._worker.run(lambda: tool.recall(row.call_id), self.policy.limits.calls.propose_timeout_s)
            except Exception as error:
                report_bug(f"the recall of {row.tool}, call {row.call_id}", error)
        if said is not Recall.RUNNING:
            await self._record(draft, ends.recalled(draft, said))

    async def _look_at_policy(self) -> None:
        found = await asyncio.to_thread(self.policy.changed_on_disk)
        if found == self._seen_on_disk:
            return
        self._seen_on_disk, self.alarm = found, self.policy.alarm
        if not found:
            return
        self.alarm = f"The policy in {self.policy.source} was changed meanwhile; nothing that needs a yes is done until the next start."
        for view in await self._book.awrite(lambda conn: self._intents.policy_changed(conn, found, self._clock())):
            self._watchers.tell(view)

    async def note(self, kind: Literal["auth", "admin"], event: str, caller: Caller, detail: Mapping[str, Any] | None = None) -> None:
        """Record what is no call: a login, a link, a changed person, the name of a stored secret."""
        await self._book.awrite(lambda conn: self._intents.note(conn, kind, event, caller, detail or {}))

    async def settle(self) -> None:
        """Wait until every call that has begun has its recorded end."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        # The loop holds tasks weakly; a call that nobody awaits any more must still reach its end.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
