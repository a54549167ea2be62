"""One proposal, who makes it and what the book knows: what the tests of the judge ask. The table of the rules is policies/cases/."""

from dataclasses import dataclass, field
from typing import Any

from policies.judge import Facts, judge
from policies.limits import MICROS
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import FREE, Cost, Effect, Proposal, Trait, Unpriced
from policies.verdict import Verdict

READ, LOCAL, SPEND, EXPOSE, DESTROY = (frozenset({effect}) for effect in Effect)
OCCUPIES, IMPORTS, STOPS = (frozenset({trait}) for trait in (Trait.OCCUPIES, Trait.IMPORTS, Trait.STOPS))
UNKNOWN_COST = Unpriced("no price list")


def usd(amount: float) -> Cost:
    """A cost with this ceiling in dollars."""
    return Cost(0, int(amount * MICROS))


@dataclass(frozen=True)
class Case:
    """One line of the table: a proposal, who asks, what the book knows, and the verdict."""

    name: str
    effects: frozenset[Effect]
    verdict: type[Verdict]
    traits: frozenset[Trait] = frozenset()
    cost: Cost | Unpriced = FREE
    owner: str | None = None
    role: str = "owner"
    solo: bool = True
    yes: frozenset[str] = field(default_factory=frozenset)
    person: str = "ann"
    via: Any = "cli"
    room: int = 50 * MICROS

    def judged(self, policy: Policy) -> Verdict:
        """The verdict under a policy."""
        proposal = Proposal(self.effects, "run:x", cost=self.cost, owner=self.owner, traits=self.traits, region="eastus",
                            sku="Consumption", max_minutes=60)
        return judge(proposal, "tool", Caller(self.person, self.via), Facts(self.role, self.solo, self.room, self.yes), policy)


ANN, BOB = frozenset({"ann"}), frozenset({"bob"})
