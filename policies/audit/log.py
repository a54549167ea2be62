"""The audit log: appends records to the chain inside the caller's own transaction."""

import hashlib
import secrets
from dataclasses import replace

from sqlalchemy import Connection, select

from policies.audit.record import GENESIS, AgentFacts, Record, canonical, commit
from policies.book import now_text
from policies.tables import audit, audit_originals


class AuditLog:
    """Writes records; every hash is over the bytes that are kept."""

    def __init__(self, home: str, agent: AgentFacts = AgentFacts()) -> None:
        self.origin, self.agent = f"luthier/{home}", agent

    def append(self, conn: Connection, record: Record) -> int:
        """Add one record in the open transaction and return its number. If this raises, the effect must not happen."""
        last = conn.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).one_or_none()
        seq, prev = (1, GENESIS) if last is None else (last.seq + 1, last.hash)
        promise = None
        if record.args is not None:
            salt, original = secrets.token_bytes(32), canonical(dict(record.args))
            promise = commit(salt, original)
            conn.execute(audit_originals.insert().values(seq=seq, salt=salt, original=original))
        record = replace(record, agent=self.agent) if record.agent == AgentFacts() else record
        stored = canonical(record.shape(seq, now_text(), self.origin, prev, promise))
        conn.execute(audit.insert().values(
            seq=seq, hash=hashlib.sha256(stored).hexdigest(), kind=record.kind, call_id=record.call_id, record=stored,
        ))
        return seq
