"""Whether a proposed call may run: one pure function that joins rules and limits, and refuses whatever is unclear."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies.limits import MAX_CENTS, MICROS_PER_CENT, Limits, cents_up, dollars
from policies.people import SEES_ALL, SYSTEM, Caller
from policies.policy import Policy, Rules, Ruling
from policies.proposal import Effect, Proposal, Trait, Unpriced
from policies.redact import visible
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
    order_due: bool = False
    """Whether an approved standing order for the target is due now, so that Luthier itself may stop it."""
    hour: int = 12
    """The hour of the UTC day now, 0..23."""
    broken_glass: bool = False
    """Whether an owner said yes to exactly this alone, with a written reason."""


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
    break_glass: bool
    region_allowed: bool
    sku_allowed: bool
    hours_allowed: bool
    order_due: bool


def judge(proposal: Proposal, tool: str, caller: Caller, facts: Facts, policy: Policy) -> Verdict:
    """Judge a proposal once per effect; the strictest verdict wins, and the last line is a refusal.

    Ask means: denied now, allowed once enough people have said yes. Words, prose and tool output are no input here.
    """
    each = judge_each(proposal, tool, caller, facts, policy)
    if isinstance(each, Deny):
        return each
    return strictest([verdict for _, verdict in each])


def strictest(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict out of one per effect: the first refusal, else every question at once, and Allow only if all allow."""
    asked, rules = list[Ask](), list[str]()
    for verdict in verdicts:
        match verdict:
            case Allow():
                rules += verdict.rules
            case Ask():
                asked.append(verdict)
            case _:
                return verdict
    if asked:
        reasons = dict.fromkeys(verdict.reason for verdict in asked)
        return Ask(" ".join(reasons), max(verdict.quorum for verdict in asked), tuple(r for v in asked for r in v.rules))
    if not verdicts:
        return Deny("Nothing permits this.", "Ask the owner of this Luthier.")
    return Allow(tuple(rules))


def judge_each(
    proposal: Proposal, tool: str, caller: Caller, facts: Facts, policy: Policy,
) -> Deny | tuple[tuple[Effect, Verdict], ...]:
    """The verdict on each effect, in order of weight; or the refusal of a call that cannot be judged at all."""
    effects = effects_of(proposal)
    if not tool or not effects:
        return Deny("The call does not say which tool it is or what it would do.", "This is an error in the tool; report it.")
    if policy.rules is None:
        return Deny("No policy could be loaded.", _REMEDY_POLICY, errors=(policy.alarm,))
    if (caller.person == SYSTEM) != (caller.via == "system"):
        return Deny("Only Luthier itself speaks as the system.", "Ask as the person you are.", errors=("impostor",))
    try:
        context = context_of(proposal, caller, facts, policy)
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        return Deny("The call's figures are outside every limit.", "Give amounts between 0 and 10000000000 USD.",
                    errors=(type(error).__name__,))
    return tuple((effect, _judge_effect(effect, proposal, caller, facts, context, policy, policy.rules)) for effect in effects)


def effects_of(proposal: Proposal) -> tuple[Effect, ...]:
    """The effects in order of weight; a price makes a call SPEND whether or not its tool says so."""
    effects = set(proposal.effects)
    if not isinstance(proposal.cost, Unpriced) and proposal.cost.ceiling_micros > 0:
        effects.add(Effect.SPEND)
    return tuple(effect for effect in _ORDER if effect in effects) if effects <= set(_ORDER) else ()


def context_of(proposal: Proposal, caller: Caller, facts: Facts, policy: Policy) -> RuleContext:
    """The facts a rule may read. Raises ValidationError when a number is out of range."""
    unpriced, limits = isinstance(proposal.cost, Unpriced), policy.limits
    cents = 0 if isinstance(proposal.cost, Unpriced) else cents_up(proposal.cost.ceiling_micros)
    if not isinstance(proposal.cost, Unpriced) and not 0 <= proposal.cost.likely_micros <= proposal.cost.ceiling_micros:
        raise ValueError("the likely cost is above the ceiling")
    return RuleContext(
        role=facts.role, via=caller.via, solo=facts.solo,
        target_is_mine=proposal.owner == caller.person, target_is_nobodys=proposal.owner is None,
        occupies=Trait.OCCUPIES in proposal.traits, imports=Trait.IMPORTS in proposal.traits, stops=Trait.STOPS in proposal.traits,
        unpriced=unpriced, cents=cents, room_cents=max(0, facts.room_micros) // MICROS_PER_CENT,
        spending=limits.budget.spending,
        others_yes=len(facts.yes - {caller.person}), own_yes=caller.person in facts.yes,
        self_approval=limits.approval.self_approval, quorum=limits.quorum(cents),
        break_glass=facts.broken_glass and limits.approval.break_glass,
        region_allowed=_named(proposal.region, limits.places.regions, proposal),
        sku_allowed=_named(proposal.sku, limits.places.skus, proposal),
        hours_allowed=_short(proposal, limits) and (not _paid(proposal) or limits.opens(facts.hour)),
        order_due=facts.order_due,
    )


def _paid(proposal: Proposal) -> bool:
    return isinstance(proposal.cost, Unpriced) or proposal.cost.ceiling_micros > 0


def _named(name: str, allowed: list[str], proposal: Proposal) -> bool:
    # What costs money and does not say where or on what is not allowed either.
    return name in allowed if name else not _paid(proposal)


def _short(proposal: Proposal, limits: Limits) -> bool:
    longest = limits.longest_minutes(endpoint=Effect.EXPOSE in proposal.effects)
    return (0 if _paid(proposal) else -1) < proposal.max_minutes <= longest


def _judge_effect(
    effect: Effect, proposal: Proposal, caller: Caller, facts: Facts, context: RuleContext, policy: Policy, rules: Rules,
) -> Verdict:
    limit_s = policy.limits.calls.judge_timeout_s
    now = _rule(effect, proposal, caller, context, rules, limit_s)
    if now.allowed:
        return Allow(now.rules)
    # A yes of enough other people satisfies every rule that a yes can satisfy.
    satisfied = context.model_copy(update={"others_yes": context.quorum, "own_yes": False})
    then = _rule(effect, proposal, caller, satisfied, rules, limit_s)
    if then.allowed and not now.errors:
        return Ask(_asking(effect, proposal, context), context.quorum, then.rules)
    reason, remedy = _denying(effect, proposal, facts, context, caller, policy)
    return Deny(reason, remedy, errors=tuple(dict.fromkeys((*now.errors, *then.errors))))


def _rule(effect: Effect, proposal: Proposal, caller: Caller, context: RuleContext, rules: Rules, limit_s: float) -> Ruling:
    principal = {"type": "System" if caller.person == SYSTEM else "Person", "id": caller.person}
    facts: Mapping[str, Any] = context.model_dump()
    request = {
        "principal": principal, "action": {"type": "Action", "id": effect.value},
        "resource": {"type": "Object", "id": proposal.target}, "context": facts,
    }
    return rules.rule(request, limit_s)


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


def _denying(
    effect: Effect, proposal: Proposal, facts: Facts, context: RuleContext, caller: Caller, policy: Policy,
) -> tuple[str, str]:
    if policy.alarm and effect is not Effect.READ:
        return policy.alarm, _REMEDY_POLICY
    if caller.person == SYSTEM:
        return "Luthier itself may do nothing that no approved standing order covers.", "A person has to ask for it."
    if not context.role:
        return "This person is not known here, or no longer active.", "Sign in as a person that this Luthier knows."
    if not (context.target_is_mine or context.target_is_nobodys or context.role in _reach(effect)):
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
    if effect in (Effect.SPEND, Effect.EXPOSE):
        outside = _outside(proposal, facts, context, policy.limits)
        if outside:
            return outside
    return f"The rules do not permit {effect.value} to the role {context.role}.", "Ask the owner of this Luthier."


def _reach(effect: Effect) -> frozenset[str]:
    return SEES_ALL if effect is Effect.READ else frozenset({"owner"})


def _outside(proposal: Proposal, facts: Facts, context: RuleContext, limits: Limits) -> tuple[str, str] | None:
    if not context.region_allowed:
        return _not_listed("region", proposal.region, limits.places.regions)
    if not context.sku_allowed:
        return _not_listed("hardware", proposal.sku, limits.places.skus)
    if context.hours_allowed:
        return None
    if _short(proposal, limits):
        begin, end = limits.hours.spend_from, limits.hours.spend_to
        return (f"Spending may begin from {begin} to {end} o'clock UTC, and it is past {facts.hour}.",
                "Wait for that hour, or ask the owner to change [hours] in limits.toml.")
    longest = limits.longest_minutes(endpoint=Effect.EXPOSE in proposal.effects) // 60
    said = f"{-(-proposal.max_minutes // 60)} hours" if proposal.max_minutes > 0 else "no longest time"
    return (f"It names {said}, and at most {longest} hours may be paid for at a time.",
            "Choose a shorter time, or ask the owner to raise the limit in limits.toml.")


def _not_listed(what: str, name: str, allowed: list[str]) -> tuple[str, str]:
    listed = ", ".join(allowed) or "none"
    said = f"The {what} {visible(name)[:64]} is not among those that may be paid for" if name else f"It costs money and names no {what}"
    return f"{said}; allowed: {listed}.", "Choose one of them, or ask the owner to add it under [places] in limits.toml."
