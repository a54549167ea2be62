"""Exports of the log with a signed digest beside each, chained to the export before: whole, in order, and provable elsewhere.

The digest is a signed note. Its first three lines are those of a checkpoint of the origin `…/export`; then follow form, first
record, SHA-256 of the file, a frontier (of the tree before the first record; for a form that the verifier does not read, of the
whole tree), and the SHA-256 of the digest before. A `-` stands for nothing.
"""

import base64
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Text, cast, func, select

from policies.audit.checkpoint import sign_note
from policies.audit.forms import Form, Ocsf, cloud_event, json_line
from policies.audit.log import AuditLog
from policies.audit.merkle import fold, grow, leaf
from policies.audit.record import Record
from policies.audit.signer import frontier_of, last_checkpoint
from policies.book import Book, now_text
from policies.people import Caller
from policies.tables import audit, audit_checkpoints, audit_exports

ENDINGS: dict[Form, str] = {"jsonl": "jsonl", "ocsf": "ocsf.jsonl", "cloudevents": "cloudevents.jsonl"}


class NoExport(Exception):
    """Nothing was exported; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    digest: Path
    """`path` with `.digest` behind it: keep both together."""
    first: int
    last: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Tree:
    first: int
    last: int
    frontier: list[bytes]
    root: bytes


def export(book: Book, log: AuditLog, folder: Path, form: Form, since: int | str | None, caller: Caller, now: datetime) -> Exported:
    """Write the records from `since` to the end into a new file in `folder`, have it signed, and record that.

    `since`: a number; a date or moment in ISO 8601 (UTC); `last` for what came since the last export; None for everything.
    Raises NoExport.
    """
    if log.keys is None:
        raise NoExport("This log is not signed, so an export of it would prove nothing.")
    book.write(lambda conn: log.seal(conn, now))
    if log.alarm:
        raise NoExport(log.alarm)
    first, last, peaks = book.read(lambda conn: _span(conn, since))
    path = Path(folder) / f"audit-{first}-{last}.{ENDINGS[form]}"
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sha256, whole = book.read(lambda conn: _write(conn, part, form, first, last, list(peaks)))
        tree = _Tree(first, last, peaks if form == "jsonl" else whole, fold(whole))
        note = book.write(lambda conn: _sign(conn, log, form, tree, sha256, caller, now))
        digest = Path(f"{path}.digest")
        digest.write_bytes(note)
        os.replace(part, path)
    except OSError as error:
        raise NoExport(f"{path} cannot be written ({error.strerror}). Choose another folder.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return Exported(path, digest, first, last, sha256)


def _span(conn: Connection, since: int | str | None) -> tuple[int, int, list[bytes]]:
    """The first and last number, and the frontier of the tree before the first."""
    signed = last_checkpoint(conn)
    last, first = 0 if signed is None else signed.size, 1
    match since:
        case None:
            pass
        case "last":
            first = (conn.execute(select(func.max(audit_exports.c.last_seq))).scalar_one() or 0) + 1
        case str() if not since.isdecimal():
            first = _from(conn, since)
        case _:
            first = int(since)
    if not 1 <= first <= last:
        raise NoExport(f"There is no record from {since} on; the last one is {last}.")
    frontier, size = frontier_of(last_checkpoint(conn, first))
    rows = conn.execute(select(audit.c.record).where(audit.c.seq > size, audit.c.seq < first).order_by(audit.c.seq))
    for row in rows:
        size = grow(frontier, size, leaf(row.record))
    return first, last, frontier


def _from(conn: Connection, moment: str) -> int:
    try:
        text = now_text(datetime.fromisoformat(moment if "T" in moment else f"{moment}T00:00:00+00:00"))
    except ValueError as error:
        raise NoExport(f"{moment!r} is neither a number nor a date like 2026-11-24.") from error
    # Numbers rise with time: halving finds the first record of that moment without reading the log.
    low, high = 1, (conn.execute(select(func.max(audit.c.seq))).scalar_one() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        stamp = func.json_extract(cast(audit.c.record, Text), "$.ts")
        if conn.execute(select(stamp).where(audit.c.seq == middle)).scalar_one() < text:
            low = middle + 1
        else:
            high = middle
    return low


def _write(conn: Connection, part: Path, form: Form, first: int, last: int, frontier: list[bytes]) -> tuple[str, list[bytes]]:
    """Write the file and have it on disk; returns its SHA-256 and the frontier of the tree over `last` records."""
    makers: dict[Form, Callable[[int, str, bytes], bytes]] = {"jsonl": json_line, "ocsf": Ocsf("0.1.0"), "cloudevents": cloud_event}
    make, file, size = makers[form], hashlib.sha256(), first - 1
    rows = conn.execution_options(stream_results=True).execute(
        select(audit.c.seq, audit.c.hash, audit.c.record).where(audit.c.seq >= first, audit.c.seq <= last).order_by(audit.c.seq))
    with part.open("wb") as out:
        os.fchmod(out.fileno(), 0o600)
        for row in rows.yield_per(500):
            line = make(row.seq, row.hash, row.record)
            file.update(line)
            out.write(line)
            size = grow(frontier, size, leaf(row.record))
        out.flush()
        os.fsync(out.fileno())
    return file.hexdigest(), frontier


def _sign(conn: Connection, log: AuditLog, form: Form, tree: _Tree, sha256: str, caller: Caller, now: datetime) -> bytes:
    first, last = tree.first, tree.last
    signed = conn.execute(select(audit_checkpoints.c.root).where(audit_checkpoints.c.size == last)).scalar_one()
    if signed != tree.root.hex() or log.signer is None:
        raise NoExport("The records do not have the signed root. Run `python -m ui audit verify`.")
    before = conn.execute(select(audit_exports.c.digest).order_by(audit_exports.c.id.desc()).limit(1)).scalar_one_or_none()
    lines = (f"{log.origin}/export", last, base64.b64encode(tree.root).decode(), form, first, sha256,
             ",".join(peak.hex() for peak in tree.frontier) or "-", "-" if before is None else hashlib.sha256(before).hexdigest())
    note = sign_note("".join(f"{line}\n" for line in lines).encode(), log.signer.key(conn), log.origin)
    conn.execute(audit_exports.insert().values(at=now_text(now), format=form, first_seq=first, last_seq=last, sha256=sha256, digest=note))
    log.append(conn, Record("admin", "exported", caller, detail={"form": form, "first": first, "last": last, "sha256": sha256}))
    return note
