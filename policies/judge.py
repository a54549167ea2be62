"""Whether a proposed call may run: one pure function that joins rules and limits, and refuses whatever is unclear."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies.limits import MAX_CENTS, MICROS_PER_CENT, cents_up, dollars
from policies.people import SYSTEM, Caller
from policies.policy import Policy, Ruling
from policies.proposal import Effect, Proposal, Trait, Unpriced
from policies.verdict import Allow, Ask, Deny, Verdict

_ORDER = (Effect.READ, Effect.LOCAL, Effect.SPEND, Effect.EXPOSE, Effect.DESTROY)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the book knows at the moment of judging."""

    role: str
    """The role of the active person who asks; empty for anybody else."""
    solo: bool
    room_micros: int
    """The least that any budget still leaves, the cap for one call included."""
    yes: frozenset[str] = frozenset()
    """The persons whose yes to exactly this call stands, each still active and still allowed to decide."""


class RuleContext(BaseModel):
    """What one rule sees: `Facts` of rules.cedarschema, range-checked before the engine reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: str
    via: str
    solo: bool
    target_is_mine: bool
    target_is_nobodys: bool
    occupies: bool
    imports: bool
    stops: bool
    unpriced: bool
    cents: int = Field(ge=0, le=MAX_CENTS)
    room_cents: int = Field(ge=0, le=MAX_CENTS)
    spending: bool
    others_yes: int = Field(ge=0, le=1_000_000)
    own_yes: bool
    self_approval: bool
    quorum: int = Field(ge=1, le=1_000_000)


def judge(proposal: Proposal, tool: str, caller: Caller, facts: Facts, policy: Policy) -> Verdict:
    """Judge a proposal once per effect; the strictest verdict wins, and the last line is a refusal.

    Ask means: denied now, allowed once enough people have said yes. Words, prose and tool output are no input here.
    """
    effects = effects_of(proposal)
    if not tool or not effects:
        return Deny("The call does not say which tool it is or what it would do.", "This is an error in the tool; report it.")
    if policy.rules is None:
        return Deny("No policy could be loaded.", _REMEDY_POLICY, errors=(policy.alarm,))
    try:
        context = context_of(proposal, caller, facts, policy)
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        return Deny("The call's figures are outside every limit.", "Give amounts between 0 and 10000000000 USD.",
                    errors=(type(error).__name__,))
    verdicts = [_judge_effect(effect, proposal, caller, context, policy) for effect in effects]
    denied = [verdict for verdict in verdicts if isinstance(verdict, Deny)]
    if denied:
        return denied[0]
    asked = [verdict for verdict in verdicts if isinstance(verdict, Ask)]
    if asked:
        reasons = dict.fromkeys(verdict.reason for verdict in asked)
        return Ask(" ".join(reasons), max(verdict.quorum for verdict in asked), tuple(r for v in asked for r in v.rules))
    if all(isinstance(verdict, Allow) for verdict in verdicts):
        return Allow(tuple(rule for verdict in verdicts for rule in verdict.rules))
    return Deny("Nothing permits this.", "Ask the owner of this Luthier.")


def effects_of(proposal: Proposal) -> tuple[Effect, ...]:
    """The effects in order of weight; a price makes a call SPEND whether or not its tool says so."""
    effects = set(proposal.effects)
    if not isinstance(proposal.cost, Unpriced) and proposal.cost.ceiling_micros > 0:
        effects.add(Effect.SPEND)
    return tuple(effect for effect in _ORDER if effect in effects) if effects <= set(_ORDER) else ()


def context_of(proposal: Proposal, caller: Caller, facts: Facts, policy: Policy) -> RuleContext:
    """The facts a rule may read. Raises ValidationError when a number is out of range."""
    unpriced = isinstance(proposal.cost, Unpriced)
    cents = 0 if isinstance(proposal.cost, Unpriced) else cents_up(proposal.cost.ceiling_micros)
    if not isinstance(proposal.cost, Unpriced) and not 0 <= proposal.cost.likely_micros <= proposal.cost.ceiling_micros:
        raise ValueError("the likely cost is above the ceiling")
    return RuleContext(
        role=facts.role, via=caller.via, solo=facts.solo,
        target_is_mine=proposal.owner == caller.person, target_is_nobodys=proposal.owner is None,
        occupies=Trait.OCCUPIES in proposal.traits, imports=Trait.IMPORTS in proposal.traits, stops=Trait.STOPS in proposal.traits,
        unpriced=unpriced, cents=cents, room_cents=max(0, facts.room_micros) // MICROS_PER_CENT,
        spending=policy.limits.budget.spending,
        others_yes=len(facts.yes - {caller.person}), own_yes=caller.person in facts.yes,
        self_approval=policy.limits.approval.self_approval, quorum=policy.limits.quorum(cents),
    )


def _judge_effect(effect: Effect, proposal: Proposal, caller: Caller, context: RuleContext, policy: Policy) -> Verdict:
    now = _rule(effect, proposal, caller, context, policy)
    if now.allowed:
        return Allow(now.rules)
    # A yes of enough other people satisfies every rule that a yes can satisfy.
    satisfied = context.model_copy(update={"others_yes": context.quorum, "own_yes": False})
    then = _rule(effect, proposal, caller, satisfied, policy)
    if then.allowed and not now.errors:
        return Ask(_asking(effect, proposal, context), context.quorum, then.rules)
    reason, remedy = _denying(effect, context, caller, policy)
    return Deny(reason, remedy, errors=tuple(dict.fromkeys((*now.errors, *then.errors))))


def _rule(effect: Effect, proposal: Proposal, caller: Caller, context: RuleContext, policy: Policy) -> Ruling:
    if policy.rules is None:
        return Ruling(False, errors=("no rules",))
    principal = {"type": "System" if caller.person == SYSTEM or caller.via == "system" else "Person", "id": caller.person}
    facts: Mapping[str, Any] = context.model_dump()
    request = {
        "principal": principal, "action": {"type": "Action", "id": effect.value},
        "resource": {"type": "Object", "id": proposal.target}, "context": facts,
    }
    return policy.rules.rule(request, policy.limits.calls.judge_timeout_s)


def _asking(effect: Effect, proposal: Proposal, context: RuleContext) -> str:
    if effect is Effect.SPEND and not isinstance(proposal.cost, Unpriced):
        people = f"; {context.quorum} people other than the requester must say yes" if context.quorum > 1 else ""
        return f"It may spend up to {dollars(proposal.cost.ceiling_micros)} {proposal.cost.currency}{people}."
    if effect is Effect.EXPOSE:
        return "It opens something to others."
    if effect is Effect.DESTROY:
        return "It deletes something that cannot be brought back."
    if context.unpriced:
        return "Nobody could work out what it costs."
    if context.imports:
        return "It brings in data from outside the allowed folders."
    return "It takes this machine for a while."


_REMEDY_POLICY = "Repair or remove the folder policy/ in LUTHIER_HOME, then start again; `python -m ui doctor` shows what is wrong."


def _denying(effect: Effect, context: RuleContext, caller: Caller, policy: Policy) -> tuple[str, str]:
    if policy.alarm and effect is not Effect.READ:
        return policy.alarm, _REMEDY_POLICY
    if caller.person == SYSTEM or caller.via == "system":
        return "Luthier itself may do nothing that no approved standing order covers.", "A person has to ask for it."
    if not context.role:
        return "This person is not known here, or no longer active.", "Sign in as a person that this Luthier knows."
    if not (context.target_is_mine or context.target_is_nobodys):
        return "No such object is yours.", "Name one of your own."
    if context.imports and context.role != "owner" and not context.solo:
        return "Only the owner may bring in data from outside the allowed folders.", "Ask the owner, or upload the file in the chat."
    if effect is Effect.SPEND and not context.spending:
        return "Spending is switched off.", "The owner can switch it on: [budget] spending in limits.toml."
    if context.unpriced:
        return "Nobody could work out what it costs, and an unknown cost is never accepted.", "Refresh the price list, or run it here."
    if effect is Effect.SPEND and context.cents > context.room_cents:
        return (f"It could cost {context.cents / 100:.2f} USD, and the budget leaves {context.room_cents / 100:.2f} USD.",
                "Choose something smaller, wait for the next day or month, or ask the owner to raise [budget] in limits.toml.")
    return f"The rules do not permit {effect.value} to the role {context.role}.", "Ask the owner of this Luthier."
