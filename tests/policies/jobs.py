"""A job and its stop, for the state machine: small tools whose runs are rows, and a worker that keeps the order of events."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Connection, select

from policies.book import now_text
from policies.limits import MICROS
from policies.policy import Policy
from policies.proposal import FREE, Cost, Effect, Order, Proposal, Trait
from policies.tables import runs
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from policies.worker import Worker
from tests.policies.home import Clock
from tests.policies.ram import RamBook
from tools.runs.state import FINAL, RunState

T = TypeVar("T")
BEFORE = datetime(2000, 1, 1, tzinfo=UTC)


@cache
def limited() -> Policy:
    """The shipped policy with caps that a few calls reach."""
    policy = Policy.load()
    budget = policy.limits.budget.model_copy(update={"per_run_usd": "60", "per_person_day_usd": "100", "team_month_usd": "250"})
    asks = policy.limits.approval.model_copy(update={"two_person_usd": "40"})
    return replace(policy, limits=policy.limits.model_copy(update={"budget": budget, "approval": asks}))


class JobArgs(ToolArgs):
    """What a job is called and costs at the usual price."""

    name: str
    dollars: int = 0


@dataclass
class Job:
    """Starts a run, unless the machine wants it to fail; remembers it as a run's folder does."""

    book: RamBook
    clock: Clock
    price: int = 100
    """Percent of the usual price, now."""
    mood: str = "fine"
    begun: Counter[str] = field(default_factory=Counter)
    at: dict[str, str] = field(default_factory=dict)

    name: ClassVar[str] = "job"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Starts a run."
    Args: ClassVar[type[ToolArgs]] = JobArgs

    def propose(self, args: JobArgs, /) -> Proposal:
        """Free work on this machine, or paid work elsewhere."""
        stop = (Order("deadline", "stop after 20 h", "stop", "run_id", due_s=72_000),)
        if not args.dollars:
            takes = frozenset({Trait.OCCUPIES})
            return Proposal(frozenset({Effect.LOCAL}), "model:m", cost=FREE, traits=takes, supersedes=args.name, orders=stop)
        ceiling = args.dollars * MICROS * self.price // 100
        return Proposal(frozenset({Effect.SPEND}), "model:m", cost=Cost(ceiling // 2, ceiling), supersedes=args.name, orders=stop,
                        region="eastus", sku="Consumption", max_minutes=60)

    def perform(self, args: JobArgs, call: Call, /) -> Result:
        """Begin, fail before, or fail after it has begun."""
        if self.mood == "refuses":
            raise ToolFailed("Start", "no quota.", "Ask for it.")
        if self.mood == "breaks before":
            raise RuntimeError("before")
        self.book.write(lambda conn: self._begin(conn, call))
        if self.mood == "breaks after":
            raise RuntimeError("after")
        return Result({"run_id": call.call_id})

    def _begin(self, conn: Connection, call: Call) -> None:
        self.begun[call.call_id] += 1
        self.at[call.call_id] = now_text(self.clock())
        run = {"id": call.call_id, "owner": call.person, "call_id": call.call_id, "state": "queued", "created_at": self.at[call.call_id]}
        conn.execute(runs.insert().prefix_with("OR IGNORE").values(run))

    def recall(self, call_id: str, /) -> Result | Recall:
        """A run that has a row began."""
        return Result({"run_id": call_id}) if call_id in self.at and self._has_row(call_id) else Recall.NOT_STARTED

    def _has_row(self, call_id: str) -> bool:
        return bool(self.book.rows(select(runs.c.id).where(runs.c.id == call_id)))


class StopArgs(ToolArgs):
    """Which run."""

    run_id: str


@dataclass
class Stop:
    """Stops a run that lives."""

    book: RamBook
    by: list[tuple[str, str]] = field(default_factory=list)

    name: ClassVar[str] = "stop"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Stops a run."
    Args: ClassVar[type[ToolArgs]] = StopArgs

    def propose(self, args: StopArgs, /) -> Proposal:
        """The stop of one run."""
        state = self._state(args.run_id)
        return Proposal(frozenset({Effect.LOCAL}), f"run:{args.run_id}", owner=self._row(args.run_id).owner,
                        traits=frozenset({Trait.STOPS}), plan={"ended": state in FINAL})

    def perform(self, args: StopArgs, call: Call, /) -> Result:
        """End it."""
        self.by.append((args.run_id, call.person))
        if self._state(args.run_id) in FINAL:
            return Result({"run_id": args.run_id, "stopping": False})
        self.book.write(lambda conn: conn.execute(runs.update().where(runs.c.id == args.run_id).values(state="cancelled")))
        return Result({"run_id": args.run_id, "stopping": True})

    def recall(self, call_id: str, /) -> Result | Recall:
        """It may be asked for again."""
        return Recall.NOT_STARTED

    def _row(self, run_id: str) -> Any:
        found = self.book.rows(select(runs).where(runs.c.id == run_id))
        if not found:
            raise ToolFailed("Stop", "there is no such run.", "List them.")
        return found[0]

    def _state(self, run_id: str) -> RunState:
        return RunState(self._row(run_id).state)


class AtOnce(Worker):
    """Does the work of tools in the loop itself, so that the order of events is the machine's alone."""

    def __init__(self) -> None:
        super().__init__(1)

    async def run(self, fn: Callable[[], T], timeout_s: float) -> T:
        """The result, after letting everybody else have a turn."""
        await asyncio.sleep(0)
        return fn()


class InTurn(ThreadPoolExecutor):
    """Does at once what the program hands to a thread: which thread is quicker must not decide the order of events."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **more: Any) -> "Future[T]":
        """The result, as a future that has ended."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **more))
        except BaseException as error:  # handed to whoever waits
            future.set_exception(error)
        return future


@dataclass
class Spent:
    """What the machine itself knows about one call's money."""

    person: str
    held: int
    spent: int = 0
    overrun: int = 0
    at: datetime = BEFORE
