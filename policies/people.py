"""Who asks and who decides: persons, their roles, and the face a call came through.

| role | may |
| --- | --- |
| viewer | read what is theirs or nobody's, and stop what is theirs |
| member | that, and work, and propose spending on what is theirs |
| approver | that, and read what is everybody's, and decide approvals |
| owner | everything, and stop what is anybody's |
| auditor | read what is everybody's, and decide nothing |
| service | as a member, for a program; never decides, and cannot be linked to a chat identity |

`system` is no row: Luthier itself, which may only stop what an approved standing order says is due.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import Connection, select

from policies.book import Book, now_text
from policies.tables import people
from policies.tool import ToolFailed

Via = Literal["web", "slack", "teams", "cli", "mcp", "system"]
Role = Literal["viewer", "member", "approver", "owner", "auditor", "service"]
Kind = Literal["human", "service"]

OWNER = "owner"
SYSTEM = "system"
ROLES: tuple[Role, ...] = get_args(Role)
SEES_ALL = frozenset({"owner", "approver", "auditor"})
"""The roles that may look at what belongs to others."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated author of a call; never taken from words."""

    person: str
    """The linked human identity, e.g. `owner`; `system` for standing orders."""
    via: Via
    auth: str = ""
    """How the person was recognised: `link`, `peer uid`, …"""
    thread: str | None = None
    session: str = ""
    """Hash of the web session, empty elsewhere."""


@dataclass(frozen=True, slots=True)
class Person:
    """One row of people: a human, or a service account, which can never approve."""

    id: str
    name: str
    role: Role
    kind: Kind = "human"
    active: bool = True


def find_person(conn: Connection, person: str) -> Person | None:
    """The person with this id, active or not; None when the book knows nobody by it."""
    row = conn.execute(select(people).where(people.c.id == person)).one_or_none()
    return None if row is None else Person(row.id, row.name, row.role, row.kind, bool(row.active))


def active_people(conn: Connection) -> tuple[Person, ...]:
    """Every active human, by id; whoever decides about solo mode counts these."""
    wanted = select(people).where(people.c.active == 1, people.c.kind == "human").order_by(people.c.id)
    return tuple(Person(row.id, row.name, row.role, row.kind, True) for row in conn.execute(wanted))


class People:
    """The persons in the book."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def ensure_owner(self, name: str = "Owner") -> Person:
        """Create the home's owner (id `owner`) when the book has none; the name of an existing one stays."""
        return self._book.read(lambda conn: find_person(conn, OWNER)) or self.add(OWNER, name, "owner")

    def add(self, person: str, name: str, role: Role, kind: Kind | None = None) -> Person:
        """Add a person; the role `service` and the kind `service` go together.

        Whoever calls this writes the `admin` record with `Gateway.note`. Raises ToolFailed on an id, a name or a role that
        cannot be, and SQLAlchemy's IntegrityError on an id that is taken.
        """
        kind = kind or _kind(role)
        if not _ID.fullmatch(person) or person == SYSTEM:
            raise _cannot("an id is 1 to 64 letters, digits and any of . _ @ + -, and not `system`.", "Choose another id.")
        if not 1 <= len(name) <= 200:
            raise _cannot("a name has 1 to 200 characters.", "Choose another name.")
        _fit(role, kind)
        row = {"id": person, "name": name, "role": role, "kind": kind, "active": 1, "created_at": now_text()}
        self._book.write(lambda conn: conn.execute(people.insert().values(**row)))
        return Person(person, name, role, kind)

    def set(self, person: str, *, role: Role | None = None, active: bool | None = None) -> None:
        """Change a person's role or switch the person off; rights are read again at every judgement.

        Raises ToolFailed when nobody has this id, when the role does not fit the kind, and when no active owner would be left.
        """
        self._book.write(lambda conn: _change(conn, person, role, active))

    def get(self, person: str) -> Person | None:
        """The person with this id, or None."""
        return self._book.read(lambda conn: find_person(conn, person))

    def role(self, person: str) -> str:
        """The role of an active person, else the empty string, which no rule permits anything."""
        found = self.get(person)
        return found.role if found is not None and found.active else ""

    def all(self) -> tuple[Person, ...]:
        """Everybody the book knows, switched off or not, humans and service accounts, by id."""
        rows = self._book.read(lambda conn: conn.execute(select(people).order_by(people.c.id)).all())
        return tuple(Person(row.id, row.name, row.role, row.kind, bool(row.active)) for row in rows)

    def active(self) -> tuple[Person, ...]:
        """Every active human."""
        return self._book.read(active_people)

    def solo(self) -> bool:
        """Whether the book knows exactly one active person, who may then approve their own proposals within the limits."""
        return len(self.active()) == 1


def _cannot(because: str, try_next: str) -> ToolFailed:
    return ToolFailed("The person stays as they are", because, try_next, kind="refused")


def _kind(role: Role) -> Kind:
    return "service" if role == "service" else "human"


def _fit(role: Role, kind: Kind) -> None:
    if role not in ROLES:
        raise _cannot("there is no such role.", f"Choose one of {', '.join(ROLES)}.")
    if kind != _kind(role):
        raise _cannot("the role service is for service accounts, and they can have no other.", "Choose role and kind together.")


def _change(conn: Connection, person: str, role: Role | None, active: bool | None) -> None:
    found = find_person(conn, person)
    if found is None:
        raise _cannot("nobody has this id.", "`python -m ui people list` shows who is known.")
    role, active = role or found.role, found.active if active is None else active
    _fit(role, found.kind)
    loses_owner = found.role == "owner" and found.active and (role != "owner" or not active)
    if loses_owner and not any(one.role == "owner" and one.id != person for one in active_people(conn)):
        raise _cannot("a Luthier without an active owner could never be changed again.", "Make another person owner first.")
    conn.execute(people.update().where(people.c.id == person).values(role=role, active=int(active)))
