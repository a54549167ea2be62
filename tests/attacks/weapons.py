"""Tools that cost money, open doors and wipe things: what an attacker would reach for, each counting what it really did."""

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from policies.proposal import FREE, Cost, Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs

USD_PER_HOUR = 4


class WeaponArgs(ToolArgs):
    """Arguments of every weapon."""

    name: str = Field(default="one", min_length=1, max_length=40)
    hours: int = Field(default=1, ge=1, le=24)
    gpus: int = Field(default=1, ge=1, le=64)
    region: str = Field(default="eastus", max_length=40)
    sku: str = Field(default="Consumption-GPU-NC24-A100", max_length=40)
    steps: list[int] = Field(default=[], max_length=20)
    note: str = ""


@dataclass
class Weapon:
    """A tool of a few lines; a paid one costs 4 USD for each GPU and hour."""

    name: str
    effects: frozenset[Effect]
    traits: frozenset[Trait] = frozenset()
    paid: bool = False
    owner: str | None = None
    deed_fails: Exception | None = None
    done: Counter[str] = field(default_factory=Counter)
    kept: dict[str, Result] = field(default_factory=dict)
    dollars: int = USD_PER_HOUR

    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Does what an attacker wants."
    Args: ClassVar[type[ToolArgs]] = WeaponArgs

    def propose(self, args: WeaponArgs, /) -> Proposal:
        """What it would do, from the arguments alone."""
        ceiling = self.dollars * args.hours * args.gpus * 1_000_000
        cost = Cost(ceiling, ceiling, basis="price list", price_date="2026-11-01") if self.paid else FREE
        place = {"region": args.region, "sku": args.sku, "max_minutes": args.hours * 60} if self.paid else {}
        return Proposal(
            self.effects,
            target=f"{self.name}:{args.name}",
            cost=cost,
            owner=self.owner,
            traits=self.traits,
            supersedes=args.name,
            card=(("Name", args.name), ("GPUs", f"{args.gpus}× A100"), ("Hours", str(args.hours)), ("Note", args.note)),
            **place,
        )

    def perform(self, args: WeaponArgs, call: Call, /) -> Result:
        """Count it."""
        self.done[call.call_id] += 1
        if self.deed_fails is not None:
            raise self.deed_fails
        self.kept[call.call_id] = made = Result({"name": args.name}, {"name_length": len(args.name)})
        return made

    def recall(self, call_id: str, /) -> Result | Recall:
        """What it did, if it did."""
        return self.kept.get(call_id, Recall.NOT_STARTED)

    @property
    def shots(self) -> int:
        """How often it really went off."""
        return sum(self.done.values())


def armoury() -> dict[str, Weapon]:
    """One weapon of each kind."""
    return {
        weapon.name: weapon
        for weapon in (
            Weapon("look", frozenset({Effect.READ})),
            Weapon("heavy", frozenset({Effect.LOCAL}), frozenset({Trait.OCCUPIES})),
            Weapon("launch", frozenset({Effect.SPEND}), paid=True),
            Weapon("expose", frozenset({Effect.EXPOSE})),
            Weapon("wipe", frozenset({Effect.DESTROY, Effect.READ})),
            Weapon("theirs", frozenset({Effect.READ}), owner="cy"),
            Weapon("nothing", frozenset()),
            Weapon("halt", frozenset({Effect.LOCAL}), frozenset({Trait.STOPS}), owner="cy"),
        )
    }
