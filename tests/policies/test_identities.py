"""Linked identities: a code proves once who somebody is; no name and no e-mail ever does."""

import re
from datetime import timedelta

import pytest

from policies.identities import CODE_LIFE, Identities
from policies.tables import identity_codes
from policies.tool import ToolFailed
from tests.policies.home import Home

ANN, BOB = "T01:U01", "T01:U02"
TEAMS = "0f0e0d0c-0b0a-0908-0706-050403020100:11111111-2222-3333-4444-555555555555"


@pytest.fixture
def known(home: Home) -> Identities:
    """Identities over a home with three people and a service account, on the home's clock."""
    home.people.add("ann", "Ann", "member")
    home.people.add("bob", "Bob", "approver")
    home.people.add("robot", "R", "service")
    return Identities(home.book, home.clock)


def test_a_code_links_an_account_to_the_person_who_made_it(known: Identities) -> None:
    code = known.make_code("ann")
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}", code)
    assert known.link(code, "slack", ANN, "slack") == "ann"
    assert known.person_of("slack", ANN) == "ann" and known.person_of("teams", ANN) is None
    assert [(one.provider, one.subject, one.linked_via) for one in known.list("ann")] == [("slack", ANN, "slack")]


def test_a_code_may_be_typed_as_people_type(known: Identities) -> None:
    code = known.make_code("ann").lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert known.link(f" {code} ", "slack", ANN, "slack") == "ann"


def test_a_code_works_once(known: Identities) -> None:
    code = known.make_code("ann")
    known.link(code, "slack", ANN, "slack")
    for subject in (ANN, BOB):
        with pytest.raises(ToolFailed, match="was used"):
            known.link(code, "slack", subject, "slack")


def test_a_code_is_good_for_ten_minutes_and_no_longer(home: Home, known: Identities) -> None:
    code = known.make_code("ann")
    home.clock.now += CODE_LIFE - timedelta(microseconds=1)
    assert known.link(code, "slack", ANN, "slack") == "ann"
    code = known.make_code("ann")
    home.clock.now += CODE_LIFE
    with pytest.raises(ToolFailed, match="too old"):
        known.link(code, "teams", TEAMS, "teams")


def test_a_newer_code_of_a_person_replaces_the_older(known: Identities) -> None:
    old, other, new = known.make_code("ann"), known.make_code("bob"), known.make_code("ann")
    with pytest.raises(ToolFailed):
        known.link(old, "slack", ANN, "slack")
    assert (known.link(new, "slack", ANN, "slack"), known.link(other, "slack", BOB, "slack")) == ("ann", "bob")


def test_only_the_hash_of_a_code_is_kept(home: Home, known: Identities) -> None:
    code = known.make_code("ann")
    kept = home.book.read(lambda conn: str(conn.execute(identity_codes.select()).all()))
    assert code not in kept and code.replace("-", "") not in kept
    assert code.replace("-", "").encode() not in home.path.read_bytes()


@pytest.mark.parametrize("code", ["", "0000-0000-0000", "' OR 1=1 --", "\0", "x" * 100_000, "𝟘𝟙", "ann"])
def test_a_code_that_nobody_made_links_nothing(code: str, known: Identities) -> None:
    known.make_code("ann")
    with pytest.raises(ToolFailed, match="this code is not known"):
        known.link(code, "slack", ANN, "slack")
    assert known.person_of("slack", ANN) is None


def test_an_account_belongs_to_one_person_and_the_refused_code_stays_good(known: Identities) -> None:
    known.link(known.make_code("ann"), "slack", ANN, "slack")
    code = known.make_code("bob")
    with pytest.raises(ToolFailed, match="somebody else"):
        known.link(code, "slack", ANN, "slack")
    assert known.person_of("slack", ANN) == "ann"
    assert known.link(code, "slack", BOB, "slack") == "bob"


def test_linking_the_same_account_again_changes_nothing(known: Identities) -> None:
    for _ in range(2):
        assert known.link(known.make_code("ann"), "slack", ANN, "slack") == "ann"
    assert len(known.list("ann")) == 1


def test_a_person_may_have_several_accounts_and_lose_one(known: Identities) -> None:
    known.link(known.make_code("ann"), "slack", ANN, "slack")
    known.link(known.make_code("ann"), "teams", TEAMS, "teams")
    known.link(known.make_code("ann"), "web_oidc", "https://login.example/tenant:8f14e45f", "web")
    known.link(known.make_code("bob"), "slack", BOB, "slack")
    assert known.unlink("slack", ANN) and not known.unlink("slack", ANN)
    assert [one.provider for one in known.list("ann")] == ["teams", "web_oidc"] and known.person_of("slack", ANN) is None


def test_only_the_account_that_is_named_is_unlinked_not_its_namesake_elsewhere(known: Identities) -> None:
    known.link(known.make_code("ann"), "slack", ANN, "slack")
    known.link(known.make_code("bob"), "web_oidc", ANN, "web")
    assert not known.unlink("teams", ANN)
    assert known.unlink("slack", ANN)
    assert (known.person_of("slack", ANN), known.person_of("web_oidc", ANN)) == (None, "bob")


@pytest.mark.parametrize(("person", "why"), [("robot", "service account"), ("nobody", "not known"), ("former", "not known"),
                                             ("system", "not known")])
def test_who_cannot_be_linked(person: str, why: str, home: Home, known: Identities) -> None:
    home.people.add("former", "F", "member")
    home.people.set("former", active=False)
    with pytest.raises(ToolFailed, match=why):
        known.make_code(person)


def test_a_person_who_was_switched_off_since_the_code_is_not_linked(home: Home, known: Identities) -> None:
    code = known.make_code("ann")
    home.people.set("ann", active=False)
    with pytest.raises(ToolFailed, match="no longer active"):
        known.link(code, "slack", ANN, "slack")


@pytest.mark.parametrize(("provider", "subject"), [
    ("slack", "ann@example.com"), ("slack", "Ann"), ("slack", "T01"), ("slack", "T01:U01\n"), ("slack", "t01:u01"),
    ("teams", "ann@example.com"), ("teams", TEAMS.upper()), ("teams", "11111111-2222-3333-4444-555555555555"),
    ("web_oidc", "ann@example.com"), ("web_oidc", "tenant: ann"), ("web_oidc", ""), ("web_oidc", "a:" + "b" * 201),
    ("mail", "tenant:ann"), ("cli", "owner"), ("", ""),
])
def test_a_name_and_an_e_mail_are_no_account(provider, subject: str, known: Identities) -> None:
    code = known.make_code("ann")
    with pytest.raises(ToolFailed):
        known.link(code, provider, subject, "slack")
    assert known.link(code, "slack", ANN, "slack") == "ann"
