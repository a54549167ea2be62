"""Small real tools that do what a test tells them, and count what they did."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field, JsonValue

from policies.proposal import FREE, Cost, Effect, Order, Proposal, Trait, Unpriced
from policies.tool import Call, Recall, Result, ToolArgs


class FakeArgs(ToolArgs):
    """Arguments of every fake."""

    name: str = Field(default="one", max_length=40)
    steps: int = Field(default=1, ge=1, le=1000)
    rate: float = 0.1
    note: str = ""


@dataclass
class FakeTool:
    """A tool whose proposal and deeds are given by the test."""

    effects: frozenset[Effect] = frozenset({Effect.READ})
    cost: Cost | Unpriced = FREE
    owner: str | None = None
    traits: frozenset[Trait] = frozenset()
    stop_rules: tuple[str, ...] = ()
    plan: dict[str, JsonValue] = field(default_factory=dict)
    region: str = ""
    sku: str = ""
    max_minutes: int = 0
    orders: tuple[Order, ...] = ()
    evidence: tuple[str, ...] = ()
    leaves: str = ""
    deed: Callable[[FakeArgs, Call], Mapping[str, JsonValue]] = lambda args, call: {"name": args.name, "run_id": "0123456789"}
    before: Callable[[FakeArgs], None] = lambda args: None
    remembers: dict[str, Result | Recall] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    name: ClassVar[str] = "fake"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Does what a test wants."
    Args: ClassVar[type[ToolArgs]] = FakeArgs

    def propose(self, args: FakeArgs, /) -> Proposal:
        """What the test set."""
        self.before(args)
        return Proposal(
            effects=self.effects, target=f"thing:{args.name}", cost=self.cost, owner=self.owner, traits=self.traits,
            supersedes=args.name, card=(("Name", args.name), ("Note", args.note)), stop_rules=self.stop_rules, plan=self.plan,
            region=self.region, sku=self.sku, max_minutes=self.max_minutes,
            orders=self.orders, evidence=self.evidence, leaves=self.leaves,
        )

    def perform(self, args: FakeArgs, call: Call, /) -> Result:
        """Count, do the deed, remember."""
        with self.lock:
            self.done[call.call_id] += 1
        made = self.deed(args, call)
        self.remembers[call.call_id] = Result(made)
        self.ended.set()
        return Result(made, {"name_length": len(args.name)})

    def recall(self, call_id: str, /) -> Result | Recall:
        """What `perform` remembered, else that it never began."""
        return self.remembers.get(call_id, Recall.NOT_STARTED)


def reading(**more: object) -> FakeTool:
    """Looks at something."""
    return FakeTool(**more)  # pyright: ignore[reportArgumentType]


def heavy(**more: object) -> FakeTool:
    """Takes the machine for long, so it asks."""
    return FakeTool(effects=frozenset({Effect.LOCAL}), traits=frozenset({Trait.OCCUPIES}), **more)  # pyright: ignore[reportArgumentType]


def spending(dollars: int = 10, **more: object) -> FakeTool:
    """Costs money."""
    cost = Cost(dollars * 500_000, dollars * 1_000_000, basis="price list", price_date="2026-11-01")
    given = {"cost": cost, "region": "eastus", "sku": "Consumption", "max_minutes": 60} | more
    return FakeTool(effects=frozenset({Effect.SPEND}), **given)  # pyright: ignore[reportArgumentType]
