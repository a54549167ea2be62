"""The passing of time: what expires, what a crash left open, whose standing order is due, when the log is signed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from policies import orders, tokens
from policies import outcome as ends
from policies.approvals import Step
from policies.audit import originals
from policies.audit.log import AuditLog
from policies.audit.record import Record
from policies.book import Book
from policies.calls import Draft, open_calls
from policies.intents import draft_of
from policies.outcome import Outcome
from policies.people import SYSTEM, Caller
from policies.regime import Regime, Reign
from policies.tool import Recall, Result, Tool
from policies.trouble import report_bug
from policies.verdict import Answer, ApprovalView, Decision
from policies.worker import Worker


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What the gateway does by itself, without anybody asking."""

    tools: Mapping[str, Tool]
    book: Book
    log: AuditLog
    worker: Worker
    clock: Callable[[], datetime]
    reign: Reign
    tell: Callable[[ApprovalView], None]
    is_alive: Callable[[str], bool]
    """Whether a call is at work in this process."""
    record: Callable[[Draft, Outcome], Awaitable[Answer]]
    execute: Callable[[Step], Awaitable[Decision]]
    stop: Callable[[str, Mapping[str, Any]], Awaitable[Answer]]
    """Call a stopping tool as Luthier itself."""

    async def sweep(self) -> None:
        """Close what nobody decided in time, complete what can be completed, stop what is due, sign what is new."""
        await self.reign.look()
        for view in await self.book.awrite(lambda conn: self._regime.approvals.expire(conn, self.clock())):
            self.tell(view)
        for row in self.book.read(open_calls):
            if not self.is_alive(row.call_id):
                await self.recall(row)
        await self._clear_up()
        await self.stop_due()
        await self.book.awrite(self._keep_record)

    def _keep_record(self, conn: Connection) -> None:
        """Erase the originals that are older than the limits allow, and sign what is new."""
        limits, now = self._regime.policy.limits.audit, self.clock()
        erased = originals.erase_before(conn, now - timedelta(days=limits.retention_days))
        if erased:
            detail = {"originals": erased, "reason": "retention"}
            self.log.append(conn, Record("admin", "originals_erased", Caller(SYSTEM, "system"), detail=detail))
        self.log.seal(conn, now, after_s=limits.checkpoint_s)

    async def recover(self) -> None:
        """After a crash: complete every intent without an outcome by asking its tool, and start what was approved and not begun."""
        await self.book.awrite(lambda conn: tokens.settle_open(conn, self.clock()))
        await self.sweep()
        for view in self.book.read(self._regime.approvals.approved):
            await self.execute(Step(True, view, "Approved.", execute=True))

    async def recall(self, row: Row[Any]) -> None:
        """Complete the record of a call that a crash cut off, unless its tool says that it is still at work."""
        kept = self.book.read(lambda conn: self._regime.approvals.proposal(conn, row.approval_id))
        said = await self._ask(row)
        if said is not Recall.RUNNING:
            draft = draft_of(row, kept)
            await self.record(draft, ends.recalled(draft, said))

    async def stop_due(self) -> list[Answer]:
        """Propose, as Luthier itself, every stop that a standing order says is due; an order whose target has ended is over."""
        stopped = []
        for one in self.book.read(orders.standing):
            raw = {one.argument: one.target}
            proposal = await self._regime.admission.proposal_of(one.tool, raw)
            if proposal is None:
                continue
            over = proposal.plan.get(orders.ENDED) is True
            if not over and one.is_due(proposal.evidence, self.clock()):
                answer = await self.stop(one.tool, raw)
                stopped.append(answer)
                over = answer.result.get("stopping") is False
            if over:
                await self.book.awrite(lambda conn, one=one: orders.end(conn, one.tool, one.target, self.clock()))
        return stopped

    async def _clear_up(self) -> None:
        outcomes = self._regime.outcomes
        for row in self.book.read(lambda conn: outcomes.unclear(conn, self.clock())):
            said = await self._ask(row)
            await self.book.awrite(lambda conn, row=row, said=said: outcomes.clear_up(conn, row, said, self.clock()))

    async def _ask(self, row: Row[Any]) -> Result | Recall:
        tool = self.tools.get(row.tool)
        if tool is None:
            return Recall.UNKNOWN
        try:
            return await self.worker.run(lambda: tool.recall(row.call_id), self._regime.policy.limits.calls.propose_timeout_s)
        except Exception as error:
            report_bug(f"the recall of {row.tool}, call {row.call_id}", error)
            return Recall.UNKNOWN

    @property
    def _regime(self) -> Regime:
        return self.reign.now
