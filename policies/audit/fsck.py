"""Checks that the record and the rest of the book tell the same story; the verifier checks that nobody rewrote it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from policies.audit.checkpoint import BadNote, Checkpoint, split_note
from policies.audit.merkle import fold, grow, leaf
from policies.audit.record import commit
from policies.tables import approvals, audit, audit_checkpoints, audit_exports, audit_originals, calls


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit."""

    kind: str
    """One word: orphan_intent, missing_outcome, no_intent, two_outcomes, no_record, columns, checkpoint, original, export."""
    seq: int | None
    """The record it is about, where it is about one."""
    text: str


def fsck(conn: Connection) -> list[Finding]:
    """Everything that does not fit, in the order in which it was looked for; an empty list is a sound book."""
    frontier, size = list[bytes](), 0
    intents, outcomes, found = dict[int, str](), dict[int, int](), list[Finding]()
    signed = {row.size: row for row in conn.execute(select(audit_checkpoints))}
    for row in conn.execute(select(audit).order_by(audit.c.seq)):
        try:
            record = json.loads(row.record)
            kind, call, intent = record["kind"], record["tool"]["call_id"], record["refs"]["intent"]
        except (ValueError, TypeError, KeyError):
            found.append(Finding("columns", row.seq, "The record cannot be read. Run `python -m ui audit verify`."))
            continue
        if (kind, call) != (row.kind, row.call_id) or hashlib.sha256(row.record).hexdigest() != row.hash:
            found.append(Finding("columns", row.seq, "The columns beside the record say something else than it does."))
        if kind == "intent":
            intents[row.seq] = call
        elif kind == "outcome" and intent in outcomes:
            found.append(Finding("two_outcomes", row.seq, f"Intent {intent} has two outcomes; the first is record {outcomes[intent]}."))
        elif kind == "outcome":
            outcomes[intent] = row.seq
            if intents.get(intent) != call:
                found.append(Finding("no_intent", row.seq, f"The outcome of call {call} names no intent of that call before it."))
        size = grow(frontier, size, leaf(row.record))
        if size in signed:
            found += _checkpoint(signed.pop(size), fold(frontier).hex())
    found += [Finding("checkpoint", None, f"The checkpoint over {one} records covers more than there are.") for one in sorted(signed)]
    return [*found, *_calls(conn, intents, outcomes), *_approvals(conn), *_originals(conn), *_exports(conn)]


def _checkpoint(row: Any, root: str) -> Iterator[Finding]:
    try:
        said = Checkpoint.parse(split_note(row.note)[0])
    except (BadNote, TypeError):
        yield Finding("checkpoint", row.size, f"The checkpoint over {row.size} records cannot be read.")
        return
    if (said.size, said.root.hex(), root) != (row.size, row.root, row.root):
        yield Finding("checkpoint", row.size, f"The checkpoint over {row.size} records does not fit them.")


def _calls(conn: Connection, intents: dict[int, str], outcomes: dict[int, int]) -> Iterator[Finding]:
    known = {row.call_id: row for row in conn.execute(select(calls.c.call_id, calls.c.status, calls.c.intent_seq))}
    for seq, call in intents.items():
        if call not in known:
            yield Finding("orphan_intent", seq, f"An intent of call {call}, which the book does not know.")
        elif seq not in outcomes and known[call].status != "running":
            yield Finding("missing_outcome", seq, f"Call {call} has ended as {known[call].status}, and nothing says how its intent ended.")
    for call, row in known.items():
        if row.intent_seq is not None and intents.get(row.intent_seq) != call:
            yield Finding("no_record", row.intent_seq, f"Call {call} names record {row.intent_seq}, which is not its intent.")


def _approvals(conn: Connection) -> Iterator[Finding]:
    started = select(approvals.c.id, calls.c.intent_seq).join(calls, calls.c.call_id == approvals.c.call_id)
    for row in conn.execute(started.where(approvals.c.state == "consumed", calls.c.intent_seq.is_(None))):
        yield Finding("no_intent", None, f"Approval {row.id} was consumed, and no intent says so.")


def _originals(conn: Connection) -> Iterator[Finding]:
    both = select(audit_originals, audit.c.record).join(audit, audit.c.seq == audit_originals.c.seq)
    for row in conn.execute(both):
        if json.loads(row.record)["args_commit"] != commit(row.salt, row.original):
            yield Finding("original", row.seq, "The original arguments beside the record are not the ones it promised.")


def _exports(conn: Connection) -> Iterator[Finding]:
    before = "-"
    for row in conn.execute(select(audit_exports).order_by(audit_exports.c.id)):
        if f"\n{before}\n\n".encode() not in row.digest or row.sha256.encode() not in row.digest:
            yield Finding("export", None, f"Export {row.id} does not follow the one before it.")
        before = hashlib.sha256(row.digest).hexdigest()
