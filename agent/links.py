"""One-time sign-in links and revoked sessions, as rows of the book; only hashes are kept."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update

from policies.book import Book, now_text
from policies.tables import links, revoked_sessions

LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(days=1)
"""Longer than any session lives, so that a revoked one stays revoked until it would have ended anyway."""


class Links:
    """Makes and uses links; each works once, for ten minutes."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def make(self, person: str = "owner") -> str:
        """A new token: 32 random bytes as text for a URL."""
        token = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        row = {"token_hash": token_hash(token), "person": person, "created_at": now_text(now), "expires_at": now_text(now + LIFE)}

        def write(conn: Any) -> None:
            conn.execute(delete(links).where(links.c.expires_at < now_text(now - timedelta(days=1))))
            conn.execute(insert(links).values(row))

        self._book.write(write)
        return token

    def use(self, token: str) -> str | None:
        """The person whose link this is, once; None when unknown, used or too old."""
        if not token or len(token) > 200:
            return None
        key, now = token_hash(token), now_text()

        def write(conn: Any) -> str | None:
            fresh = (links.c.token_hash == key) & links.c.used_at.is_(None) & (links.c.expires_at > now)
            if conn.execute(update(links).where(fresh).values(used_at=now)).rowcount != 1:
                return None
            return conn.execute(select(links.c.person).where(links.c.token_hash == key)).scalar_one()

        return self._book.write(write)

    def revoke(self, session_hash: str) -> None:
        """End a session by the hash of its token."""
        now = datetime.now(UTC)

        def write(conn: Any) -> None:
            conn.execute(delete(revoked_sessions).where(revoked_sessions.c.expires_at < now_text(now)))
            row = {"token_hash": session_hash, "at": now_text(now), "expires_at": now_text(now + SESSION_LIFE)}
            conn.execute(insert(revoked_sessions).prefix_with("OR IGNORE").values(row))

        self._book.write(write)

    def is_revoked(self, session_hash: str) -> bool:
        """Whether this session was signed out."""
        asked = select(revoked_sessions.c.token_hash).where(revoked_sessions.c.token_hash == session_hash)
        return self._book.read(lambda conn: conn.execute(asked).first()) is not None


def token_hash(token: str) -> str:
    """SHA-256 of a token, as hex."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
