"""A small home for tests: a real book on a temporary path, people, a clock that a test moves, and gateways over them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from policies.audit.verify import verify
from policies.book import Book
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.policy import Policy
from policies.tables import approvals, audit
from policies.tool import Tool
from policies.verdict import Answer, ApprovalView

OWNER = Caller("owner", "cli", "peer uid", "terminal")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        """Move on by hours=, minutes=, …"""
        self.now += timedelta(**delta)


@dataclass
class Home:
    """One home and what tests ask of it."""

    path: Path
    book: Book
    people: People
    clock: Clock = field(default_factory=Clock)
    slept: list[float] = field(default_factory=list)
    heard: list[tuple[ApprovalView, Answer | None]] = field(default_factory=list)

    def gateway(self, tools: Mapping[str, Tool], policy: Policy | None = None, **more: Any) -> Gateway:
        """A gateway over this home; a second one stands for the program after a restart."""
        made = Gateway(tools, self.book, policy or Policy.load(), self.people, clock=self.clock, sleep=self._sleep, **more)
        made.subscribe(lambda view, answer: self.heard.append((view, answer)))
        return made

    def records(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """The audit records, of one call or all."""
        wanted = select(audit.c.record).order_by(audit.c.seq)
        if call_id is not None:
            wanted = wanted.where(audit.c.call_id == call_id)
        return [json.loads(row.record) for row in self.book.read(lambda conn: conn.execute(wanted).all())]

    def story(self, call_id: str) -> list[str]:
        """Kind and event of each record of a call."""
        return [f"{one['kind']} {one['event']}" for one in self.records(call_id)]

    def intact(self) -> bool:
        """Whether the audit log verifies, and every intent has exactly one outcome."""
        every = self.records()
        outcomes = [one["refs"]["intent"] for one in every if one["kind"] == "outcome"]
        return verify(self.path, strict=True)[0] == 0 and sorted(outcomes) == [one["seq"] for one in every if one["kind"] == "intent"]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

BOB, CY = Caller("bob", "web", "link", "t-bob"), Caller("cy", "web", "link", "t-cy")


def two_more(home: Home) -> None:
    """From now on three people are known, and all may decide."""
    home.people.add("bob", "Bob", "approver")
    home.people.add("cy", "Cy", "approver")


async def ask(gateway: Gateway, tool: str = "start", caller: Caller = OWNER, **raw: Any) -> ApprovalView:
    """A call that waits, and its approval."""
    answer = await gateway.call(tool, raw, caller)
    assert answer.status == "waiting" and answer.approval is not None, answer
    return answer.approval


def kept(home: Home, approval_id: str) -> Any:
    """The row of an approval in the book."""
    return home.book.read(lambda conn: conn.execute(approvals.select().where(approvals.c.id == approval_id)).one())
