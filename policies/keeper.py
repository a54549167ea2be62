"""What stands behind the door: the policy in force, the book, who listens, and what time brings. Calls and decisions are the gateway's."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from policies.admission import Admission, Defaults
from policies.approvals import Approvals, Step
from policies.audit.journal import Journal
from policies.audit.keys import KeyRing, KeyTrouble
from policies.audit.log import AuditLog
from policies.audit.record import AgentFacts
from policies.book import Book, BookBroken, BookBusy
from policies.calls import Draft
from policies.explain import Explanation
from policies.intents import Intents
from policies.outcome import Outcome, Settled
from policies.people import SYSTEM, Caller, People
from policies.policy import Policy
from policies.regime import Regime, Reign
from policies.tokens import Tokens
from policies.tool import Tool
from policies.upkeep import Upkeep
from policies.verdict import Answer, ApprovalView, Decision
from policies.watchers import Listener, Report, Reporters, Watchers
from policies.worker import Worker

T = TypeVar("T")


class Keeper(ABC):
    """The home's side of the gateway."""

    def __init__(
        self, tools: Mapping[str, Tool], book: Book, policy: Policy, people: People,
        defaults: Defaults = lambda _tool, raw, _caller: raw, *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        agent: AgentFacts = AgentFacts(), keys: KeyRing | None = None, folder: Path | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.tools, self.people = tools, people
        self._book, self._clock = book, clock
        home = book.home_id()
        self._log = AuditLog(home, agent, keys, policy.limits.audit.checkpoint_records)
        self._journal = Journal(book, self._log)
        self._watchers = Watchers()
        hands = worker or Worker(policy.limits.calls.at_once)

        def make(policy: Policy) -> Regime:
            intents = Intents.build(home, policy, self._log)
            return Regime(policy, intents, Admission(tools, book, policy, intents, hands, defaults, clock, sleep))

        self._reign = Reign(make, policy, book, self._log, clock, self._watchers.tell, folder)
        self.tokens = Tokens(book, lambda: self.policy.limits, clock)
        self._flows: dict[tuple[str, str], tuple[str, asyncio.Task[Answer], Reporters]] = {}
        self._live: dict[str, list[asyncio.Task[Any]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._upkeep = Upkeep(
            tools, book, self._log, hands, clock, self._reign, self._watchers.tell, self._live.__contains__, self._record,
            lambda step: asyncio.shield(self._begin(self._execute(step))), lambda tool, raw: self.call(tool, raw, Caller(SYSTEM, "system")),
        )

    @classmethod
    def open(cls, *, home: Path, tools: Mapping[str, Tool], book: Book, people: People, defaults: Defaults) -> Self:
        """The gateway of a home: its own policy folder when there is one, its keys, and its owner known. Raises BookBroken without keys."""
        people.ensure_owner()
        try:
            keys = KeyRing.open(home / "keys")
        except KeyTrouble as error:
            raise BookBroken("Open the record", str(error), "Nothing begins without a record that is signed.") from error
        return cls(tools, book, Policy.load(home / "policy"), people, defaults, keys=keys, folder=home / "policy")

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._reign.now.policy

    @property
    def alarm(self) -> str:
        """What everybody should know about policy and record; empty while all is well."""
        return self._reign.alarm

    @property
    def log(self) -> AuditLog:
        """The audit log, for what rotates its key and tells its checkpoints to others."""
        return self._log

    @property
    def _intents(self) -> Intents:
        return self._reign.now.intents

    @property
    def _approvals(self) -> Approvals:
        return self._reign.now.approvals

    def approval(self, approval_id: str) -> ApprovalView | None:
        """One approval as the book has it now."""
        return self._book.read(lambda conn: self._approvals.view(conn, approval_id))

    def pending(self, thread: str | None = None) -> tuple[ApprovalView, ...]:
        """Approvals that wait for a person, oldest first, of one thread or of all."""
        return self._book.read(lambda conn: self._approvals.waiting(conn, self._clock(), thread))

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of every change of an approval, in the event loop; returns what ends it."""
        return self._watchers.add(listener)

    # ── the passing of time ──────────────────────────────────────────────────────────────────────────────────────

    async def sweep(self) -> None:
        """Do what time alone brings: expiry, ends of interrupted calls, standing orders, checkpoints. Call it every half minute."""
        await self._upkeep.sweep()

    async def recover(self) -> None:
        """After a start: complete every intent without an outcome by asking its tool, and start what was approved and not begun."""
        await self._upkeep.recover()

    async def stop_due(self) -> list[Answer]:
        """Stop, as Luthier itself, whatever a standing order says is due now."""
        return await self._upkeep.stop_due()

    async def reload_policy(self, caller: Caller) -> tuple[bool, str]:
        """Read the home's policy anew; whether it is in force now, and a sentence. A set that is not valid leaves the old one in force."""
        return await self._reign.reload(caller)

    async def settle_spend(self, call_id: str, actual_micros: int, basis: str) -> Settled:
        """Book what a call really cost, once, and free the rest of its reservation. Raises ToolFailed on an unknown call."""
        return await self._book.awrite(lambda conn: self._intents.outcomes.settle(conn, call_id, actual_micros, basis, self._clock()))

    async def explain(self, tool: str, raw: Mapping[str, Any], caller: Caller) -> Explanation:
        """What would become of a call, by which rule, and what would change it. Raises ToolFailed when no such call can be."""
        return await self._reign.now.admission.explain(tool, raw, caller)

    async def note(self, kind: Literal["auth", "admin"], event: str, caller: Caller, detail: Mapping[str, Any] | None = None) -> None:
        """Record what is no call: a login, a link, a changed person, the name of a stored secret."""
        await self._journal.add(self._intents.note(kind, event, caller, detail or {})).done()

    @abstractmethod
    async def call(self, tool: str, raw: Mapping[str, Any], caller: Caller, key: str = "", report: Report | None = None) -> Answer:
        """Perform a tool, or leave a waiting approval."""

    @abstractmethod
    async def _execute(self, step: Step) -> Decision:
        """Perform what was approved."""

    @abstractmethod
    async def _record(self, draft: Draft, ended: Outcome) -> Answer:
        """Write the end of a call."""

    async def settle(self) -> None:
        """Wait until every call that has begun has its recorded end."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Sign what is new; call it once, before the book is closed."""
        with suppress(BookBroken, BookBusy):
            self._book.write(lambda conn: self._log.seal(conn, self._clock()))
            # In a transaction of its own: what is kept outside the book must have been committed in it.
            self._book.write(self._log.settle)

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

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        # The loop holds tasks weakly; a call that nobody awaits any more must still reach its end.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
