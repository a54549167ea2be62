"""Signing in: the session key of a home, the one-time link, and who a request comes from."""

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from policies.people import Caller
from policies.tool import ToolFailed

COOKIE = "luthier_session"
SESSION_S = 8 * 3600


def session_key(home: Path) -> str:
    """The home's signing key, 32 random bytes as hex, made at the first start (0600). A new one signs everybody out."""
    path = home / "keys" / "session.key"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        key = path.read_text("ascii").strip()
        if len(key) < 64:
            raise ToolFailed(
                "The chat cannot start", f"{path} holds no key of 32 bytes.", "Delete that file; a new key is made at the next start.",
            ) from None
        return key
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(key := secrets.token_hex(32))
    return key


def token_hash(token: str) -> str:
    """What the revocation list and the records know of a session token."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_of(cookies: Mapping[str, str], authorization: str = "") -> str:
    """The session token of a request: our cookie, whole or in pieces, else a bearer header; empty when there is none."""
    if whole := cookies.get(COOKIE):
        return whole
    pieces: list[str] = []
    while piece := cookies.get(f"{COOKIE}_{len(pieces)}"):
        pieces.append(piece)
    if pieces:
        return "".join(pieces)
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def person_of(token: str) -> str | None:
    """The person that a valid session token names, or None. Does not look at the revocation list."""
    from chainlit.auth.jwt import decode_jwt  # after the process-wide variables are set

    if not token:
        return None
    try:
        return decode_jwt(token).identifier
    except Exception:  # any defect of a token means the same: nobody
        return None


def web_caller(person: str, token: str, thread: str | None = None) -> Caller:
    """The caller behind a signed-in web request."""
    return Caller(person=person, via="web", auth="link", thread=thread, session=token_hash(token))
