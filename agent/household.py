"""Who lives here and with which rights: people, their roles, their links and linked identities; every change is recorded."""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from sqlalchemy import select

from agent.door import Door
from agent.links import Links
from policies.identities import Identities
from policies.people import OWNER, SYSTEM, Caller, Person, Role
from policies.tables import identities as linked
from policies.tables import people as rows
from policies.tool import ToolFailed

NAME = re.compile(r"[a-z][a-z0-9_.-]{0,39}")
Kind = Literal["human", "service"]


class Household:
    """The people of one home. Whoever is not an active owner changes nothing here."""

    def __init__(self, door: Door, links: Links) -> None:
        self._door, self._links = door, links
        self._identities = Identities(door.book)

    def role(self, person: str) -> str:
        """The role of an active human, else the empty string: such a person may not even look."""
        found = self._door.people.get(person)
        return found.role if found is not None and found.active and found.kind == "human" else ""

    def list(self) -> list[dict[str, Any]]:
        """Everybody, with role, kind, whether active, and the linked identities."""
        def read(conn: Any) -> list[dict[str, Any]]:
            known = conn.execute(select(linked).order_by(linked.c.linked_at)).all()
            return [
                {"id": row.id, "name": row.name, "role": row.role, "kind": row.kind, "active": bool(row.active),
                 "identities": [{"provider": each.provider, "subject": each.subject, "linked_at": each.linked_at}
                                for each in known if each.person == row.id]}
                for row in conn.execute(select(rows).order_by(rows.c.created_at, rows.c.id))
            ]

        return self._door.book.read(read)

    async def add(self, person: str, name: str, role: str, kind: str, caller: Caller) -> Mapping[str, Any]:
        """A new person or service account. Raises ToolFailed for a bad or a known id, an unknown role, or a caller who is no owner."""
        what = f"{person[:40]!r} was not added"
        self._must_own(what, caller)
        if person in (OWNER, SYSTEM):
            raise ToolFailed(what, "this id is Luthier's own.", "Choose another id, for example `ann`; the name may be anything.")
        if not NAME.fullmatch(person):
            raise ToolFailed(what, "an id is up to 40 small letters, digits, dots, dashes and underscores, and begins with a letter.",
                             "Choose such an id, for example `ann`; the name may be anything.")
        if self._door.people.get(person) is not None:
            raise ToolFailed(what, "there is such a person already.", "Change them with `python -m ui people set ID`.")
        found = self._door.people.add(person, name.strip()[:80] or person, _role(what, role), _kind(what, kind))
        await self._note("person_added", caller, found)
        return self._one(person)

    async def set(self, person: str, caller: Caller, role: str | None = None, active: bool | None = None) -> Mapping[str, Any]:
        """Change a role, or switch a person on or off. Raises ToolFailed; the last active owner stays one."""
        what = f"{person[:40]!r} was not changed"
        self._must_own(what, caller)
        found = self._door.people.get(person)
        if found is None:
            raise ToolFailed(what, "there is no such person.", "`python -m ui people list` shows who there is.")
        wanted = found.role if role is None else _role(what, role)
        others = [each for each in self._door.people.active() if each.role == "owner" and each.id != person]
        if found.role == "owner" and found.active and not others and (wanted != "owner" or active is False):
            raise ToolFailed(what, "nobody else here is an owner.", "Make somebody else an owner first.")
        self._door.people.set(person, role=wanted, active=active)
        changed = self._door.people.get(person)
        assert changed is not None
        await self._note("person_changed", caller, changed)
        return self._one(person)

    def make_link(self, person: str = OWNER) -> str:
        """A token for a one-time sign-in link. Raises ToolFailed for somebody who may not sign in."""
        if not self.role(person):
            because = f"{person[:40]!r} is nobody who can sign in here."
            raise ToolFailed("No link was made", because, "`python -m ui people list` shows who can.")
        return self._links.make(person)

    def make_code(self, caller: Caller) -> str:
        """A code that links one's own account of a chat service, once, within ten minutes."""
        return self._identities.make_code(caller.person)

    async def unlink(self, provider: str, subject: str, caller: Caller) -> None:
        """Forget a linked identity: one's own, or anybody's as an owner. Raises ToolFailed."""
        what = "Nothing was unlinked"
        person = self._identities.person_of(provider, subject)
        if person is None or (person != caller.person and self.role(caller.person) != "owner"):
            raise ToolFailed(what, "there is no such linked account.", "`python -m ui people list` shows the linked ones.")
        self._identities.unlink(provider, subject)
        await self._door.gateway.note("admin", "identity_unlinked", caller, {"provider": provider, "person": person})

    def _must_own(self, what: str, caller: Caller) -> None:
        if self.role(caller.person) != "owner":
            raise ToolFailed(what, f"{caller.person} is no owner here.", "Ask an owner.", kind="refused")

    def _one(self, person: str) -> Mapping[str, Any]:
        return next(each for each in self.list() if each["id"] == person)

    async def _note(self, event: str, caller: Caller, person: Person) -> None:
        facts = {"person": person.id, "role": person.role, "person_kind": person.kind, "active": person.active,
                 "solo": self._door.people.solo()}
        await self._door.gateway.note("admin", event, caller, facts)


def _role(what: str, word: str) -> Role:
    for role in get_args(Role):
        if word == role:
            return role
    raise ToolFailed(what, f"{word[:40]!r} is no role.", f"Choose one of {', '.join(get_args(Role))}.")


def _kind(what: str, word: str) -> Kind:
    for kind in get_args(Kind):
        if word == kind:
            return kind
    raise ToolFailed(what, f"{word[:40]!r} is neither a human nor a service.", "Leave it out for a human.")
