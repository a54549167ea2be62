"""The shipped rules: the table of policies/cases/, and each condition of each rule taken away once."""

import pytest

from policies.cases import load_cases, reason_of
from policies.policy import SHIPPED, Policy
from policies.verdict import Allow, Ask, Deny
from tests.mutants import RuleMutant, rule_mutants, shipped

FILES = {path.name: load_cases(path) for path in sorted((SHIPPED / "cases").glob("*.toml"))}
CASES = [pytest.param(case, found.limits, id=f"{name.removesuffix('.toml')}: {case.name}") for name, found in FILES.items()
         for case in found.case]


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The shipped policy."""
    return Policy.load()


@pytest.mark.parametrize(("case", "limits"), CASES)
def test_the_shipped_rules(case, limits, policy: Policy) -> None:
    verdict = case.judged(policy, limits)
    assert not case.missed(verdict), verdict


@pytest.mark.parametrize(("case", "limits"), CASES)
def test_a_denial_and_a_question_say_why_and_what_to_do(case, limits, policy: Policy) -> None:
    verdict = case.judged(policy, limits)
    assert isinstance(verdict, Allow) or reason_of(verdict).endswith(".")
    assert not isinstance(verdict, Deny) or verdict.remedy
    assert not isinstance(verdict, Allow | Ask) or verdict.rules


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=mutant.name) for mutant in rule_mutants()])
def test_every_condition_of_every_rule_and_every_rule_is_needed(mutant: RuleMutant, policy: Policy) -> None:
    assert not mutant.survives(policy)


def test_luthier_itself_is_named_by_one_rule_only() -> None:
    rules = shipped()["staticPolicies"].values()
    principals = {rule["annotations"]["id"]: rule["principal"] for rule in rules}
    assert {name for name, who in principals.items() if who.get("entity_type") == "System"} == {"system-standing-order"}
    assert {who.get("entity_type") for who in principals.values()} == {"Person", "System"}


def test_no_rule_knows_a_tool_or_a_person() -> None:
    for rule in shipped()["staticPolicies"].values():
        assert rule["resource"] == {"op": "All"} and "entity" not in rule["principal"], rule["annotations"]["id"]
