"""The audit log: appends records to the chain inside the caller's own transaction, and has them signed."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from policies.audit.keys import KeyRing, KeyTrouble
from policies.audit.record import GENESIS, AgentFacts, Record, canonical, canonical_record, commit
from policies.audit.signer import Refused, Signer, last_checkpoint, rotation_text
from policies.book import driver, now_text
from policies.people import SYSTEM, Caller

# Text for the driver itself: the wrapping of a statement takes ten times as long as running it.
_END = "SELECT seq, hash, (SELECT max(size) FROM audit_checkpoints) FROM audit ORDER BY seq DESC LIMIT 1"
_ADD = "INSERT INTO audit (seq, hash, kind, call_id, record) VALUES (?, ?, ?, ?, ?)"
_ADD_ORIGINAL = "INSERT INTO audit_originals (seq, salt, original) VALUES (?, ?, ?)"


class AuditLog:
    """Writes records; every hash is over the bytes that are kept."""

    def __init__(self, home: str, agent: AgentFacts = AgentFacts(), keys: KeyRing | None = None, every: int = 100) -> None:
        self.origin, self.agent, self.every = f"luthier/{home}", agent, every
        self.signer = None if keys is None else Signer(self.origin, keys)

    @property
    def keys(self) -> KeyRing | None:
        """The keys that sign; None where nothing is signed."""
        return None if self.signer is None else self.signer.keys

    @property
    def alarm(self) -> str:
        """Why nothing is signed any more; empty while all is well."""
        return "" if self.signer is None else self.signer.alarm

    def append(self, conn: Connection, record: Record) -> int:
        """Add one record in the open transaction and return its number. If this raises, the effect must not happen."""
        return self.extend(conn, (record,))[0]

    def extend(self, conn: Connection, records: Sequence[Record]) -> list[int]:
        """Add records in the open transaction and return their numbers. If this raises, none of them may be committed."""
        signer, moment = self.signer, datetime.now(UTC)
        key = None
        if signer is not None:
            self.settle(conn, quick=True)
            key = signer.id_of(signer.key(conn))
        seq, prev, signed = self._end(conn)
        at, numbers, rows = now_text(moment), list[int](), list[tuple[Any, ...]]()
        for record in records:
            seq += 1
            promise = None
            if record.args is not None:
                salt, original = secrets.token_bytes(32), canonical(dict(record.args))
                promise = commit(salt, original)
                driver(conn).execute(_ADD_ORIGINAL, (seq, salt, original))
            stored = canonical_record(record.shape(seq, at, self.origin, prev, promise, key, self.agent))
            prev = hashlib.sha256(stored).hexdigest()
            rows.append((seq, prev, record.kind, record.call_id, stored))
            numbers.append(seq)
            if signer is None:
                continue
            signer.add(seq, prev, stored)
            if seq - signed >= self.every:
                driver(conn).executemany(_ADD, rows)
                rows.clear()
                self._sign(conn, signer, moment)
                seq, prev, signed = self._end(conn)  # a refusal is a record, too
        driver(conn).executemany(_ADD, rows)
        return numbers

    def seal(self, conn: Connection, now: datetime, *, after_s: float = 0) -> bytes | None:
        """Sign what came since the last checkpoint, if that is older than `after_s` seconds; None when nothing was signed."""
        signer = self.signer
        if signer is None:
            return None
        self.settle(conn)
        last = last_checkpoint(conn)
        if last is not None and after_s > 0 and (now - datetime.fromisoformat(last.at)).total_seconds() < after_s:
            return None
        return self._sign(conn, signer, now)

    def settle(self, conn: Connection, *, quick: bool = False) -> None:
        """Keep the last committed checkpoint outside the book too; every seal does it by itself, an append only at the start."""
        if self.signer is not None:
            self.signer.settle(conn, quick=quick)
            self._tell(conn, self.signer)

    def rotate(self, conn: Connection, caller: Caller) -> int:
        """Replace the signing key: a record that both keys sign; returns its number. Raises KeyTrouble."""
        if self.signer is None:
            raise KeyTrouble("This log is not signed: there is no key to replace.")
        self.seal(conn, datetime.now(UTC))
        old, new = self.signer.start_rotation(conn)
        seq, prev, _ = self._end(conn)
        text = rotation_text(self.origin, seq + 1, prev, old.public, new.public)
        # Halves of hexadecimal digits: what is neither long nor free text passes into a record as it is.
        halves = {f"signed_{name}": [mark[:64], mark[64:]] for name, key in (("old", old), ("new", new)) if (mark := key.sign(text).hex())}
        detail = {"old": old.public.hex(), "new": new.public.hex(), **halves}
        seq = self.append(conn, Record("admin", "key_rotated", caller, detail=detail))
        self.seal(conn, datetime.now(UTC))
        if self.signer.alarm:
            raise KeyTrouble(self.signer.alarm)
        return seq

    def _end(self, conn: Connection) -> tuple[int, str, int]:
        last = driver(conn).execute(_END).fetchone()
        return (0, GENESIS, 0) if last is None else (last[0], last[1], last[2] or 0)

    def _sign(self, conn: Connection, signer: Signer, now: datetime) -> bytes | None:
        """Sign, or set the alarm and say so in the log once: a log that cannot be signed still has to record."""
        if signer.alarm:
            return None
        try:
            return signer.sign(conn, now)
        except Refused as refused:
            signer.refuse(refused)
            self._tell(conn, signer)
            return None

    def _tell(self, conn: Connection, signer: Signer) -> None:
        if signer.untold:
            reason, signer.untold = signer.untold, ""
            self.append(conn, Record("admin", "checkpoint_refused", Caller(SYSTEM, "system"), detail={"reason": reason}))
