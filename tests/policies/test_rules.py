"""The shipped rules: a table of cases, and each condition of each rule taken away once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cedarpy
import pytest

from policies.policy import EFFECTS, SHIPPED, Policy, Rules
from policies.verdict import Ask, Deny
from tests.policies.cases import CASES, Case


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The shipped policy."""
    return Policy.load()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_shipped_rules(case: Case, policy: Policy) -> None:
    assert case.holds(policy), case.judged(policy)


def test_a_denial_and_a_question_say_why_and_what_to_do(policy: Policy) -> None:
    for case in CASES:
        verdict = case.judged(policy)
        if isinstance(verdict, Deny):
            assert verdict.reason.endswith((".", policy.hash)) and verdict.remedy, case.name
        if isinstance(verdict, Ask):
            assert verdict.reason.endswith("."), case.name


def conditions(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of every operand of every `&&`, which together are all conditions of a rule."""
    if not isinstance(node, dict):
        return
    for op, body in node.items():
        if op == "&&":
            for side in ("left", "right"):
                if "&&" not in body[side]:
                    yield (*path, op, side)
        if isinstance(body, dict):
            for key, part in body.items():
                yield from conditions(part, (*path, op, key))


def shipped() -> dict[str, Any]:
    """The shipped rules as Cedar's JSON."""
    text = "\n".join((SHIPPED / "rules" / f"{name}.cedar").read_text() for name in EFFECTS)
    return json.loads(cedarpy.policies_to_json_str(text))


def mutants() -> list[Any]:
    """One per condition: the rule's id, and the whole set without that condition."""
    made = []
    for name, rule in shipped()["staticPolicies"].items():
        for path in conditions(rule["conditions"][0]["body"]):
            broken = shipped()
            place = broken["staticPolicies"][name]["conditions"][0]["body"]
            for step in path[:-1]:
                place = place[step]
            gone = json.dumps(place[path[-1]])
            place[path[-1]] = {"Value": True}
            made.append(pytest.param(broken, id=f"{rule['annotations']['id']}: {gone[:60]}"))
    return made


@pytest.mark.parametrize("broken", mutants())
def test_every_condition_of_every_rule_is_needed(broken: dict[str, Any], policy: Policy) -> None:
    assert policy.rules is not None
    rules = Rules(cedarpy.PolicySet.from_json_str(json.dumps(broken)), policy.rules.schema)
    mutant = replace(policy, rules=rules)
    assert not all(case.holds(mutant) for case in CASES)


def test_every_rule_is_needed(policy: Policy) -> None:
    assert policy.rules is not None
    for name in shipped()["staticPolicies"]:
        broken = shipped()
        rule = broken["staticPolicies"].pop(name)
        mutant = replace(policy, rules=Rules(cedarpy.PolicySet.from_json_str(json.dumps(broken)), policy.rules.schema))
        assert not all(case.holds(mutant) for case in CASES), rule["annotations"]["id"]
