"""People: an owner from the start, solo mode by counting, rights read anew."""

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from policies.people import Person
from policies.tables import people
from policies.tool import ToolFailed
from tests.policies.home import Home


def test_the_owner_is_made_once(home: Home) -> None:
    assert home.people.ensure_owner("Another name") == Person("owner", "Ada", "owner")
    assert home.people.active() == (Person("owner", "Ada", "owner"),)


def test_solo_mode_counts_active_humans(home: Home) -> None:
    assert home.people.solo()
    home.people.add("robot", "R", "service")
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


def test_a_role_and_a_kind_go_together(home: Home) -> None:
    assert home.people.add("robot", "R", "service").kind == "service" and home.people.add("ann", "A", "auditor").kind == "human"
    wrong: Any = "king"
    pairs: tuple[Any, ...] = (("service", "human"), ("member", "service"), ("owner", "service"), (wrong, "human"))
    for role, kind in pairs:
        with pytest.raises(ToolFailed):
            home.people.add("x", "X", role, kind)
    others: tuple[Any, ...] = (("robot", "member"), ("ann", "service"), ("ann", wrong), ("nobody", "member"))
    for person, role in others:
        with pytest.raises(ToolFailed):
            home.people.set(person, role=role)
    assert {one.id: one.role for one in home.people.all()} == {"owner": "owner", "robot": "service", "ann": "auditor"}


@pytest.mark.parametrize("person", ["", "system", "a b", "a\n", "-x", "ä", "a" * 65, "a/b", "../x", "<b>"])
def test_an_id_is_plain_and_never_the_systems(home: Home, person: str) -> None:
    with pytest.raises(ToolFailed, match="an id is"):
        home.people.add(person, "X", "member")


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_is_neither_empty_nor_endless(home: Home, name: str) -> None:
    with pytest.raises(ToolFailed, match="a name has"):
        home.people.add("x", name, "member")


def test_the_last_active_owner_stays_one(home: Home) -> None:
    home.people.add("former", "F", "owner")
    home.people.set("former", active=False)
    home.people.add("ann", "A", "member")
    for change in ({"role": "member"}, {"active": False}):
        with pytest.raises(ToolFailed, match="active owner"):
            home.people.set("owner", **dict[str, Any](change))
    home.people.set("former", role="viewer")
    home.people.set("ann", role="owner")
    home.people.set("owner", role="member")
    assert home.people.role("owner") == "member"


def test_a_change_that_takes_no_owner_away_is_never_refused(home: Home) -> None:
    home.people.set("owner", role="owner", active=True)
    home.people.add("ann", "A", "member")
    home.people.add("former", "F", "owner")
    # As a hand at the file could leave it: nobody active owns anything, and what is left can still be changed.
    home.book.write(lambda conn: conn.execute(people.update().where(people.c.role == "owner").values(active=0)))
    home.people.set("ann", role="viewer")
    home.people.set("former", role="member")
    assert [home.people.role("ann"), home.people.get("former")] == ["viewer", Person("former", "F", "member", "human", False)]
