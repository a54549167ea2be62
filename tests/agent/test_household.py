"""Who lives here: added, changed, linked, each recorded; and who may do that."""

import json

import pytest
from sqlalchemy import select

from agent.household import Household
from agent.links import Links
from policies.people import Caller
from policies.tables import audit
from policies.tool import ToolFailed
from tests.agent.home import ME, Home

ANN = Caller("ann", "web", "link")


@pytest.fixture
async def household(home: Home) -> Household:
    """Of a home with its owner alone."""
    return Household(home.door(), Links(home.book))


def events(home: Home) -> list[tuple[str, dict[str, object]]]:
    """What the record says happened to people."""
    wanted = select(audit.c.record).where(audit.c.kind == "admin").order_by(audit.c.seq)
    rows = home.book.read(lambda conn: conn.execute(wanted).scalars().all())
    return [(each["event"], each["detail"]) for each in map(json.loads, rows)]


async def test_a_person_is_added_and_recorded_with_what_it_means_for_solo_mode(household: Household, home: Home) -> None:
    added = await household.add("ann", "Ann", "member", "human", ME)
    assert added["role"] == "member" and household.role("ann") == "member"
    (event, detail) = events(home)[-1]
    assert event == "person_added" and detail == {"person": "ann", "role": "member", "person_kind": "human", "active": True, "solo": False}


async def test_a_lost_role_counts_at_once(household: Household) -> None:
    await household.add("ann", "", "approver", "human", ME)
    await household.set("ann", ME, active=False)
    assert household.role("ann") == ""
    with pytest.raises(ToolFailed, match="nobody who can sign in"):
        household.make_link("ann")


@pytest.mark.parametrize(("person", "role", "kind"), [
    ("", "member", "human"), ("Ann Smith", "member", "human"), ("system", "owner", "human"), ("owner", "member", "human"),
    ("ann", "king", "human"), ("ann", "service", "human"), ("bot", "member", "service"), ("ann", "member", "robot"),
    ("a" * 80, "member", "human"), ("../x", "member", "human"),
])
async def test_what_cannot_be_a_person_is_said(household: Household, person: str, role: str, kind: str) -> None:
    before = household.list()
    with pytest.raises(ToolFailed) as told:
        await household.add(person, "", role, kind, ME)
    assert told.value.try_next and household.list() == before


@pytest.mark.parametrize("person", ["owner", "system"])
async def test_an_id_of_luthiers_own_is_said_to_be_taken_and_not_to_be_ill_formed(household: Household, person: str) -> None:
    with pytest.raises(ToolFailed, match="Luthier's own"):
        await household.add(person, "", "owner", "human", ME)


async def test_the_last_owner_stays_one(household: Household) -> None:
    for change in ({"role": "member"}, {"active": False}):
        with pytest.raises(ToolFailed, match="owner"):
            await household.set("owner", ME, **change)  # type: ignore[arg-type]
    assert household.role("owner") == "owner"


async def test_only_an_owner_changes_people(household: Household) -> None:
    await household.add("ann", "", "approver", "human", ME)
    for work in (lambda: household.add("eve", "", "owner", "human", ANN), lambda: household.set("ann", ANN, role="owner")):
        with pytest.raises(ToolFailed, match="no owner"):
            await work()
    assert household.role("ann") == "approver" and household.role("eve") == ""


async def test_a_service_neither_signs_in_nor_gets_a_code(household: Household) -> None:
    await household.add("bot", "", "service", "service", ME)
    assert household.role("bot") == ""
    with pytest.raises(ToolFailed):
        household.make_link("bot")
    with pytest.raises(ToolFailed):
        household.make_code(Caller("bot", "web"))


async def test_a_code_links_an_account_and_its_person_unlinks_it(household: Household, home: Home) -> None:
    await household.add("ann", "", "member", "human", ME)
    code = household.make_code(ANN)
    household._identities.link(code, "slack", "T1:U1", "slack")
    (ann,) = [each for each in household.list() if each["id"] == "ann"]
    assert [each["subject"] for each in ann["identities"]] == ["T1:U1"]
    await household.add("bob", "", "member", "human", ME)
    with pytest.raises(ToolFailed):
        await household.unlink("slack", "T1:U1", Caller("bob", "web"))
    await household.unlink("slack", "T1:U1", ANN)
    assert events(home)[-1][0] == "identity_unlinked"
    assert not next(each for each in household.list() if each["id"] == "ann")["identities"]
