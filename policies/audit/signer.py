"""Signs what the log looks like, and refuses what does not follow from what it signed before."""

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Transaction, func, select

from policies.audit.checkpoint import BadNote, Checkpoint, open_note, sign_note, split_note
from policies.audit.keys import Key, KeyRing, KeyTrouble, key_id
from policies.audit.merkle import fold, grow
from policies.book import now_text
from policies.tables import audit, audit_checkpoints

_LAST = select(audit_checkpoints).order_by(audit_checkpoints.c.size.desc()).limit(1)


class Refused(Exception):
    """The log is not what was signed before: `code` for the record, and a sentence that ends in what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Signer:
    """The keys at work for one log. Used by the book's one writer alone."""

    def __init__(self, origin: str, keys: KeyRing) -> None:
        self.origin, self.keys = origin, keys
        self.alarm = ""
        """Why nothing is signed any more; empty while all is well. Only a new start tries again."""
        self.untold = ""
        """The code of a refusal that the log does not name yet."""
        self._seen: Transaction | None = None
        self._stale, self._started = True, False
        self._mine = (b"", b"")
        """The last note that this process signed, and its frontier: what the book holds unchanged needs no second look."""
        self._ids: dict[bytes, str] = {}

    def settle(self, conn: Connection, *, quick: bool = False) -> None:
        """Take outside the book what an earlier transaction has committed: the last checkpoint, a rotated key.

        Whether a transaction was committed is known only in the next one: what it wrote is there then, or never was. `quick`
        leaves a checkpoint for later: writing it costs two syncs, for which no append should wait.
        """
        if quick and self._started and self.keys.following is None:
            return
        now = conn.get_transaction()
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
        last = last_checkpoint(conn)
        self._check(conn, last)
        frontier, size = frontier_of(last)
        signed = size
        rows = conn.execute(select(audit.c.seq, audit.c.hash, audit.c.record).where(audit.c.seq > size).order_by(audit.c.seq))
        for row in rows:
            if row.seq != size + 1 or hashlib.sha256(row.record).hexdigest() != row.hash:
                raise Refused("record_differs", f"Record {size + 1} is not what was written. Run `python -m ui audit verify`.")
            size = grow(frontier, size, hashlib.sha256(b"\0" + row.record).digest())
        if size == signed:
            return None
        found, key = Checkpoint(self.origin, size, fold(frontier)), self.key(conn)
        note, peaks = sign_note(found.text(), key, self.origin), b"".join(frontier)
        conn.execute(audit_checkpoints.insert().values(
            size=size, root=found.root.hex(), key_id=self.id_of(key), note=note, frontier=peaks, at=now_text(now)))
        self._stale, self._mine = True, (note, peaks)
        return note

    def _check(self, conn: Connection, last: Row[Any] | None) -> None:
        kept = self.keys.remembered()
        if kept is not None:
            known = _parse(kept)
            row = conn.execute(select(audit_checkpoints.c.root).where(audit_checkpoints.c.size == known.size)).one_or_none()
            if known.origin != self.origin or row is None or row.root != known.root.hex():
                raise Refused("not_what_was_signed", (
                    f"The book does not hold the checkpoint over {known.size} records that {self.keys.folder / 'last.checkpoint'} "
                    f"keeps: it is an older copy, or it was changed. Run `python -m ui audit verify`; after restoring a backup on "
                    f"purpose, move that file away and start again."))
        if last is None or (last.note, last.frontier) == self._mine:
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


def last_checkpoint(conn: Connection) -> Row[Any] | None:
    """The newest row of audit_checkpoints."""
    return conn.execute(_LAST).one_or_none()


def signed_size(conn: Connection) -> int:
    """How many records the last checkpoint covers; 0 when nothing was signed yet."""
    return conn.execute(select(func.max(audit_checkpoints.c.size))).scalar_one() or 0


def frontier_of(row: Row[Any] | None) -> tuple[list[bytes], int]:
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
