"""Signed logs for tests, and what somebody could do to one who has the file but not the book's manners."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from policies.audit.checkpoint import Checkpoint, sign_note, split_note
from policies.audit.keys import Key, KeyRing, key_id, vkey
from policies.audit.log import AuditLog
from policies.audit.merkle import fold, grow, leaf
from policies.audit.record import Record
from policies.book import Book
from policies.people import Caller
from policies.tables import audit_checkpoints

Row = tuple[Any, Any, Any, Any, Any]
"""seq, hash, kind, call_id, record."""
Rows = list[Row]
OWNER = Caller("owner", "cli", "peer uid", "terminal")
COLUMNS = "seq, hash, kind, call_id, record"


def entry(number: int) -> Record:
    """A record like those of real calls."""
    return Record("intent", "allowed", OWNER, tool="list_runs", tool_version="1", call_id=f"call-{number}", effects=("READ",),
                  args={"page": number, "ü": "漢"}, policy_hash="a" * 64, decision="allow", rules=("read-own",))


@dataclass
class Signed:
    """A book with a signed log, its folder, and the writer of the log."""

    path: Path
    book: Book
    log: AuditLog

    def add(self, count: int, first: int = 1) -> None:
        """Append records, each in a commit of its own."""
        for number in range(first, first + count):
            self.book.write(lambda conn, number=number: self.log.append(conn, entry(number)))

    def seal(self) -> bytes | None:
        """Sign everything there is, and keep that outside the book."""
        note = self.book.write(lambda conn: self.log.seal(conn, datetime.now(UTC)))
        self.book.write(self.log.settle)
        return note

    @property
    def keys(self) -> Path:
        """The folder of keys."""
        return self.path.parent / "keys"

    @property
    def pub(self) -> Path:
        """The public key."""
        return self.keys / "audit.pub"


def open_log(folder: Path, blank: Path, every: int = 100) -> Signed:
    """A new book with a signed log, from a migrated one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "book.sqlite"
    if not path.exists():
        shutil.copyfile(blank, path)
    book = Book.open(path)
    return Signed(path, book, AuditLog(book.home_id(), keys=KeyRing.open(folder / "keys"), every=every))


def sizes(log: Signed) -> list[int]:
    """The sizes that were signed."""
    question = select(audit_checkpoints.c.size).order_by(audit_checkpoints.c.size)
    return list(log.book.read(lambda conn: conn.execute(question).scalars().all()))


def kept(log: Signed) -> int:
    """The size of the checkpoint that is kept outside the book."""
    return Checkpoint.parse(split_note((log.keys / "last.checkpoint").read_bytes())[0]).size


def rows(path: Path) -> Rows:
    """The stored rows."""
    raw = sqlite3.connect(path)
    found = raw.execute(f"SELECT {COLUMNS} FROM audit ORDER BY seq").fetchall()
    raw.close()
    return found


def plunder(path: Path) -> sqlite3.Connection:
    """The file, opened by somebody who takes away what protects it against accidents."""
    raw = sqlite3.connect(path)
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {name}")
    raw.commit()
    return raw


def rewrite(path: Path, change: Callable[[Rows], Sequence[Row]]) -> None:
    """Put other rows in the place of those that are there."""
    changed, raw = change(rows(path)), plunder(path)
    raw.executescript("DROP TABLE audit; CREATE TABLE audit (seq INTEGER, hash TEXT, kind TEXT, call_id TEXT, record BLOB)")
    raw.executemany(f"INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?)", changed)
    raw.commit()
    raw.close()


def forged(row: Row, **fields: object) -> Row:
    """A record with other fields and a hash that fits it."""
    return fitted(row, rfc8785.dumps({**json.loads(row[4]), **fields}))  # pyright: ignore[reportArgumentType]


def fitted(row: Row, stored: bytes) -> Row:
    """Other bytes and a hash that fits them."""
    return row[0], hashlib.sha256(stored).hexdigest(), row[2], row[3], stored


def relinked(found: Sequence[Row]) -> Rows:
    """The rows with numbers and hashes made to follow each other again: a new history that is sound in itself."""
    prev, made = "0" * 64, Rows()
    for seq, row in enumerate(found, 1):
        made.append(forged((seq, *row[1:]), seq=seq, prev=prev))
        prev = made[-1][1]
    return made


def resign(path: Path, key: Key, every: int = 10) -> str:
    """Sign the log anew from its beginning; returns the public key as its line."""
    found, raw = rows(path), plunder(path)
    origin, frontier, size = json.loads(found[0][4])["log"], list[bytes](), 0
    raw.execute("DELETE FROM audit_checkpoints")
    for row in found:
        size = grow(frontier, size, leaf(row[4]))
        if size % every == 0 or size == len(found):
            root = fold(frontier)
            note = sign_note(Checkpoint(origin, size, root).text(), key, origin)
            values = (size, root.hex(), key_id(origin, key.public), note, b"".join(frontier), "2026-11-24T12:00:00.000000Z")
            raw.execute("INSERT INTO audit_checkpoints (size, root, key_id, note, frontier, at) VALUES (?, ?, ?, ?, ?, ?)", values)
    raw.commit()
    raw.close()
    return vkey(origin, key.public) + "\n"


def new_key() -> Key:
    """Somebody else's key."""
    return Key(Ed25519PrivateKey.generate())
