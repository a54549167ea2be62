"""`python -m bench.gate`: what the gate (policy, record and ledger) adds to a call, with a tool behind it that does nothing."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

from bench.figure import Figure, median, show
from policies.book import Book
from policies.gateway import Gateway
from policies.people import OWNER, Caller, People
from policies.proposal import FREE, Cost, Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs

CALLS, WARM = 150, 10
LIMIT_MS = 50.0
CALLER = Caller(OWNER, "cli", "bench")


class Numbered(ToolArgs):
    """One number, so that no two calls are the same."""

    number: int


class Nothing:
    """Does nothing, for nothing or for a cent."""

    name: ClassVar[str] = "nothing"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Does nothing."
    Args: ClassVar[type[ToolArgs]] = Numbered

    def __init__(self, cents: int) -> None:
        self._cents = cents

    def propose(self, args: Numbered, /) -> Proposal:
        """Looking, or spending."""
        if not self._cents:
            return Proposal(frozenset({Effect.READ}), "nothing", cost=FREE)
        return Proposal(frozenset({Effect.SPEND}), "nothing", cost=Cost(0, 10_000 * self._cents), supersedes=str(args.number),
                        region="eastus", sku="Consumption", max_minutes=60)

    def perform(self, args: Numbered, call: Call, /) -> Result:
        """At once."""
        return Result({"number": args.number})

    def recall(self, call_id: str, /) -> Result | Recall:
        """Nothing is remembered."""
        return Recall.NOT_STARTED


async def timed(one: Callable[[int], Awaitable[None]]) -> list[float]:
    """Milliseconds of each call after the warm ones, sorted."""
    taken = []
    for number in range(WARM + CALLS):
        started = time.perf_counter()
        await one(number)
        taken.append((time.perf_counter() - started) * 1000)
    return sorted(taken[WARM:])


async def both(home: Path) -> tuple[list[float], list[float]]:
    """A call that is free, and one that is asked, approved, reserved and performed."""
    book = Book.open(home / "book.sqlite")
    gateway = Gateway.open(home=home, tools={"look": Nothing(0), "pay": Nothing(1)}, book=book, people=People(book),
                           defaults=lambda _tool, raw, _caller: raw)

    async def look(number: int) -> None:
        answer = await gateway.call("look", {"number": number}, CALLER)
        assert answer.status == "done", answer

    async def pay(number: int) -> None:
        answer = await gateway.call("pay", {"number": number}, CALLER)
        assert answer.approval is not None, answer
        decision = await gateway.decide(answer.approval.id, "approve", CALLER)
        assert decision.answer is not None and decision.answer.status == "done", decision

    try:
        return await timed(look), await timed(pay)
    finally:
        gateway.close()
        book.close()


def measure() -> list[Figure]:
    """The 95th percentile of each; a tool that does nothing makes the whole of it the gate's."""
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as folder:
        free, paid = asyncio.run(both(Path(folder)))
    worst = [taken[int(0.95 * len(taken))] for taken in (free, paid)]
    return [
        Figure("gate, a free call, p95", worst[0], "ms", LIMIT_MS, note=f"median {median(free):.1f} ms of {CALLS}, wall clock, signed log"),
        Figure("gate, asked + approved + paid, p95", worst[1], "ms", LIMIT_MS,
               note=f"median {median(paid):.1f} ms; two trips through the gate, four commits with full durability"),
    ]


if __name__ == "__main__":
    show(measure())
