"""Outside witnesses: each gets the newest checkpoint, so that whoever holds book and key cannot rewrite what was shown.

Everything here runs outside the book's writer; a witness that fails stops nothing, and what it said is kept and shown.
"""

import os
import ssl
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
from sqlalchemy import Connection, select

from policies.audit.signer import last_checkpoint
from policies.book import Book, now_text
from policies.tables import audit_witnessed

TIMEOUT_S = 10.0


class NotWitnessed(Exception):
    """A witness did not take a checkpoint; the sentence names no secret."""


class Witness(Protocol):
    """Somebody outside who keeps checkpoints."""

    def keep(self, size: int, note: bytes) -> str:
        """Hand over a checkpoint; returns a receipt. Raises NotWitnessed."""
        ...


@dataclass(frozen=True, slots=True)
class FileWitness:
    """A file, best on another disk or mounted from another machine; checkpoints are appended and synced."""

    path: Path

    def keep(self, size: int, note: bytes) -> str:
        """Append the note."""
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise NotWitnessed("It is no regular file.")
                if os.write(handle, note) != len(note):
                    raise NotWitnessed("The file's disk is full.")
                os.fsync(handle)
                return f"{os.fstat(handle).st_size} bytes"
            finally:
                os.close(handle)
        except OSError as error:
            raise NotWitnessed(f"The file cannot be written: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class BlobWitness:
    """A container in Azure storage, by a URL with a signature that may only create; best with an immutability policy."""

    name: str
    secret: Callable[[str], str | None]

    def keep(self, size: int, note: bytes) -> str:
        """Create a blob named after the log and the size; one that is there already stays as it is."""
        scheme, host, path, query, _ = urlsplit(_address(self.secret, self.name))
        origin = note.split(b"\n", 1)[0].decode()
        place = urlunsplit((scheme, host, f"{path.rstrip('/')}/{quote(origin)}/{size:012}.checkpoint", query, ""))
        answer = _send("PUT", place, note, {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*", "Content-Type": "text/plain"})
        if answer.status_code == 409:
            return "it was there already"
        if answer.status_code != 201:
            raise NotWitnessed(f"Storage answered {answer.status_code}.")
        return f"ETag {answer.headers.get('etag', '')}"[:200]


@dataclass(frozen=True, slots=True)
class WebhookWitness:
    """A channel that people read: the checkpoint is posted as its text."""

    name: str
    secret: Callable[[str], str | None]

    def keep(self, size: int, note: bytes) -> str:
        """Post the note."""
        address, words = _address(self.secret, self.name), f"Audit checkpoint over {size} records:\n{note.decode()}"
        answer = _send("POST", address, httpx.Request("POST", address, json={"text": words}).content, {"Content-Type": "application/json"})
        if not answer.is_success:
            raise NotWitnessed(f"The channel answered {answer.status_code}.")
        return f"answered {answer.status_code}"


def _address(secret: Callable[[str], str | None], name: str) -> str:
    address = secret(name)
    if not address:
        raise NotWitnessed(f"There is no secret {name}: keep it with `python -m ui secret set {name}`.")
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise NotWitnessed(f"What secret {name} holds is no address.") from error
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise NotWitnessed(f"The address in secret {name} does not begin with https://.")
    return address


def _send(verb: str, address: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    try:
        # A redirect could carry the signature in the address elsewhere, and a proxy of the environment could read it.
        with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            return client.request(verb, address, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        raise NotWitnessed(f"It cannot be reached ({type(error).__name__}).") from error


def witness_of(wish: str, secret: Callable[[str], str | None]) -> Witness:
    """`file:PATH`, `blob:SECRET` or `webhook:SECRET` as a witness; `secret` gives what is kept under a name. Raises ValueError."""
    kind, _, rest = wish.partition(":")
    match kind:
        case "file" if Path(rest).is_absolute():
            return FileWitness(Path(rest))
        case "blob" if rest:
            return BlobWitness(rest, secret)
        case "webhook" if rest:
            return WebhookWitness(rest, secret)
    raise ValueError(f"{wish!r} is no witness: file:/absolute/path, blob:SECRET_NAME or webhook:SECRET_NAME.")


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What came of handing a checkpoint to one witness."""

    witness: str
    size: int
    receipt: str = ""
    error: str = ""


class Witnesses:
    """Every witness of one home, by the wish that names it."""

    def __init__(self, wishes: Iterable[str], secret: Callable[[str], str | None]) -> None:
        self._known = {wish: witness_of(wish, secret) for wish in wishes}

    def publish(self, book: Book, now: datetime) -> list[Witnessed]:
        """Hand the last checkpoint to every witness that does not have it. Takes seconds: run it in a thread, not in the event loop."""
        if not self._known:
            return []
        last = book.read(last_checkpoint)
        if last is None:
            return []
        size, note = last.size, last.note
        missing = [wish for wish in self._known if not book.read(lambda conn, wish=wish: _has(conn, wish, size))]
        done = [self._ask(wish, size, note) for wish in missing]
        if done:
            book.write(lambda conn: _note(conn, done, now))
        return done

    def _ask(self, wish: str, size: int, note: bytes) -> Witnessed:
        try:
            return Witnessed(wish, size, receipt=self._known[wish].keep(size, note))
        except NotWitnessed as error:
            return Witnessed(wish, size, error=str(error))


def _has(conn: Connection, wish: str, size: int) -> bool:
    seen = select(audit_witnessed.c.id).where(
        audit_witnessed.c.witness == wish, audit_witnessed.c.size >= size, audit_witnessed.c.error == "").limit(1)
    return conn.execute(seen).one_or_none() is not None


def _note(conn: Connection, done: list[Witnessed], now: datetime) -> None:
    for one in done:
        values = {"size": one.size, "witness": one.witness, "at": now_text(now), "receipt": one.receipt, "error": one.error}
        latest = conn.execute(select(audit_witnessed).where(audit_witnessed.c.witness == one.witness)
                              .order_by(audit_witnessed.c.id.desc()).limit(1)).one_or_none()
        if one.error and latest is not None and latest.error == one.error:
            # A witness that stays away for a week is one row, not ten thousand.
            conn.execute(audit_witnessed.update().where(audit_witnessed.c.id == latest.id).values(size=one.size, at=now_text(now)))
        else:
            conn.execute(audit_witnessed.insert().values(**values))
