"""The table of what the shipped rules say: one line per case, used by the tests of rules and judge."""

from dataclasses import dataclass, field, replace
from typing import Any

from policies.judge import Facts, judge
from policies.limits import MICROS
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import FREE, Cost, Effect, Proposal, Trait, Unpriced
from policies.verdict import Allow, Ask, Deny, Verdict

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
    limits: dict[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] | None = None

    def holds(self, policy: Policy) -> bool:
        """Whether the verdict, and where this case names them the rules behind it, are as wanted."""
        said = self.judged(policy)
        return isinstance(said, self.verdict) and (self.rules is None or said.rules == self.rules)

    def judged(self, policy: Policy) -> Verdict:
        """The verdict under a policy, with this case's own limits."""
        if self.limits:
            limits = policy.limits
            policy = replace(policy, limits=limits.model_copy(update={
                "approval": limits.approval.model_copy(update={k: v for k, v in self.limits.items() if k != "spending"}),
                "budget": limits.budget.model_copy(update={k: v for k, v in self.limits.items() if k == "spending"}),
            }))
        proposal = Proposal(self.effects, "run:x", cost=self.cost, owner=self.owner, traits=self.traits)
        return judge(proposal, "tool", Caller(self.person, self.via), Facts(self.role, self.solo, self.room, self.yes), policy)


ANN, BOB, BOB_AND_CY = frozenset({"ann"}), frozenset({"bob"}), frozenset({"bob", "cy"})
ALONE = {"self_approval": False}
CASES = [
    Case("looking is free for the owner", READ, Allow),
    Case("looking is free for a viewer", READ, Allow, role="viewer"),
    Case("looking at one's own is free", READ, Allow, owner="ann"),
    Case("looking at another person's object is denied", READ, Deny, owner="bob"),
    Case("looking at another person's object stays denied with a yes", READ, Deny, owner="bob", yes=BOB, cost=UNKNOWN_COST),
    Case("looking is denied to nobody we know", READ, Deny, role=""),
    Case("looking is denied to a role no rule names", READ, Deny, role="guest"),
    Case("looking at an unknown cost asks", READ, Ask, cost=UNKNOWN_COST),
    Case("looking at an unknown cost is allowed with another's yes", READ, Allow, cost=UNKNOWN_COST, yes=BOB),
    Case("looking at an unknown cost is allowed with one's own yes", READ, Allow, cost=UNKNOWN_COST, yes=ANN),
    Case("one's own yes to looking needs self approval", READ, Ask, cost=UNKNOWN_COST, yes=ANN, limits=ALONE),
    Case("one's own yes to looking is not two", READ, Ask, cost=UNKNOWN_COST, yes=ANN, limits={"quorum": 2}),
    Case("a viewer may not ask for an unknown cost", READ, Deny, cost=UNKNOWN_COST, role="viewer"),
    Case("light local work is free", LOCAL, Allow, role="member"),
    Case("light local work is denied to a viewer", LOCAL, Deny, role="viewer"),
    Case("light local work on another person's object is denied", LOCAL, Deny, owner="bob"),
    Case("light local work at an unknown cost asks", LOCAL, Ask, cost=UNKNOWN_COST),
    Case("taking the machine asks, by one rule", LOCAL, Ask, traits=OCCUPIES, rules=("local-heavy-approved",)),
    Case("taking the machine asks a member", LOCAL, Ask, traits=OCCUPIES, role="member"),
    Case("taking the machine is allowed with another's yes", LOCAL, Allow, traits=OCCUPIES, yes=BOB, role="member"),
    Case("taking the machine is allowed with one's own yes, alone or not", LOCAL, Allow, traits=OCCUPIES, yes=ANN, solo=False),
    Case("one's own yes needs self approval", LOCAL, Ask, traits=OCCUPIES, yes=ANN, limits=ALONE),
    Case("one's own yes is not two", LOCAL, Ask, traits=OCCUPIES, yes=ANN, limits={"quorum": 2}),
    Case("taking the machine is denied to a viewer", LOCAL, Deny, traits=OCCUPIES, role="viewer"),
    Case("taking the machine with another person's object is denied", LOCAL, Deny, traits=OCCUPIES, owner="bob"),
    Case("importing asks the owner", LOCAL, Ask, traits=IMPORTS, solo=False),
    Case("importing asks a member who works alone", LOCAL, Ask, traits=IMPORTS, role="member"),
    Case("importing is denied to a member among others", LOCAL, Deny, traits=IMPORTS, role="member", solo=False),
    Case("importing is denied to a viewer who works alone", LOCAL, Deny, traits=IMPORTS, role="viewer"),
    Case("importing onto another person's object is denied", LOCAL, Deny, traits=IMPORTS, owner="bob"),
    Case("importing is allowed with one's own yes", LOCAL, Allow, traits=IMPORTS, yes=ANN),
    Case("one's own yes to importing needs self approval", LOCAL, Ask, traits=IMPORTS, yes=ANN, limits=ALONE),
    Case("one's own yes to importing is not two", LOCAL, Ask, traits=IMPORTS, yes=ANN, limits={"quorum": 2}),
    Case("importing what takes the machine is denied to a member among others", LOCAL, Deny, traits=IMPORTS | OCCUPIES, role="member",
         solo=False),
    Case("stopping never asks", LOCAL, Allow, traits=STOPS, owner="ann"),
    Case("stopping never asks a viewer either", LOCAL, Allow, traits=STOPS, owner="ann", role="viewer"),
    Case("stopping another person's object is denied", LOCAL, Deny, traits=STOPS, owner="bob"),
    Case("stopping is denied to nobody we know", LOCAL, Deny, traits=STOPS, role=""),
    Case("what stops and takes the machine asks", LOCAL, Ask, traits=STOPS | OCCUPIES),
    Case("what stops and imports asks", LOCAL, Ask, traits=STOPS | IMPORTS),
    Case("what stops at an unknown cost asks", LOCAL, Ask, traits=STOPS, cost=UNKNOWN_COST),
    Case("spending asks", SPEND, Ask, cost=usd(10)),
    Case("spending asks although it costs nothing", SPEND, Ask),
    Case("spending is allowed with another's yes", SPEND, Allow, cost=usd(10), yes=BOB, solo=False),
    Case("spending is allowed with one's own yes when alone", SPEND, Allow, cost=usd(10), yes=ANN),
    Case("spending with one's own yes asks among others", SPEND, Ask, cost=usd(10), yes=ANN, solo=False),
    Case("spending with one's own yes needs self approval", SPEND, Ask, cost=usd(10), yes=ANN, limits=ALONE),
    Case("spending above the threshold with one's own yes asks", SPEND, Ask, cost=usd(100), yes=ANN, room=500 * MICROS),
    Case("spending above the threshold with one other asks", SPEND, Ask, cost=usd(100), yes=BOB | ANN, room=500 * MICROS),
    Case("spending above the threshold with two others is allowed", SPEND, Allow, cost=usd(100), yes=BOB_AND_CY, room=500 * MICROS),
    Case("spending over the budget is denied", SPEND, Deny, cost=usd(50.01)),
    Case("spending over the budget is denied with a yes", SPEND, Deny, cost=usd(50.01), yes=BOB),
    Case("spending exactly the budget asks", SPEND, Ask, cost=usd(50)),
    Case("a hundredth of a cent over the budget is denied", SPEND, Deny, cost=Cost(0, 50 * MICROS + 100)),
    Case("spending with the kill switch thrown is denied", SPEND, Deny, cost=usd(1), yes=BOB, limits={"spending": False}),
    Case("spending an unknown amount is denied", SPEND, Deny, cost=UNKNOWN_COST, yes=BOB),
    Case("spending is denied to a viewer", SPEND, Deny, cost=usd(1), role="viewer"),
    Case("spending on another person's object is denied", SPEND, Deny, cost=usd(1), owner="bob"),
    Case("a price makes a call SPEND whatever its tool says", READ, Ask, cost=usd(1)),
    *(Case(f"{word} {text}", effect, verdict, **dict[str, Any](more)) for word, effect in (("exposing", EXPOSE), ("destroying", DESTROY))
      for text, verdict, more in (
          ("asks", Ask, {}),
          ("is allowed with another's yes", Allow, {"yes": BOB, "solo": False}),
          ("is allowed with one's own yes when alone", Allow, {"yes": ANN}),
          ("with one's own yes asks among others", Ask, {"yes": ANN, "solo": False}),
          ("with one's own yes needs self approval", Ask, {"yes": ANN, "limits": ALONE}),
          ("with one's own yes is not two", Ask, {"yes": ANN, "limits": {"quorum": 2}}),
          ("is denied to a viewer", Deny, {"role": "viewer"}),
          ("another person's object is denied", Deny, {"owner": "bob"}),
      )),
    Case("the strictest of two effects wins", READ | DESTROY, Ask),
    Case("one denied effect denies all", LOCAL | SPEND, Deny, cost=usd(1000)),
    Case("the system may do nothing", LOCAL, Deny, traits=STOPS, person="system", via="system"),
    Case("the system may not even look", READ, Deny, person="system", via="system"),
    Case("nobody is the system by word alone", READ, Deny, person="system", via="cli"),
    Case("a person does not become the system's equal by its channel", READ, Deny, via="system"),
]
