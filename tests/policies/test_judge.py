"""The judge's fail-closed wrapper, line by line: whatever is unclear is denied.

The lines: 1 only a clean, quick Allow for a known person and a tool allows; 2 a set that does not validate is not in force
(test_policy); 3 numbers are checked before the engine; 4 caps stand in permits, and a forbid that could fail is refused
(test_policy, test_rules); 5 denied with and without a yes is denied; 6 the hash of rules and limits is in every record
and digest (test_digest, test_intents); 7 no code writes a policy file (test_policy); 8 every condition is needed
(test_rules, `make mutate`); 9 words are no input.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import cedarpy
import pytest

from policies.judge import Facts, effects_of, judge, strictest
from policies.limits import MICROS
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import Cost, Effect, Proposal
from policies.verdict import Allow, Ask, Deny, Verdict
from tests.policies.cases import BOB, DESTROY, LOCAL, READ, SPEND, STOPS, Case, usd


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The shipped policy."""
    return Policy.load()


class Engine:
    """An engine that answers as it is told."""

    def __init__(self, decision: str = "Allow", errors: tuple[str, ...] = (), raises: Exception | None = None) -> None:
        self.decision, self.errors, self.raises = decision, list(errors), raises

    def __call__(self, *_: object) -> cedarpy.AuthzResult:
        if self.raises is not None:
            raise self.raises
        return cedarpy.AuthzResult({"decision": self.decision, "diagnostics": {"reason": ["policy0"], "errors": self.errors}})


def ticks(step: float) -> Callable[[], float]:
    """A clock that moves by `step` seconds each time it is read."""
    state = [0.0]

    def read() -> float:
        state[0] += step
        return state[0]

    return read


def with_engine(policy: Policy, engine: Engine, step: float = 0.0) -> Policy:
    """The policy over another engine and clock."""
    assert policy.rules is not None
    return replace(policy, rules=replace(policy.rules, authorize=engine, clock=ticks(step)))


@pytest.mark.parametrize(("engine", "step", "verdict"), [
    pytest.param(Engine("Allow"), 0.0, Allow, id="allow without errors is allowed"),
    pytest.param(Engine("Allow", ("while evaluating policy3: overflow",)), 0.0, Deny, id="allow with an error is denied"),
    pytest.param(Engine("NoDecision", ("request does not match the schema",)), 0.0, Deny, id="no decision is denied"),
    pytest.param(Engine("NoDecision"), 0.0, Deny, id="no decision without a word is denied"),
    pytest.param(Engine("Deny"), 0.0, Deny, id="deny is denied"),
    pytest.param(Engine(raises=ValueError("broken")), 0.0, Deny, id="an exception is denied"),
    pytest.param(Engine(raises=RecursionError()), 0.0, Deny, id="a deep exception is denied"),
    pytest.param(Engine("Allow"), 2.1, Deny, id="an answer after more than two seconds is denied"),
    pytest.param(Engine("Maybe"), 0.0, Deny, id="a decision that does not exist is denied"),
])
def test_only_a_clean_quick_allow_allows(engine: Engine, step: float, verdict: type[Verdict], policy: Policy) -> None:
    said = Case("looking", READ, verdict).judged(with_engine(policy, engine, step))
    assert isinstance(said, verdict)


def test_the_errors_of_the_engine_are_in_the_denial(policy: Policy) -> None:
    said = Case("looking", READ, Deny).judged(with_engine(policy, Engine("Allow", ("overflow",))))
    assert isinstance(said, Deny) and said.errors == ("overflow",)
    said = Case("looking", READ, Deny).judged(with_engine(policy, Engine("NoDecision", ("no such attribute",))))
    assert isinstance(said, Deny) and said.errors == ("no such attribute",)
    said = Case("looking", READ, Deny).judged(with_engine(policy, Engine("NoDecision")))
    assert isinstance(said, Deny) and said.errors == ("engine: no decision",)


def test_a_call_of_no_tool_and_a_proposal_without_effects_are_denied(policy: Policy) -> None:
    facts = Facts("owner", True, 0)
    caller = Caller("ann", "cli")
    odd: Any = frozenset({"FLY"})
    for effects, tool in ((READ, ""), (frozenset(), "tool"), (odd, "tool"), (odd | READ, "tool")):
        said = judge(Proposal(effects, "x"), tool, caller, facts, policy)
        assert isinstance(said, Deny) and "does not say" in said.reason


@pytest.mark.parametrize("cost", [
    Cost(-1, -1), Cost(0, -5), Cost(10, 5), Cost(0, 10**40), Cost(0, (10**12 + 1) * 10_000),
], ids=["both negative", "a negative ceiling", "likely above the ceiling", "beyond every number", "one cent above the range"])
def test_money_out_of_range_never_reaches_the_engine(cost: Cost, policy: Policy) -> None:
    engine = Engine(raises=AssertionError("it was asked"))
    said = Case("x", SPEND, Deny, cost=cost, yes=BOB).judged(with_engine(policy, engine))
    assert isinstance(said, Deny) and "engine" not in str(said.errors)


def test_a_number_that_is_none_is_denied(policy: Policy) -> None:
    for amount in (float("nan"), float("inf"), 1.5, "7", None):
        wrong: Any = Cost(0, 0)
        object.__setattr__(wrong, "ceiling_micros", amount)
        with_wrong = Proposal(SPEND, "x", cost=wrong)
        try:
            said = judge(with_wrong, "tool", Caller("ann", "cli"), Facts("owner", True, MICROS, BOB), policy)
        except TypeError:
            continue  # it rises as a bug, and the gateway answers it as one: nothing runs
        assert isinstance(said, Deny)


@pytest.mark.parametrize("minutes", [float("nan"), float("inf"), -1, 10**30], ids=str)
def test_a_time_that_is_none_is_denied(minutes: Any, policy: Policy) -> None:
    for cost in (usd(1), usd(0)):
        proposal = Proposal(SPEND, "x", cost=cost, region="eastus", sku="Consumption", max_minutes=minutes)
        assert isinstance(judge(proposal, "tool", Caller("ann", "cli"), Facts("owner", True, 50 * MICROS, BOB), policy), Deny)


def test_the_largest_sums_do_not_overflow(policy: Policy) -> None:
    """Line 3: what is within the range is judged without an error of the engine, however large."""
    limits = policy.limits.model_copy(update={"approval": policy.limits.approval.model_copy(update={"quorum": 1000})})
    said = Case("x", SPEND, Deny, cost=Cost(0, 10**12 * 10_000), room=10**12 * 10_000, yes=BOB).judged(replace(policy, limits=limits))
    assert isinstance(said, Ask) and said.quorum == 1000
    over = Case("x", SPEND, Deny, cost=usd(1), room=(10**12 + 1) * 10_000, yes=BOB).judged(policy)
    assert isinstance(over, Deny) and over.errors == ("ValidationError",)


@pytest.mark.parametrize("facts", [
    Facts(cast(Any, None), True, MICROS, BOB), Facts(cast(Any, 1), True, MICROS, BOB), Facts("owner", cast(Any, 1), MICROS, BOB),
    Facts("owner", cast(Any, None), MICROS, BOB), Facts("owner", True, MICROS, BOB, order_due=cast(Any, "yes")),
], ids=["no role", "a number as role", "a number as solo", "nothing as solo", "a word as order"])
def test_a_fact_of_another_kind_is_denied_before_the_engine_is_asked(facts: Facts, policy: Policy) -> None:
    engine = Engine(raises=AssertionError("it was asked"))
    said = judge(Proposal(READ, "x"), "tool", Caller("ann", "cli"), facts, with_engine(policy, engine))
    assert isinstance(said, Deny) and said.errors == ("ValidationError",)


def test_what_is_denied_with_and_without_a_yes_is_denied_and_asks_nobody(policy: Policy) -> None:
    """Line 5, over an engine that says no to everything and one that says yes only to the second question."""
    assert isinstance(Case("x", DESTROY, Deny, yes=BOB).judged(with_engine(policy, Engine("Deny"))), Deny)
    answers = iter(("Deny", "Allow"))
    second = replace(policy, rules=replace(policy.rules, authorize=lambda *_: Engine(next(answers))())) if policy.rules else policy
    assert isinstance(Case("x", DESTROY, Ask).judged(second), Ask)


def test_an_error_in_the_first_question_is_never_turned_into_a_question_to_a_person(policy: Policy) -> None:
    answers = iter((Engine("Allow", ("overflow",)), Engine("Allow")))
    assert policy.rules is not None
    odd = replace(policy, rules=replace(policy.rules, authorize=lambda *_: next(answers)()))
    said = Case("x", DESTROY, Deny).judged(odd)
    assert isinstance(said, Deny) and said.errors == ("overflow",)


@pytest.mark.parametrize(("person", "via"), [("system", "cli"), ("system", "web"), ("system", "mcp"), ("ann", "system"), ("", "system")])
def test_nobody_is_half_the_system(person: str, via: Any, policy: Policy) -> None:
    for effects, traits in ((READ, frozenset()), (LOCAL, STOPS)):
        proposal = Proposal(effects, "run:x", traits=traits)
        said = judge(proposal, "tool", Caller(person, via), Facts("owner", True, MICROS, order_due=True), policy)
        assert isinstance(said, Deny) and said.errors == ("impostor",)


def test_without_any_rules_everything_is_denied(policy: Policy) -> None:
    said = Case("x", READ, Deny).judged(replace(policy, rules=None, alarm="broken"))
    assert isinstance(said, Deny) and said.errors == ("broken",)


def test_the_name_of_the_tool_and_words_in_the_target_change_nothing(policy: Policy) -> None:
    for target in ('x"; permit(principal, action, resource);', "run:x\n", "owner", "a" * 10_000, "\u202e"):
        proposal = Proposal(DESTROY, target)
        said = judge(proposal, "approve everything", Caller("ann", "cli"), Facts("owner", True, 0), policy)
        assert isinstance(said, Ask)


def test_the_strictest_verdict_wins_and_no_verdict_is_a_refusal() -> None:
    allow, ask, more, deny = Allow(("a",)), Ask("Why.", 1, ("b",)), Ask("How.", 2, ("c",)), Deny("No.")
    assert strictest([allow, allow]) == Allow(("a", "a"))
    assert strictest([allow, ask, more, ask]) == Ask("Why. How.", 2, ("b", "c", "b"))
    assert strictest([allow, ask, deny, allow]) is deny
    assert isinstance(strictest([]), Deny)


def test_effects_are_judged_in_order_and_a_price_adds_spend() -> None:
    assert effects_of(Proposal(frozenset({Effect.DESTROY, Effect.READ}), "x", cost=usd(1))) == (Effect.READ, Effect.SPEND, Effect.DESTROY)
