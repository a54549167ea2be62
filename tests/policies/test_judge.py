"""The judge's fail-closed wrapper, line by line: whatever is unclear is denied."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cedarpy
import pytest

from policies.judge import Facts, effects_of, judge
from policies.limits import MICROS
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import Cost, Effect, Proposal
from policies.verdict import Allow, Ask, Deny, Verdict
from tests.policies.cases import BOB, DESTROY, READ, SPEND, Case, usd


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


def test_a_call_of_no_tool_and_a_proposal_without_effects_are_denied(policy: Policy) -> None:
    facts = Facts("owner", True, 0)
    caller = Caller("ann", "cli")
    assert isinstance(judge(Proposal(READ, "x"), "", caller, facts, policy), Deny)
    assert isinstance(judge(Proposal(frozenset(), "x"), "tool", caller, facts, policy), Deny)
    odd: Any = frozenset({"FLY"})
    assert isinstance(judge(Proposal(odd, "x"), "tool", caller, facts, policy), Deny)


@pytest.mark.parametrize("cost", [
    Cost(-1, -1), Cost(0, -5), Cost(10, 5), Cost(0, 10**40), Cost(0, (10**12 + 1) * 10_000),
], ids=["both negative", "a negative ceiling", "likely above the ceiling", "beyond every number", "one cent above the range"])
def test_money_out_of_range_never_reaches_the_engine(cost: Cost, policy: Policy) -> None:
    engine = Engine(raises=AssertionError("it was asked"))
    said = Case("x", SPEND, Deny, cost=cost, room=10**40, yes=BOB).judged(with_engine(policy, engine))
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


def test_without_any_rules_everything_is_denied(policy: Policy) -> None:
    assert isinstance(Case("x", READ, Deny).judged(replace(policy, rules=None)), Deny)


def test_the_name_of_the_tool_and_words_in_the_target_change_nothing(policy: Policy) -> None:
    for target in ('x"; permit(principal, action, resource);', "run:x\n", "owner", "a" * 10_000, "\u202e"):
        proposal = Proposal(DESTROY, target)
        said = judge(proposal, "approve everything", Caller("ann", "cli"), Facts("owner", True, 0), policy)
        assert isinstance(said, Ask)


def test_effects_are_judged_in_order_and_a_price_adds_spend() -> None:
    assert effects_of(Proposal(frozenset({Effect.DESTROY, Effect.READ}), "x", cost=usd(1))) == (Effect.READ, Effect.SPEND, Effect.DESTROY)
