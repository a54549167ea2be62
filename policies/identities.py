"""Linked identities: which person of the book somebody on another channel is, proved once by a code and never by a name or an e-mail."""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import Connection, select

from policies.book import Book, now_text
from policies.people import find_person
from policies.tables import identities, identity_codes
from policies.tool import ToolFailed

Provider = Literal["web_oidc", "slack", "teams"]
CODE_LIFE = timedelta(minutes=10)
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: no I, L, O and U, so that a code can be read aloud."""
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SUBJECTS = {
    "web_oidc": re.compile(r"[!-~]{1,200}:[!-~]{1,200}"),
    "slack": re.compile(r"[TE][A-Z0-9]{1,20}:[UW][A-Z0-9]{1,20}"),
    "teams": re.compile(rf"{_UUID}:{_UUID}"),
}
"""Tenant and person as the provider's signed answer names them: OIDC `tenant:sub`, Slack `team_id:user_id`, Teams `tenant:aadObjectId`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One account on another channel that is a person of the book."""

    provider: str
    subject: str
    person: str
    linked_via: str
    linked_at: str


class Identities:
    """Codes and linked identities. Whoever calls `link` or `unlink` writes the `auth` record with `Gateway.note`."""

    def __init__(self, book: Book, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._book, self._clock = book, clock

    def make_code(self, person: str) -> str:
        """A code of 60 random bits that links one account to this person, once, within ten minutes; an earlier one stops working.

        It is to be shown to the signed-in person alone; only its hash is kept. Raises ToolFailed for somebody who cannot be linked.
        """
        code = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        now = self._clock()
        row = {"code_hash": _hash(code), "person": person, "created_at": now_text(now), "expires_at": now_text(now + CODE_LIFE)}

        def write(conn: Connection) -> None:
            _may_be_linked(conn, person)
            conn.execute(identity_codes.delete().where(identity_codes.c.person == person))
            conn.execute(identity_codes.insert().values(**row))

        self._book.write(write)
        return "-".join(code[at:at + 4] for at in (0, 4, 8))

    def link(self, code: str, provider: Provider, subject: str, via: str) -> str:
        """Link an account that the provider has proved to the person whose code this is; returns the person's id.

        Raises ToolFailed on a code that is unknown, used or too old, and on an account that is already somebody else's; the
        code is then not used up.
        """
        subject = _proved(provider, subject)
        now, key = now_text(self._clock()), _hash(_plain(code))

        def write(conn: Connection) -> str:
            person = conn.execute(select(identity_codes.c.person).where(identity_codes.c.code_hash == key)).scalar_one_or_none()
            if person is None:
                raise _no_such_code()
            _may_be_linked(conn, person)
            owner = _person_of(conn, provider, subject)
            if owner not in (None, person):
                raise _refused("this account is linked to somebody else.", "It has to be unlinked there first.")
            used = conn.execute(identity_codes.update().where(
                identity_codes.c.code_hash == key, identity_codes.c.used_at.is_(None), identity_codes.c.expires_at > now,
            ).values(used_at=now))
            if used.rowcount != 1:
                raise _no_such_code()
            if owner is None:
                row = {"provider": provider, "subject": subject, "person": person, "linked_via": via, "linked_at": now}
                conn.execute(identities.insert().values(**row))
            return person

        return self._book.write(write)

    def person_of(self, provider: str, subject: str) -> str | None:
        """The id of the person whose account this is, active or not (the gateway looks again); None for nobody's."""
        return self._book.read(lambda conn: _person_of(conn, provider, subject))

    def unlink(self, provider: str, subject: str) -> bool:
        """Forget an account; whether there was one."""
        gone = identities.delete().where(identities.c.provider == provider, identities.c.subject == subject)
        return self._book.write(lambda conn: conn.execute(gone).rowcount == 1)

    def list(self, person: str) -> tuple[Identity, ...]:
        """The accounts of a person, oldest first."""
        wanted = select(identities).where(identities.c.person == person).order_by(identities.c.linked_at, identities.c.subject)
        rows = self._book.read(lambda conn: conn.execute(wanted).all())
        return tuple(Identity(row.provider, row.subject, row.person, row.linked_via, row.linked_at) for row in rows)


def _person_of(conn: Connection, provider: str, subject: str) -> str | None:
    wanted = select(identities.c.person).where(identities.c.provider == provider, identities.c.subject == subject)
    return conn.execute(wanted).scalar_one_or_none()


def _may_be_linked(conn: Connection, person: str) -> None:
    found = find_person(conn, person)
    if found is None or not found.active:
        raise _refused("this person is not known here, or no longer active.", "Sign in as a person that this Luthier knows.")
    if found.kind != "human":
        raise _refused("a service account is no person, and cannot be linked to one's account.", "Link a person.")


def _proved(provider: str, subject: str) -> str:
    if provider not in get_args(Provider):
        raise _refused("accounts of this kind cannot be linked.", f"Known: {', '.join(get_args(Provider))}.")
    if not _SUBJECTS[provider].fullmatch(subject):
        raise _refused("this is no account's id as its provider gives it; a name or an e-mail address is none.",
                       "Link it from the channel itself.")
    return subject


def _no_such_code() -> ToolFailed:
    return _refused("this code is not known, was used, or is too old.", "Make a new one on the web, signed in, and send it soon.")


def _refused(because: str, try_next: str) -> ToolFailed:
    return ToolFailed("Nothing was linked", because, try_next, kind="refused")


def _plain(code: str) -> str:
    letters = code.upper().replace("O", "0").replace("I", "1").replace("L", "1")
    return "".join(one for one in letters[:64] if one in _ALPHABET)


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
