"""Cases of a policy: read, judged, and said plainly when they do not hold."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from policies.cases import Case, CaseFile, cases_of, load_cases, run_cases
from policies.policy import SHIPPED, Policy

HOLDS = """
[[case]]
name = "looking is free"
when = { effects = ["READ"] }
then = { verdict = "allow", rules = ["read-own"] }
"""


@pytest.fixture
def policy() -> Policy:
    """The shipped policy."""
    return Policy.load()


def results(policy: Policy, folder: Path, text: str):
    """What becomes of one file of cases."""
    (folder / "cases.toml").write_text(text)
    return run_cases(policy, folder)


def test_the_shipped_cases_hold(policy: Policy) -> None:
    found = run_cases(policy, SHIPPED / "cases")
    assert len(found) > 150 and not [one for one in found if not one.ok]
    assert {one.file for one in found} == {f"{name}.toml" for name in
                                          ("read", "local", "spend", "expose", "destroy", "several", "system", "limits")}


def test_a_case_that_holds_says_its_verdict(policy: Policy, tmp_path: Path) -> None:
    (one,) = results(policy, tmp_path, HOLDS)
    assert (one.ok, one.file, one.name, one.wanted, one.got, one.words) == (
        True, "cases.toml", "looking is free", "allow", "allow", "allow")


@pytest.mark.parametrize(("old", "new", "words"), [
    ('"allow"', '"deny"', "It is allow, not deny."),
    ('effects = ["READ"]', 'effects = ["DESTROY"]', "It is ask, not allow. It deletes something that cannot be brought back."),
    ('rules = ["read-own"]', 'rules = ["read-everybodys"]', "It follows from read-own, not from read-everybodys."),
    ('rules = ["read-own"]', "rules = []", "It follows from read-own, not from none."),
    ('rules = ["read-own"]', 'says = "please"', "The reason does not say “please”."),
])
def test_a_case_that_does_not_hold_says_how(old: str, new: str, words: str, policy: Policy, tmp_path: Path) -> None:
    (one,) = results(policy, tmp_path, HOLDS.replace(old, new))
    assert not one.ok and one.words == words


def test_a_quorum_is_compared(policy: Policy) -> None:
    found = CaseFile.model_validate({"case": [{"name": "x", "when": {"effects": ["DESTROY"]}, "then": {"verdict": "ask", "quorum": 2}}]})
    (case,) = found.case
    assert case.missed(case.judged(policy)) == "1 must say yes, not 2"


@pytest.mark.parametrize("text", [
    "case = 1", "[[case]]", HOLDS + HOLDS, HOLDS.replace("when", "whne"), HOLDS.replace("READ", "FLY"), "\0", "[[case]",
    "é".encode("latin-1"),
    HOLDS.replace('effects = ["READ"]', 'effects = ["READ"], ceiling_usd = "1e3"'),
    HOLDS.replace('effects = ["READ"]', 'effects = ["READ"], traits = ["flies"]'),
    "[limits.nothing]\nx = 1\n" + HOLDS, "[limits.budget]\nspending = 1\n" + HOLDS, "[limits.approval]\nquorum = 0\n" + HOLDS,
], ids=range(13))
def test_what_cannot_be_read_is_a_case_that_does_not_hold(text: str | bytes, policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "cases.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = run_cases(policy, tmp_path)
    assert found and not any(one.ok for one in found) and all(one.missed for one in found)


def test_limits_of_a_file_and_of_a_case_hold_for_it_alone(policy: Policy, tmp_path: Path) -> None:
    text = """
[limits.approval]
quorum = 3

[[case]]
name = "the file's"
when = { effects = ["DESTROY"] }
then = { verdict = "ask", quorum = 3 }

[[case]]
name = "its own"
given = { limits = { approval = { quorum = 2 } } }
when = { effects = ["DESTROY"] }
then = { verdict = "ask", quorum = 2 }
"""
    assert all(one.ok for one in results(policy, tmp_path, text)) and policy.limits.approval.quorum == 1


def test_a_policy_that_changed_is_noticed_by_its_cases(policy: Policy) -> None:
    limits = policy.limits.model_copy(update={"places": policy.limits.places.model_copy(update={"regions": ["westeurope"]})})
    failed = {one.name for one in run_cases(replace(policy, limits=limits), SHIPPED / "cases") if not one.ok}
    assert "ten dollars for an hour ask one person" in failed and "a region that nobody allowed is denied" in failed
    assert {one.file for one in run_cases(replace(policy, limits=limits), SHIPPED / "cases") if not one.ok} == {"limits.toml"}


def test_a_home_has_its_own_cases_or_the_shipped_ones(tmp_path: Path) -> None:
    assert cases_of(tmp_path) == SHIPPED / "cases" == cases_of(SHIPPED)
    shutil.copytree(SHIPPED / "cases", tmp_path / "cases")
    assert cases_of(tmp_path) == tmp_path / "cases"


def test_every_shipped_case_has_a_name_of_its_own() -> None:
    names = [case.name for path in (SHIPPED / "cases").glob("*.toml") for case in load_cases(path).case]
    assert len(names) == len(set(names))


def test_a_case_is_frozen_and_closed() -> None:
    with pytest.raises(ValueError):
        Case.model_validate({"name": "x", "when": {"effects": ["READ"], "approved": True}, "then": {"verdict": "allow"}})
