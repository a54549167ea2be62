"""Explanations: which rule decides, and what would change it, each found by judging again."""

import json
from dataclasses import replace

import pytest

from policies.explain import explain
from policies.judge import Facts, judge
from policies.limits import MICROS
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import Cost, Effect, Proposal, Trait, Unpriced
from policies.verdict import Deny

ANN = Caller("ann", "web")
MEMBER = Facts("member", False, 80 * MICROS)
READ, LOCAL, SPEND, EXPOSE, DESTROY = (frozenset({effect}) for effect in Effect)


@pytest.fixture
def policy() -> Policy:
    """The shipped policy."""
    return Policy.load()


def paid(usd: int, **more) -> Proposal:
    """A paid run."""
    place = {"region": "eastus", "sku": "Consumption", "max_minutes": 60} | more
    return Proposal(SPEND, "run:x", cost=Cost(usd * 500_000, usd * MICROS), **place)


def changes(proposal: Proposal, facts: Facts, policy: Policy, caller: Caller = ANN) -> dict[str, str]:
    """Fact → verdict of everything that would change it."""
    return {one.fact: one.verdict for one in explain(proposal, "tool", caller, facts, policy).changes}


def test_an_allowed_call_names_its_rule_and_the_rules_own_words(policy: Policy) -> None:
    said = explain(Proposal(READ, "models"), "list_models", ANN, MEMBER, policy)
    (one,) = said.effects
    assert (said.verdict, said.tool, one.effect, one.decision, said.quorum) == ("allow", "list_models", "READ", "allow", 0)
    assert one.rules == (("read-own", "Looking is free for every known person, at what is theirs or nobody's."),)
    assert {one.fact: one.verdict for one in said.changes} == {"if it belonged to somebody else": "deny"}


def test_a_question_says_who_could_answer_it_and_what_would_make_it_none(policy: Policy) -> None:
    found = changes(Proposal(LOCAL, "run:x", traits=frozenset({Trait.OCCUPIES})), MEMBER, policy)
    assert found["if another person who may decide said yes"] == found["if the one who asks said yes to it"] == "allow"
    assert found["if it did not take the machine for long"] == "allow"
    assert found["if the one who asks were a viewer"] == found["if the one who asks were an auditor"] == "deny"


def test_spending_among_others_is_not_helped_by_ones_own_yes(policy: Policy) -> None:
    found = changes(paid(10), MEMBER, policy)
    assert found["if another person who may decide said yes"] == "allow" and "if the one who asks said yes to it" not in found
    assert found["if [budget] spending were off"] == found["if the budgets left less than 10.00 USD"] == "deny"


def test_above_the_threshold_two_people_are_named(policy: Policy) -> None:
    said = explain(paid(100), "tool", ANN, replace(MEMBER, room_micros=500 * MICROS), policy)
    assert (said.verdict, said.quorum) == ("ask", 2)
    assert "if 2 other people who may decide said yes" in {one.fact for one in said.changes}


@pytest.mark.parametrize(("proposal", "facts", "fact"), [
    (paid(81), MEMBER, "if it could cost at most the 80.00 USD that the budgets leave"),
    (paid(81), MEMBER, "if the budgets left 81.00 USD"),
    (paid(10, region="mars"), MEMBER, "if it ran in one of eastus, westus3, swedencentral, australiaeast"),
    (paid(10, sku=""), MEMBER, "if it ran on one of Consumption-GPU-NC8as-T4, Consumption-GPU-NC24-A100, Consumption"),
    (paid(10, max_minutes=0), MEMBER, "if it lasted at most 24 hours and said so"),
    (Proposal(SPEND, "x", cost=Unpriced("no list")), MEMBER, "if its cost were known and nothing"),
    (Proposal(DESTROY, "x", owner="bob"), MEMBER, "if it belonged to the one who asks"),
    (Proposal(DESTROY, "x", owner="bob"), MEMBER, "if the one who asks were an owner"),
    (Proposal(LOCAL, "x", traits=frozenset({Trait.IMPORTS})), MEMBER, "if nobody else were known here"),
    (Proposal(LOCAL, "x", traits=frozenset({Trait.IMPORTS})), MEMBER, "if it brought in no data from outside the allowed folders"),
    (Proposal(READ, "x"), replace(MEMBER, role=""), "if the one who asks were a viewer"),
], ids=lambda one: one if isinstance(one, str) else "")
def test_a_denial_says_what_would_lift_it(proposal: Proposal, facts: Facts, fact: str, policy: Policy) -> None:
    said = explain(proposal, "tool", ANN, facts, policy)
    assert said.verdict == "deny" and said.reason and said.remedy
    assert {one.fact: one.verdict for one in said.changes}[fact] in ("ask", "allow")


def test_an_hour_outside_the_window_is_named(policy: Policy) -> None:
    limits = policy.limits.model_copy(update={"hours": policy.limits.hours.model_copy(update={"spend_from": 8, "spend_to": 18})})
    found = changes(paid(10), replace(MEMBER, hour=3), replace(policy, limits=limits))
    assert found["if it were 8 o'clock UTC"] == "ask"


def test_a_yes_that_stands_is_named(policy: Policy) -> None:
    found = changes(paid(10), replace(MEMBER, yes=frozenset({"bob"})), policy)
    assert found["if nobody had said yes"] == "ask"


def test_the_system_is_told_of_standing_orders_alone(policy: Policy) -> None:
    stop = Proposal(LOCAL, "run:x", owner="bob", traits=frozenset({Trait.STOPS}))
    system, nobody = Caller("system", "system"), Facts("", False, 0)
    assert changes(stop, nobody, policy, system) == {"if an approved standing order for it were due": "allow"}
    assert changes(stop, replace(nobody, order_due=True), policy, system) == {"if no approved standing order for it were due": "deny"}


def test_every_change_is_a_change(policy: Policy) -> None:
    for proposal in (paid(10), paid(200), Proposal(READ | DESTROY, "x"), Proposal(EXPOSE, "x", owner="bob"), Proposal(LOCAL, "x")):
        for role in ("owner", "member", "viewer", "auditor", ""):
            said = explain(proposal, "tool", ANN, replace(MEMBER, role=role), policy)
            assert all(one.verdict != said.verdict for one in said.changes)
            facts = [one.fact for one in said.changes]
            assert len(facts) == len(set(facts))


def test_a_call_that_cannot_be_judged_at_all_is_explained_as_denied(policy: Policy) -> None:
    said = explain(Proposal(READ, "x"), "tool", Caller("ann", "system"), MEMBER, policy)
    assert said.verdict == "deny" and said.effects == () and said.errors == ("impostor",)
    assert explain(Proposal(READ, "x"), "tool", ANN, MEMBER, replace(policy, rules=None, alarm="broken")).alarm == "broken"


def test_an_explanation_is_plain_json_and_explaining_changes_nothing(policy: Policy) -> None:
    proposal = paid(10)
    before = judge(proposal, "tool", ANN, MEMBER, policy)
    said = json.loads(json.dumps(explain(proposal, "tool", ANN, MEMBER, policy).as_json()))
    assert judge(proposal, "tool", ANN, MEMBER, policy) == before and not isinstance(before, Deny)
    assert said["policy"] == {"hash": policy.hash, "source": str(policy.source), "alarm": ""}
    assert said["effects"][0]["rules"][0]["id"] == "spend-approved" and said["effects"][0]["rules"][0]["says"].startswith("Money needs")
