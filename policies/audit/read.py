"""The log as people read it: search, the story of one thing, and the proof that a record is in the signed tree."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from policies.audit.merkle import inclusion, leaf
from policies.audit.record import canonical
from policies.audit.signer import last_checkpoint
from policies.tables import approvals, audit

# Where a record holds what people search by: the name of the field, and the part of the record that it stands in.
PLACES: Mapping[str, tuple[str, str]] = {
    "run": ("refs", "run"), "person": ("actor", "sub"), "tool": ("tool", "name"), "decision": ("policy", "decision"),
    "call": ("tool", "call_id"), "approval": ("approval", "id"), "trace": ("trace", "trace"),
}
_ROWS = select(audit.c.seq, audit.c.record)


def search(
    conn: Connection, *, run: str | None = None, person: str | None = None, tool: str | None = None, decision: str | None = None,
    kind: str | None = None, before: int | None = None, limit: int = 50,
) -> list[dict[str, Any]]:
    """The newest records that match everything asked for, newest first, with numbers below `before`."""
    asked = {"run": run, "person": person, "tool": tool, "decision": decision}
    wanted = {name: value for name, value in asked.items() if value is not None}
    question = _ROWS.order_by(audit.c.seq.desc())
    if before is not None:
        question = question.where(audit.c.seq < before)
    if kind is not None:
        question = question.where(audit.c.kind == kind)
    found = list[dict[str, Any]]()
    for name, value in wanted.items():
        question = question.where(_holds(name, value))
    for record in _records(conn, question):
        if len(found) >= limit:
            break
        if all(_at(record, name) == value for name, value in wanted.items()):
            found.append(record)
    return found


def story(conn: Connection, identity: str) -> list[dict[str, Any]]:
    """Every record of a call, an approval, a run or a trace, and of the calls that those belong to, oldest first."""
    # A call and an approval are found by an index; the rest needs a look at every record.
    approved = select(approvals.c.call_id).where(approvals.c.id == identity)
    named = _ROWS.where(or_(audit.c.call_id == identity, audit.c.call_id.in_(approved)))
    found = {record["seq"]: record for record in _records(conn, named)}
    if found:
        return [found[seq] for seq in sorted(found)]
    names = ("approval", "run", "trace")
    named = _ROWS.where(or_(*(_holds(name, identity) for name in names)))
    found = {record["seq"]: record for record in _records(conn, named) if any(_at(record, name) == identity for name in names)}
    calls = {call for record in found.values() if (call := _at(record, "call"))}
    # A run has records of many calls, and a book knows no limit of variables worth testing.
    for some in [sorted(calls)[place:place + 500] for place in range(0, len(calls), 500)]:
        found |= {record["seq"]: record for record in _records(conn, _ROWS.where(audit.c.call_id.in_(some)))}
    return [found[seq] for seq in sorted(found)]


def prove(conn: Connection, seq: int) -> dict[str, Any]:
    """That record `seq` is in the tree of the last checkpoint: {seq, size, root, leaf, path, note}, hashes as hexadecimal digits.

    Raises LookupError when no checkpoint covers the record yet, ValueError when the records no longer have the signed root.
    """
    last = last_checkpoint(conn)
    if last is None or not 1 <= seq <= last.size:
        raise LookupError(f"No checkpoint covers record {seq} yet.")
    rows = conn.execute(select(audit.c.record).where(audit.c.seq <= last.size).order_by(audit.c.seq))
    leaves = [leaf(row.record) for row in rows]
    if len(leaves) != last.size:
        raise ValueError("The log no longer has the records that were signed. Run `python -m ui audit verify`.")
    path = inclusion(seq - 1, leaves)
    return {
        "seq": seq, "size": last.size, "root": last.root, "leaf": leaves[seq - 1].hex(), "path": [part.hex() for part in path],
        "note": bytes(last.note).decode("utf-8", "replace"),
    }


def _holds(name: str, value: str) -> ColumnElement[bool]:
    """Whether the bytes of a record hold the field anywhere: a quick look before the record is parsed."""
    return func.instr(audit.c.record, canonical({PLACES[name][1]: value})[1:-1]) > 0


def _at(record: Mapping[str, Any], name: str) -> Any:
    part, field = PLACES[name]
    return record[part][field]


def _records(conn: Connection, question: Any) -> Iterator[dict[str, Any]]:
    for row in conn.execution_options(stream_results=True).execute(question).yield_per(200):
        yield json.loads(row.record)

