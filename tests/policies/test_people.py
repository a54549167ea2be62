"""People: an owner from the start, solo mode by counting, rights read anew."""

import pytest
from sqlalchemy.exc import IntegrityError

from policies.people import Person
from tests.policies.home import Home


def test_the_owner_is_made_once(home: Home) -> None:
    assert home.people.ensure_owner("Another name") == Person("owner", "Ada", "owner")
    assert home.people.active() == (Person("owner", "Ada", "owner"),)


def test_solo_mode_counts_active_humans(home: Home) -> None:
    assert home.people.solo()
    home.people.add("robot", "R", "member", "service")
    assert home.people.solo()
    home.people.add("bob", "Bob", "member")
    assert not home.people.solo()
    home.people.set("bob", active=False)
    assert home.people.solo()


def test_a_role_is_that_of_an_active_person(home: Home) -> None:
    home.people.add("bob", "Bob", "member")
    assert (home.people.role("bob"), home.people.role("nobody")) == ("member", "")
    home.people.set("bob", role="viewer")
    assert home.people.role("bob") == "viewer"
    home.people.set("bob", active=False)
    assert home.people.role("bob") == "" and home.people.get("bob") == Person("bob", "Bob", "viewer", "human", False)


def test_an_id_belongs_to_one_person(home: Home) -> None:
    with pytest.raises(IntegrityError):
        home.people.add("owner", "Impostor", "owner")
