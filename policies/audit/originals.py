"""The original arguments beside the log: proof of what was asked, and erasable without breaking the chain."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from policies.audit.record import commit
from policies.book import now_text
from policies.tables import audit, audit_originals


def reveal(conn: Connection, seq: int) -> dict[str, Any] | None:
    """The original arguments of a record, if they are still kept. Raises ValueError when they are not the ones it promised."""
    kept = conn.execute(select(audit_originals).where(audit_originals.c.seq == seq)).one_or_none()
    stored = conn.execute(select(audit.c.record).where(audit.c.seq == seq)).scalar_one_or_none()
    if kept is None or stored is None:
        return None
    if json.loads(stored)["args_commit"] != commit(kept.salt, kept.original):
        raise ValueError(f"What is kept beside record {seq} is not what was asked. Run `python -m ui audit fsck`.")
    return json.loads(kept.original)


def erase(conn: Connection, seq: int) -> bool:
    """Erase the original arguments of a record and their salt; the record keeps them redacted. False when there were none."""
    return conn.execute(delete(audit_originals).where(audit_originals.c.seq == seq)).rowcount == 1


def erase_before(conn: Connection, moment: datetime) -> int:
    """Erase the originals of every record older than `moment`; returns how many there were."""
    # Numbers rise with time: the first record that is young enough ends the search.
    last, text = 0, now_text(moment)
    for seq in conn.execute(select(audit_originals.c.seq).order_by(audit_originals.c.seq)).scalars():
        stored = conn.execute(select(audit.c.record).where(audit.c.seq == seq)).scalar_one_or_none()
        if stored is not None and json.loads(stored)["ts"] >= text:
            break
        last = seq
    return conn.execute(delete(audit_originals).where(audit_originals.c.seq <= last)).rowcount
