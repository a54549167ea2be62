"""Signs what the log looks like, and refuses what does not follow from what it signed before."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from policies.audit.checkpoint import BadNote, Checkpoint, open_note, sign_note, split_note
from policies.audit.keys import Key, KeyRing, KeyTrouble, key_id
from policies.audit.merkle import fold, grow, leaf
from policies.book import driver, now_text, turn_of
from policies.tables import audit, audit_checkpoints

# Text for the driver itself, as in the log: a signature comes with every hundredth append.
_LAST = "SELECT size, root, key_id, note, frontier, at FROM audit_checkpoints WHERE size < ? ORDER BY size DESC LIMIT 1"
_ROOT = "SELECT root FROM audit_checkpoints WHERE size = ?"
_ADD = "INSERT INTO audit_checkpoints (size, root, key_id, note, frontier, at) VALUES (?, ?, ?, ?, ?, ?)"
_TOGETHER = "SELECT max(seq), group_concat(hash, '') FROM (SELECT seq, hash FROM audit WHERE seq > ? ORDER BY seq)"
"""In one text, for which nothing is made in Python a hundred times; should SQLite join in another order, each is looked at."""
_HASHES = "SELECT seq, hash FROM audit WHERE seq > ? ORDER BY seq"
_RECORD = "SELECT record FROM audit WHERE seq = ?"

MOST_LEAVES = 1000
"""Leaves kept in memory; a log that is signed needs a hundred and what one transaction adds."""


class Refused(Exception):
    """The log is not what was signed before: `code` for the record, and a sentence that ends in what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Signed(NamedTuple):
    """One row of audit_checkpoints."""

    size: int
    root: str
    key_id: str
    note: bytes
    frontier: bytes
    at: str


class Signer:
    """The keys at work for one log. Used by the book's one writer alone."""

    def __init__(self, origin: str, keys: KeyRing) -> None:
        self.origin, self.keys = origin, keys
        self.alarm = ""
        """Why nothing is signed any more; empty while all is well. Only a new start tries again."""
        self.untold = ""
        """The code of a refusal that the log does not name yet."""
        self._seen: object = None
        self._stale, self._started = True, False
        self._mine, self._size = (b"", b""), 0
        """The last note that this process signed, and its frontier: what the book holds unchanged needs no second look."""
        self._ids: dict[bytes, str] = {}
        self._leaves: dict[int, tuple[str, bytes]] = {}
        """By number: hash and leaf of what this process appended last under it and did not sign yet."""
        self._frontier: list[bytes] | None = None
        """What `_mine` grew to with each of those, so that a signature need not hash a hundred at once; None after a rollback."""
        self._known: tuple[bytes, Checkpoint] | None = None
        """`last.checkpoint` as it was read last."""

    def settle(self, conn: Connection, *, quick: bool = False) -> None:
        """Take outside the book what an earlier transaction has committed: the last checkpoint, a rotated key.

        Whether a transaction was committed is known only in the next one: what it wrote is there then, or never was. `quick`
        leaves a checkpoint for later: writing it costs two syncs, for which no append should wait.
        """
        if quick and self._started and self.keys.following is None:
            return
        now = turn_of(conn)
        if now is self._seen:
            return
        self._seen = now
        if not self._stale or self.alarm:
            return
        following = self.keys.following
        try:
            if following is not None:
                if rotated(conn, following.public):
                    self.keys.promote()
                else:
                    self.keys.drop()
            self.keys.publish(self.origin)
            last = last_checkpoint(conn)
            if last is not None and last.note != self.keys.remembered():
                self._check(conn, last)
                self.keys.remember(last.note)
        except Refused as refused:
            self.refuse(refused)
        except OSError:
            return  # a full disk: the next transaction tries again
        self._stale, self._started = False, True

    def refuse(self, refused: Refused) -> None:
        """Sign nothing more."""
        self.alarm, self.untold = str(refused), refused.code

    def key(self, conn: Connection) -> Key:
        """The key in force at this point of the log."""
        following = self.keys.following
        return following if following is not None and rotated(conn, following.public) else self.keys.current

    def id_of(self, key: Key) -> str:
        """The key's eight digits in this log."""
        found = self._ids.get(key.public)
        if found is None:
            found = self._ids[key.public] = key_id(self.origin, key.public)
        return found

    def sign(self, conn: Connection, now: datetime) -> bytes | None:
        """Sign everything there is; None when nothing is new. Raises Refused when it does not follow from what was signed."""
        frontier, size, last = self._frontier, self._size, last_checkpoint(conn)
        self._check(conn, last)
        if not self._holds(conn, last):
            rows = driver(conn).execute(_HASHES, (0 if last is None else last.size,)).fetchall()
            if not rows:
                return None
            frontier, size = self._grown(conn, last, rows), rows[-1][0]
        assert frontier is not None
        found, key = Checkpoint(self.origin, size, fold(frontier)), self.key(conn)
        note, peaks = sign_note(found.text(), key, self.origin), b"".join(frontier)
        driver(conn).execute(_ADD, (size, found.root.hex(), self.id_of(key), note, peaks, now_text(now)))
        self._stale, self._mine, self._frontier, self._size = True, (note, peaks), frontier, size
        self._leaves.clear()
        self._seen = turn_of(conn)  # what this transaction signs may still be rolled back: only a later one keeps it outside
        return note

    def _holds(self, conn: Connection, last: Signed | None) -> bool:
        """Whether what the book has beyond its last checkpoint, which is ours, is what we appended, to the last record."""
        if self._frontier is None or not self._leaves or not _same(last, self._mine):
            return False
        size, hashes = driver(conn).execute(_TOGETHER, (0 if last is None else last.size,)).fetchone()
        return size == self._size and hashes == "".join([digest for digest, _ in self._leaves.values()])

    def add(self, seq: int, digest: str, record: bytes) -> None:
        """Remember what a record looked like when it was appended: that is what will be signed, whatever the book says by then."""
        if len(self._leaves) >= MOST_LEAVES:
            self._leaves.clear()
        fresh = leaf(record)
        self._leaves[seq] = (digest, fresh)
        if self._frontier is not None and seq == self._size + 1:
            self._size = grow(self._frontier, self._size, fresh)
        else:
            self._frontier = None

    def _grown(self, conn: Connection, last: Signed | None, rows: Sequence[tuple[int, str]]) -> list[bytes]:
        """The frontier over the last checkpoint and the numbers and hashes after it. Raises Refused where these are not as they were."""
        frontier, size = frontier_of(last)
        for seq, digest in rows:
            known, fresh = self._leaves.get(seq) or _read(conn, seq)
            if seq != size + 1 or known != digest:
                raise Refused("record_differs", f"Record {size + 1} is not what was written. Run `python -m ui audit verify`.")
            size = grow(frontier, size, fresh)
        return frontier

    def _check(self, conn: Connection, last: Signed | None) -> None:
        if last is not None and _same(last, self._mine):
            return  # what this process signed last stands in the book: it was held against the one outside before
        kept = self.keys.remembered()
        if kept is not None:
            if self._known is None or self._known[0] != kept:
                self._known = kept, _parse(kept)
            known = self._known[1]
            row = driver(conn).execute(_ROOT, (known.size,)).fetchone()
            if known.origin != self.origin or row is None or row[0] != known.root.hex():
                raise Refused("not_what_was_signed", (
                    f"The book does not hold the checkpoint over {known.size} records that {self.keys.folder / 'last.checkpoint'} "
                    f"keeps: it is an older copy, or it was changed. Run `python -m ui audit verify`; after restoring a backup on "
                    f"purpose, move that file away and start again."))
        if last is None:
            return
        keys = {self.id_of(key): key.public for key in (self.keys.current, self.keys.following) if key is not None}
        try:
            text, _ = open_note(last.note, self.origin, keys)
        except BadNote as error:
            raise Refused("foreign_key", (
                f"The last checkpoint, over {last.size} records, was not signed by the key in {self.keys.folder}: {error} "
                f"Restore the folder from a backup, then start again.")) from error
        if text != Checkpoint(self.origin, last.size, fold(frontier_of(last)[0])).text():
            raise Refused("root_differs", (
                f"The last checkpoint, over {last.size} records, does not fit what the book keeps with it. "
                f"Run `python -m ui audit verify`."))

    def start_rotation(self, conn: Connection) -> tuple[Key, Key]:
        """The key in force, and a new one that replaces it as soon as the log says so. Raises KeyTrouble."""
        if self.alarm:
            raise KeyTrouble(self.alarm)
        if self.keys.following is not None:
            raise KeyTrouble("The key is being replaced already. Try again in a moment.")
        self._stale = True
        return self.keys.current, self.keys.prepare()


def _parse(note: bytes) -> Checkpoint:
    try:
        return Checkpoint.parse(split_note(note)[0])
    except BadNote as error:
        raise Refused("unreadable", f"last.checkpoint cannot be read: {error} Restore the folder of keys from a backup.") from error


def last_checkpoint(conn: Connection, below: int = 2**63 - 1) -> Signed | None:
    """The newest checkpoint that the book has, over fewer than `below` records."""
    row = driver(conn).execute(_LAST, (below,)).fetchone()
    return None if row is None else Signed(*row)


def _read(conn: Connection, seq: int) -> tuple[str, bytes]:
    """Hash and leaf of a record that an earlier process appended, out of its bytes."""
    (record,) = driver(conn).execute(_RECORD, (seq,)).fetchone()
    return hashlib.sha256(record).hexdigest(), leaf(record)


def _same(last: Signed | None, mine: tuple[bytes, bytes]) -> bool:
    return last is not None and (last.note, last.frontier) == mine


def signed_size(conn: Connection) -> int:
    """How many records the last checkpoint covers; 0 when nothing was signed yet."""
    return conn.execute(select(func.max(audit_checkpoints.c.size))).scalar_one() or 0


def frontier_of(row: Signed | None) -> tuple[list[bytes], int]:
    """The frontier that a checkpoint is kept with, and its size."""
    if row is None:
        return [], 0
    return [row.frontier[place:place + 32] for place in range(0, len(row.frontier), 32)], row.size


def rotated(conn: Connection, public: bytes) -> bool:
    """Whether the log says that this key has taken over."""
    needle = f'"new":"{public.hex()}"'.encode()
    found = select(audit.c.seq).where(audit.c.kind == "admin", func.instr(audit.c.record, needle) > 0).limit(1)
    return conn.execute(found).one_or_none() is not None


def rotation_text(origin: str, seq: int, prev: str, old: bytes, new: bytes) -> bytes:
    """What both keys sign when one replaces the other as record number `seq`, which follows the record with hash `prev`."""
    return f"{origin}/rotation\n{seq}\n{prev}\n{old.hex()}\n{new.hex()}\n".encode()
