"""Verify the audit log of a book, trusting nobody: `python policies/audit/verify.py BOOK.sqlite [--from N] [--to N] [--strict]`.

Imports nothing of Luthier. Exit status: 0 intact, 1 tampered, 2 gaps or missing records, 3 cannot read.
It recomputes SHA-256 over the stored bytes of every record, compares it with the stored hash and with `prev` of the
next one, and refuses gaps in `seq`, a changing origin, duplicate keys, floats and bytes that are not canonical JSON
(RFC 8785; every 100th record, with --strict every one). A cut tail shows only against a copy of an earlier end:
note the printed last number and hash somewhere else and give them as --expect SEQ:HASH.
"""

import argparse
import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

INTACT, TAMPERED, MISSING, UNREADABLE = 0, 1, 2, 3
GENESIS = "0" * 64
FIELDS = {"v", "seq", "ts", "log", "kind", "event", "actor", "agent", "tool", "args", "args_commit", "action_digest",
          "policy", "approval", "cost", "result", "trace", "refs", "detail", "key", "prev"}
KINDS = {"intent", "outcome", "decision", "approval", "policy", "auth", "admin"}


class Bad(Exception):
    """The first thing that is wrong: exit status, record number, and a sentence."""

    def __init__(self, status: int, seq: int, text: str) -> None:
        super().__init__(text)
        self.status, self.seq, self.text = status, seq, text


def encode(value: Any) -> str:
    """RFC 8785 for the values a record may hold: no floats, integers within 2^53, keys in UTF-16 order."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        if abs(value) > 2**53 - 1:
            raise ValueError("an integer beyond 2^53")
        return str(value)
    if isinstance(value, str):
        value.encode("utf-8")  # a lone surrogate raises
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(encode(part) for part in value) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(encode(key) + ":" + encode(value[key]) for key in keys) + "}"


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"a number that is no integer: {text[:20]}")


def parse(stored: bytes) -> Any:
    """The record in `stored`, strictly. Raises ValueError (UnicodeDecodeError and JSONDecodeError are such)."""
    return json.loads(stored.decode("utf-8"), object_pairs_hook=_pairs, parse_float=_refuse, parse_constant=_refuse)


def check(seq: int, stored: Any, stored_hash: str, prev: str | None, origin: str | None, *, canonical: bool) -> tuple[str, str]:
    """Check one record; returns (hash, origin). Raises Bad."""
    if not isinstance(stored, bytes):
        raise Bad(TAMPERED, seq, "the record is not bytes")
    digest = hashlib.sha256(stored).hexdigest()
    if digest != stored_hash:
        raise Bad(TAMPERED, seq, "the bytes do not have the recorded hash")
    try:
        record = parse(stored)
        if not isinstance(record, dict) or set(record) != FIELDS or record["kind"] not in KINDS:
            raise ValueError("fields are missing or unknown")
        if canonical and encode(record).encode("utf-8") != stored:
            raise ValueError("not in canonical form")
    except (ValueError, RecursionError, TypeError) as error:
        raise Bad(TAMPERED, seq, f"the record is not valid: {error}") from None
    if record["v"] != 1 or isinstance(record["v"], bool):
        raise Bad(TAMPERED, seq, f"unknown version {record['v']!r}")
    if record["seq"] != seq:
        raise Bad(TAMPERED, seq, f"the record says it is number {record['seq']!r}")
    if prev is not None and record["prev"] != prev:
        raise Bad(TAMPERED, seq, "it does not follow the record before it")
    if origin is not None and record["log"] != origin:
        raise Bad(TAMPERED, seq, f"it belongs to another log, {record['log']!r}")
    return digest, record["log"]


def walk(
    rows: Iterable[tuple[Any, Any, Any]], first: int, last: int | None, strict: bool, expect: tuple[int, str] | None,
) -> tuple[int, int, str]:
    """Check rows (seq, hash, record) in order; returns (count, last seq, last hash). Raises Bad."""
    wanted, prev, origin, count, digest = first, GENESIS if first == 1 else None, None, 0, ""
    for seq, stored_hash, stored in rows:
        if seq != wanted:
            raise Bad(MISSING if isinstance(seq, int) and seq > wanted else TAMPERED, wanted, f"missing; the next one is {seq}")
        digest, origin = check(seq, stored, stored_hash, prev, origin, canonical=strict or seq % 100 == 1)
        if expect is not None and seq == expect[0] and digest != expect[1]:
            raise Bad(TAMPERED, seq, "it is not the record that was noted elsewhere")
        prev, wanted, count = digest, seq + 1, count + 1
    end = max(last or 0, expect[0] if expect else 0)
    if end and wanted <= end:
        raise Bad(MISSING, wanted, f"missing; the log ends before {end}")
    return count, wanted - 1, digest


def verify(
    path: str | Path, first: int = 1, last: int | None = None, strict: bool = False, expect: tuple[int, str] | None = None,
) -> tuple[int, str]:
    """Verify the log in the book at `path`; returns (exit status, sentence). Never raises for what it finds there."""
    try:
        if not Path(path).is_file():
            return UNREADABLE, f"cannot read {path}: there is no such file"
        book = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)
    except (sqlite3.Error, OSError, ValueError) as error:
        return UNREADABLE, f"cannot read {path}: {error}"
    try:
        question = "SELECT seq, hash, record FROM audit WHERE seq >= ? AND seq <= ? ORDER BY seq"
        rows = book.execute(question, (first if first > 1 else -2**62, last or 2**62))
        count, end, digest = walk(rows, first, last, strict, expect)
    except Bad as bad:
        word = "TAMPERED" if bad.status == TAMPERED else "MISSING"
        return bad.status, f"{word}: first bad record {bad.seq}: {bad.text}"
    except (sqlite3.Error, OSError, OverflowError, MemoryError) as error:
        return UNREADABLE, f"cannot read {path}: {error}"
    finally:
        book.close()
    return INTACT, f"intact: {count} records, last {end} {digest}" if count else "intact: no records"


def main(argv: list[str]) -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(description="Verify the audit log of a Luthier book.", exit_on_error=False)
    parser.add_argument("book")
    parser.add_argument("--from", dest="first", type=int, default=1)
    parser.add_argument("--to", dest="last", type=int, default=None)
    parser.add_argument("--strict", action="store_true", help="check the canonical form of every record")
    parser.add_argument("--expect", default=None, help="SEQ:HASH, an earlier end noted elsewhere")
    try:
        asked = parser.parse_args(argv)
        expect = None
        if asked.expect:
            seq, digest = asked.expect.split(":")
            expect = (int(seq), digest.lower())
        if asked.first < 1 or (asked.last is not None and asked.last < asked.first):
            raise ValueError("--from is at least 1, and --to not before it")
    except (argparse.ArgumentError, ValueError) as error:
        print(f"cannot read: {error}")
        return UNREADABLE
    except SystemExit as stop:
        return UNREADABLE if stop.code else INTACT
    status, text = verify(asked.book, asked.first, asked.last, asked.strict, expect)
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
