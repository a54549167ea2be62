"""Who asks and who decides: persons, their roles, and the face a call came through."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select

from policies.book import Book, now_text
from policies.tables import people

Via = Literal["web", "slack", "teams", "cli", "mcp", "system"]
Role = Literal["owner", "member", "viewer"]

OWNER = "owner"
SYSTEM = "system"


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
    kind: Literal["human", "service"] = "human"
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

    def add(self, person: str, name: str, role: Role, kind: Literal["human", "service"] = "human") -> Person:
        """Add a person. Whoever calls this writes the `admin` record with `Gateway.note`. Raises on a known id."""
        row = {"id": person, "name": name, "role": role, "kind": kind, "active": 1, "created_at": now_text()}
        self._book.write(lambda conn: conn.execute(people.insert().values(**row)))
        return Person(person, name, role, kind)

    def set(self, person: str, *, role: Role | None = None, active: bool | None = None) -> None:
        """Change a person's role or switch the person off; rights are read again at every judgement."""
        changes = {"role": role, "active": None if active is None else int(active)}
        values = {key: value for key, value in changes.items() if value is not None}
        if values:
            self._book.write(lambda conn: conn.execute(people.update().where(people.c.id == person).values(**values)))

    def get(self, person: str) -> Person | None:
        """The person with this id, or None."""
        return self._book.read(lambda conn: find_person(conn, person))

    def role(self, person: str) -> str:
        """The role of an active person, else the empty string, which no rule permits anything."""
        found = self.get(person)
        return found.role if found is not None and found.active else ""

    def active(self) -> tuple[Person, ...]:
        """Every active human."""
        return self._book.read(active_people)

    def solo(self) -> bool:
        """Whether the book knows exactly one active person, who may then approve their own proposals within the limits."""
        return len(self.active()) == 1
