"""Why the policy says what it says to one call, and what would change it, found by really judging again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import JsonValue

from policies.cases import Word, reason_of, word
from policies.judge import Facts, judge, judge_each
from policies.limits import MICROS_PER_CENT, Limits, cents_up, dollars
from policies.people import SYSTEM, Caller
from policies.policy import Policy
from policies.proposal import FREE, Cost, Effect, Proposal, Trait, Unpriced
from policies.verdict import Ask, Deny, Verdict

_SOMEBODY = "somebody-else"


@dataclass(frozen=True, slots=True)
class Reason:
    """What the policy says to one effect of a call."""

    effect: str
    decision: Word
    rules: tuple[tuple[str, str], ...]
    """Id and comment of the rules that permit it now, or that would after a yes; empty for a refusal: nothing permits it."""
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that, were it another, would change the verdict."""

    fact: str
    """In words: `if another person who may decide said yes`."""
    verdict: Word


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer to *why*, and to *what if*."""

    tool: str
    verdict: Word
    reason: str
    remedy: str
    quorum: int
    """How many people must say yes; 0 where nobody is asked."""
    effects: tuple[Reason, ...]
    changes: tuple[Change, ...]
    policy: str
    """Hash of the policy."""
    source: str
    alarm: str
    errors: tuple[str, ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        """The explanation as plain JSON."""
        effects: list[JsonValue] = [{
            "effect": one.effect, "decision": one.decision, "reason": one.reason, "remedy": one.remedy,
            "rules": [{"id": name, "says": comment} for name, comment in one.rules],
        } for one in self.effects]
        return {
            "tool": self.tool, "verdict": self.verdict, "reason": self.reason, "remedy": self.remedy, "quorum": self.quorum,
            "effects": effects, "changes": [{"fact": one.fact, "verdict": one.verdict} for one in self.changes],
            "policy": {"hash": self.policy, "source": self.source, "alarm": self.alarm}, "errors": list(self.errors),
        }


def explain(proposal: Proposal, tool: str, caller: Caller, facts: Facts, policy: Policy) -> Explanation:
    """Judge a call, and judge it again with each single fact changed; nothing is guessed from the text of a rule."""
    said, each = judge(proposal, tool, caller, facts, policy), judge_each(proposal, tool, caller, facts, policy)
    effects = () if isinstance(each, Deny) else tuple(_reason(effect, verdict, policy) for effect, verdict in each)
    changes = dict[str, Change]()
    for fact, what_if in _what_ifs(proposal, caller, facts, policy):
        then = word(judge(what_if.proposal, tool, what_if.caller, what_if.facts, what_if.policy))
        if then != word(said):
            changes.setdefault(fact, Change(fact, then))
    return Explanation(
        tool, word(said), reason_of(said), said.remedy if isinstance(said, Deny) else "", said.quorum if isinstance(said, Ask) else 0,
        effects, tuple(changes.values()), policy.hash, str(policy.source), policy.alarm, said.errors if isinstance(said, Deny) else (),
    )


def _reason(effect: Effect, verdict: Verdict, policy: Policy) -> Reason:
    words = policy.rules.words if policy.rules is not None else {}
    rules = tuple((rule, words.get(rule, "")) for rule in verdict.rules)
    return Reason(effect.value, word(verdict), rules, reason_of(verdict), verdict.remedy if isinstance(verdict, Deny) else "")


@dataclass(frozen=True, slots=True)
class _World:
    proposal: Proposal
    caller: Caller
    facts: Facts
    policy: Policy


def _what_ifs(proposal: Proposal, caller: Caller, facts: Facts, policy: Policy) -> Iterator[tuple[str, _World]]:
    here = _World(proposal, caller, facts, policy)
    yield from (*_other_people(here), *_other_things(here), *_other_money(here), *_other_places(here), *_other_limits(here))


def _other_people(here: _World) -> Iterator[tuple[str, _World]]:
    facts, who = here.facts, here.caller.person
    if who == SYSTEM:
        yield "if an approved standing order for it were due", replace(here, facts=replace(facts, order_due=True))
        yield "if no approved standing order for it were due", replace(here, facts=replace(facts, order_due=False))
        return
    if facts.yes:
        yield "if nobody had said yes", replace(here, facts=replace(facts, yes=frozenset()))
    cost = here.proposal.cost
    needed = here.policy.limits.quorum(0 if isinstance(cost, Unpriced) else cents_up(cost.ceiling_micros))
    words = "if another person who may decide said yes" if needed == 1 else f"if {needed} other people who may decide said yes"
    yield words, replace(here, facts=replace(facts, yes=facts.yes | {f"{_SOMEBODY}-{n}" for n in range(needed)}))
    yield "if the one who asks said yes to it", replace(here, facts=replace(facts, yes=facts.yes | {who}))
    for role in ("viewer", "auditor", "service", "member", "approver", "owner"):
        if role != facts.role:
            yield f"if the one who asks were {'an' if role[0] in 'ao' else 'a'} {role}", replace(here, facts=replace(facts, role=role))
    alone = "if nobody else were known here" if not facts.solo else "if somebody else were known here"
    yield alone, replace(here, facts=replace(facts, solo=not facts.solo))


def _other_things(here: _World) -> Iterator[tuple[str, _World]]:
    proposal, who = here.proposal, here.caller.person
    if proposal.owner != who:
        yield "if it belonged to the one who asks", replace(here, proposal=replace(proposal, owner=who))
    if proposal.owner in (None, who):
        yield "if it belonged to somebody else", replace(here, proposal=replace(proposal, owner=_SOMEBODY))
    for trait, words in (
        (Trait.OCCUPIES, "if it did not take the machine for long"),
        (Trait.IMPORTS, "if it brought in no data from outside the allowed folders"),
    ):
        if trait in proposal.traits:
            yield words, replace(here, proposal=replace(proposal, traits=proposal.traits - {trait}))


def _other_money(here: _World) -> Iterator[tuple[str, _World]]:
    proposal, facts, limits = here.proposal, here.facts, here.policy.limits
    if isinstance(proposal.cost, Unpriced):
        yield "if its cost were known and nothing", replace(here, proposal=replace(proposal, cost=FREE))
        return
    ceiling = proposal.cost.ceiling_micros
    if ceiling <= 0:
        return
    room, threshold = facts.room_micros // MICROS_PER_CENT * MICROS_PER_CENT, limits.two_person_micros()
    for most, words in (
        (room, f"if it could cost at most the {dollars(room)} USD that the budgets leave"),
        (threshold - MICROS_PER_CENT, f"if it could cost less than {dollars(threshold)} USD"),
    ):
        if 0 < most < ceiling:
            yield words, replace(here, proposal=replace(proposal, cost=_at_most(proposal.cost, most)))
    if ceiling > facts.room_micros:
        yield f"if the budgets left {dollars(ceiling)} USD", replace(here, facts=replace(facts, room_micros=ceiling + MICROS_PER_CENT))
    else:
        yield f"if the budgets left less than {dollars(ceiling)} USD", replace(here, facts=replace(facts, room_micros=0))


def _at_most(cost: Cost, most: int) -> Cost:
    return replace(cost, ceiling_micros=most, likely_micros=min(cost.likely_micros, most))


def _other_places(here: _World) -> Iterator[tuple[str, _World]]:
    proposal, limits = here.proposal, here.policy.limits
    if not {Effect.SPEND, Effect.EXPOSE} & proposal.effects and (isinstance(proposal.cost, Unpriced) or not proposal.cost.ceiling_micros):
        return
    for region in limits.places.regions[:1]:
        yield f"if it ran in {_one_of(limits.places.regions)}", replace(here, proposal=replace(proposal, region=region))
    for sku in limits.places.skus[:1]:
        yield f"if it ran on {_one_of(limits.places.skus)}", replace(here, proposal=replace(proposal, sku=sku))
    longest = limits.longest_minutes(endpoint=Effect.EXPOSE in proposal.effects)
    yield f"if it lasted at most {longest // 60} hours and said so", replace(here, proposal=replace(proposal, max_minutes=longest))
    shut = [hour for hour in range(24) if limits.opens(hour) != limits.opens(here.facts.hour)]
    if shut:
        yield f"if it were {shut[0]} o'clock UTC", replace(here, facts=replace(here.facts, hour=shut[0]))


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _other_limits(here: _World) -> Iterator[tuple[str, _World]]:
    limits = here.policy.limits
    on = limits.budget.spending
    yield f"if [budget] spending were {'off' if on else 'on'}", _under(here, "budget", spending=not on)
    own = limits.approval.self_approval
    yield f"if [approval] self_approval were {'off' if own else 'on'}", _under(here, "approval", self_approval=not own)


def _under(here: _World, section: str, **values: object) -> _World:
    limits = here.policy.limits
    part = getattr(limits, section).model_copy(update=values)
    return replace(here, policy=replace(here.policy, limits=Limits.model_copy(limits, update={section: part})))
