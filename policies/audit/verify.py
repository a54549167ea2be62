"""Verify the audit log of a book, or an export of it, trusting nobody: `python verify.py BOOK|EXPORT [options]`.

Imports nothing of Luthier. Exit status: 0 intact, 1 tampered, 2 gaps or missing records, 3 cannot read.
It checks that (1) every record is canonical JSON (RFC 8785) with the known fields, has the hash that is kept with it, the next
number, the origin of this log, and names the hash of the record before it; (2) the Merkle tree over the records (RFC 9162) has
the signed root at the size of every checkpoint; (3) every checkpoint (C2SP signed note, Ed25519) was signed by the key in force
at that size, and every change of key by both keys. Give a public key and a checkpoint that you kept elsewhere: those beside the
book help only against somebody who could not write there, and a cut tail shows only against an outside checkpoint (or --expect).
"""

import argparse
import base64
import hashlib
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

INTACT, TAMPERED, MISSING, UNREADABLE = 0, 1, 2, 3
FIELDS = {"v", "seq", "ts", "log", "kind", "event", "actor", "agent", "tool", "args", "args_commit", "action_digest",
          "policy", "approval", "cost", "result", "trace", "refs", "detail", "key", "prev"}
KINDS = {"intent", "outcome", "decision", "approval", "policy", "auth", "admin"}
NOTE = re.compile(rb"(?:[^\n]+\n){3,}\n(?:\xe2\x80\x94 [^\n]+\n)+")  # lines of text, an empty line, signatures after a dash
LINE = re.compile(rb'\{"hash":"([0-9a-f]{64})","record":(.*),"seq":(\d{1,15})\}\n')  # one record of an export as JSON lines
Row = tuple[Any, Any, Any, Any]  # seq, hash, (kind, call id) where they are kept a second time, the bytes of the record


class Bad(Exception):
    """The first thing that is wrong, as `args`: exit status, record number, and a sentence."""


def whole(text: str) -> int:
    """An integer within 2^53. Floats and NaN raise ValueError: a record may not hold them."""
    if len(text) > 17 or abs(int(text)) > 2**53 - 1:
        raise ValueError("an integer beyond 2^53")
    return int(text)


def encode(value: Any) -> str:
    """RFC 8785 for what `whole` lets pass: no floats, integers within 2^53; keys in UTF-16 order."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(encode(key) + ":" + encode(value[key]) for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(encode(part) for part in value) + "]"
    return json.dumps(value, ensure_ascii=False)


DECODE = json.JSONDecoder(parse_float=whole, parse_int=whole, parse_constant=whole).decode
QUICK = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def parse(stored: bytes, strict: bool = True) -> Any:
    """The record in `stored`, which must be in its one canonical form, so that no key stands twice. Raises ValueError."""
    text = stored.decode("utf-8")
    record = DECODE(text)
    # The quick encoder differs from RFC 8785 in the order of a few odd keys, and `encode` then has the last word.
    if (strict or QUICK(record) != text) and encode(record) != text:
        raise ValueError("not in canonical form")
    return record


def grow(frontier: list[bytes], size: int, stored: bytes) -> None:
    """Add a record to a Merkle tree of `size` records, kept as the roots of its perfect subtrees (RFC 9162, 2.1)."""
    fresh = hashlib.sha256(b"\0" + stored).digest()
    while size & 1:
        fresh, size = hashlib.sha256(b"\1" + frontier.pop() + fresh).digest(), size >> 1
    frontier.append(fresh)


def fold(frontier: list[bytes]) -> bytes:
    """The root of that tree."""
    found = frontier[-1]
    for peak in frontier[-2::-1]:
        found = hashlib.sha256(b"\1" + peak + found).digest()
    return found


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether this Ed25519 key signed this message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Log:
    """One log while its records pass by; the keys that the reader trusts (C2SP lines name+hash+key), and those that follow."""

    def __init__(self, keys: Path | None, strict: bool) -> None:
        lines = keys.read_text(encoding="utf-8").split() if keys else []
        self.given = [base64.b64decode(line.split("+", 2)[2], validate=True)[1:] for line in lines]
        self.changes = list[tuple[int, bytes, bytes]]()
        self.strict, self.origin, self.prev, self.frontier = strict, "", "0" * 64, list[bytes]()
        self.size = self.count = self.start = 0
        self.agreed: dict[str, int] = {}  # for each place where signed statements were found, the last size that agreed
        self.wanted: dict[int, list[tuple[str, bytes, bytes, str]]] = {}  # by size: origin, root, note, where it was found

    def changed(self, seq: int, record: dict[str, Any]) -> None:
        """A record says that a new key takes over: both must have signed it, and the old one must have been in force."""
        said = record["detail"]
        old, new = bytes.fromhex(said["old"]), bytes.fromhex(said["new"])
        text = f"{record['log']}/rotation\n{seq}\n{record['prev']}\n{old.hex()}\n{new.hex()}\n".encode()
        for key, halves in ((old, said["signed_old"]), (new, said["signed_new"])):
            if not is_signed(key, bytes.fromhex("".join(halves)), text):
                raise Bad(TAMPERED, seq, "a change of key that its keys did not sign")
        if self.changes and self.changes[-1][2] != old:
            raise Bad(TAMPERED, seq, "a change from a key that was not in force")
        self.changes.append((seq, old, new))

    def signer(self, note: bytes, name: str, size: int) -> str | None:
        """The id of the key that was in force over `size` records and signed this note; None when there is none."""
        trusted = self.given
        if self.changes:
            chain = [(0, self.changes[0][1]), *((seq, new) for seq, _, new in self.changes)]
            trusted = [[key for seq, key in chain if seq <= size][-1]] if {key for _, key in chain} & set(trusted) else []
        text, _, lines = note.rpartition(b"\n\n")
        for line in lines.decode().splitlines():
            mark = base64.b64decode(line.split(" ")[-1], validate=True)
            for key in trusted if line == f"\u2014 {name} {base64.b64encode(mark).decode()}" else []:
                if hashlib.sha256(name.encode() + b"\n\1" + key).digest()[:4] == mark[:4] and is_signed(key, mark[4:], text + b"\n"):
                    return mark[:4].hex()
        return None

    def expect(self, note: bytes, where: str) -> tuple[int, str]:
        """A checkpoint with which the tree must agree when it has that size; returns its size and root."""
        origin, size, root = note.decode().split("\n")[:3]
        self.wanted.setdefault(int(size), []).append((origin, base64.b64decode(root, validate=True), note, where))
        return int(size), base64.b64decode(root).hex()

    def begin(self, size: int, frontier: list[bytes]) -> None:
        """Begin after `size` records, whose tree has this frontier; without one no tree can be compared."""
        self.prev, self.size, self.start, self.frontier = "", size, size, frontier or [b""] * size.bit_count()
        self.wanted = {at: known for at, known in self.wanted.items() if at >= size and frontier}
        self.compare()

    def add(self, row: Row) -> None:
        """Check one record, which must be the next one. Raises Bad."""
        seq, stored_hash, columns, stored = row
        if type(seq) is not int or seq != self.size + 1:
            raise Bad(MISSING if type(seq) is int and seq > self.size else TAMPERED, self.size + 1, f"missing; the next one is {seq}")
        digest = hashlib.sha256(stored).hexdigest() if isinstance(stored, bytes) else ""
        if not digest or digest != stored_hash:
            raise Bad(TAMPERED, seq, "the bytes do not have the recorded hash")
        try:
            record = parse(stored, self.strict or seq % 100 == 1)
            if type(record) is not dict or record.keys() != FIELDS or record["kind"] not in KINDS:
                raise ValueError("fields are missing or unknown")
            if (record["v"], record["seq"]) != (1, seq) or record["v"] is True:
                raise ValueError(f"it says it is number {record['seq']!r}, version {record['v']!r}")
            if self.prev and record["prev"] != self.prev:
                raise ValueError("it does not follow the record before it")
            if self.origin and record["log"] != self.origin:
                raise ValueError(f"it belongs to another log, {record['log']!r}")
            if columns and columns != [record["kind"], record["tool"]["call_id"]]:
                raise ValueError("the columns beside it say something else")
            if record["kind"] == "admin" and record["event"] == "key_rotated":
                self.changed(seq, record)
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise Bad(TAMPERED, seq, f"the record is not valid: {error}") from None
        self.origin, self.prev, self.count = record["log"], digest, self.count + 1
        grow(self.frontier, self.size, stored)
        self.size = seq
        if seq in self.wanted:
            self.compare()

    def compare(self) -> None:
        """Compare the tree with every checkpoint of its present size. Raises Bad."""
        for _, root, _, where in reversed(self.wanted.get(self.size, [])):  # the closest ones first: those in the book
            if root != fold(self.frontier):
                if self.given:
                    self.end(self.size - 1)  # a checkpoint before that was forged comes first
                raise Bad(TAMPERED, self.agreed.get(where, self.start) + 1, f"up to {self.size} one is not what was signed: {where}")
            self.agreed[where] = self.size

    def end(self, last: int) -> str:
        """Check that nothing is missing at the end, and who signed; returns a line that says so. Raises Bad."""
        good, line = 0, ""
        for size, (origin, _, note, where) in sorted((at, one) for at, known in self.wanted.items() for one in known if at <= last):
            if size > self.size:
                raise Bad(MISSING, self.size + 1, f"missing; the log ends before {size}: {where}")
            if origin not in (self.origin, f"{self.origin}/export"):
                raise Bad(TAMPERED, good + 1, f"{where} was signed for another log, {origin!r}")
            if not self.given:
                raise Bad(UNREADABLE, 0, "there is no public key to check signatures with: give one with --pubkey FILE")
            key = self.signer(note, self.origin, size)
            if key is None:
                raise Bad(TAMPERED, good + 1, f"{where}, over {size} records, is signed by no key you gave, nor by one that follows")
            good, line = size, f"\nsigned: up to record {size} by key {self.origin}+{key}, {self.size - size} after it not yet"
        return line


def read_book(path: Path, log: Log, first: int, last: int) -> Iterator[Row]:
    """The checkpoints of a book are handed to the log, then its records from the last checkpoint before `first` on."""
    changes = "SELECT seq, record FROM audit WHERE seq > ? AND seq <= ? AND kind = 'admin' AND instr(record, ?) ORDER BY seq"
    records = "SELECT seq, hash, kind, call_id, record FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq"
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as book:
        start, peaks = first - 1, b""
        if book.execute("SELECT 1 FROM sqlite_master WHERE name = 'audit_checkpoints'").fetchone():
            for size, root, note, frontier in book.execute("SELECT size, root, note, frontier FROM audit_checkpoints ORDER BY size"):
                if not NOTE.fullmatch(note) or log.expect(note, "a checkpoint in the book") != (size, root):
                    raise Bad(TAMPERED, 1, f"the checkpoint kept as the one over {size!r} records says something else")
                start, peaks = (size, frontier) if size < first else (start, peaks)
        for seq, stored in book.execute(changes, (0, start, b'"key_rotated"')):
            log.changed(seq, parse(stored))
        if start:
            log.begin(start, [peaks[place:place + 32] for place in range(0, len(peaks), 32)])
        yield from ((seq, digest, also, stored) for seq, digest, *also, stored in book.execute(records, (start or -2**62, last)))
        for seq, stored in book.execute(changes, (last, 2**62, b'"key_rotated"')):
            log.changed(seq, parse(stored))


def read_export(path: Path, log: Log) -> Iterator[Row]:
    """The records of an export whose signed digest lies beside it; of one in another form than JSON lines, the file as a whole."""
    note = Path(f"{path}.digest").read_bytes()
    log.expect(note if NOTE.fullmatch(note) else b"", f"{path.name}.digest")
    origin, last, _, form, first, wanted, peaks = note.decode().split("\n")[:7]
    start, file, log.origin = int(first) - 1 if form == "jsonl" else int(last), hashlib.sha256(), origin.removesuffix("/export")
    if start:
        log.begin(start, [bytes.fromhex(peak) for peak in peaks.split(",")])
    with path.open("rb") as lines:
        for line in lines:
            file.update(line)
            if form == "jsonl":
                found = LINE.fullmatch(line)
                yield (int(found[3]), found[1].decode(), None, found[2]) if found else (None, "", None, line)
    if file.hexdigest() != wanted:
        cut = log.size < int(last)
        raise Bad(MISSING if cut else TAMPERED, log.size + 1 if cut else int(first), "the file is not the one its digest was made of")


def verify(path: str | Path, first: int = 1, last: int | None = None, strict: bool = False, expect: tuple[int, str] | None = None,
           checkpoint: str | Path | None = None, pubkey: str | Path | None = None) -> tuple[int, str]:
    """Verify the book or export at `path`; returns (exit status, sentences). Never raises for what it finds there."""
    path, home = Path(path), Path(path).resolve().parent / "keys"
    try:
        with path.open("rb") as file:
            is_book = file.read(16) == b"SQLite format 3\0"
        key = Path(pubkey) if pubkey else home / "audit.pub"
        log = Log(key if pubkey or key.is_file() else None, strict)
        kept = [Path(checkpoint)] if checkpoint else []
        for place in [*kept, home / "last.checkpoint"] if is_book and (home / "last.checkpoint").is_file() else kept:
            if not [log.expect(note, str(place)) for note in NOTE.findall(place.read_bytes())]:
                raise ValueError(f"there is no checkpoint in {place}")
        try:
            for row in read_book(path, log, first, last or 2**62) if is_book else read_export(path, log):
                log.add(row)
                if expect is not None and row[0] == expect[0] and log.prev != expect[1]:
                    raise Bad(TAMPERED, row[0], "it is not the record that was noted elsewhere")
            if log.size < (end := max(last or 0, expect[0] if expect else 0)):
                raise Bad(MISSING, log.size + 1, f"missing; the log ends before {end}")
            signed = log.end(last or 2**62)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise Bad(TAMPERED, log.size or 1, f"what was signed cannot be read: {error}") from None
        if pubkey and log.count and not signed:
            raise Bad(MISSING, first, "there is no signature to check with your key")
    except Bad as bad:
        status, seq, text = bad.args
        head = f"cannot read {path}" if status == UNREADABLE else f"{['TAMPERED', 'MISSING'][status - 1]}: first bad record {seq}"
        return status, f"{head}: {text}"
    except ImportError:
        return UNREADABLE, "cannot read signatures without the package `cryptography`: pip install cryptography"
    except (sqlite3.Error, OSError, ValueError, IndexError, MemoryError) as error:
        return UNREADABLE, f"cannot read {path}: {error}"
    trust = f"\nkey: {key}" + ("" if pubkey else " beside the log; give your own copy with --pubkey to trust nobody") if log.given else ""
    counted = f"intact: {log.count} records, last {log.size} {log.prev}" if log.count else "intact: no records read"
    return INTACT, counted + (signed or "\nsigned: nothing yet") + trust


def main(argv: list[str]) -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(description="Verify the audit log of a Luthier book, or an export of it.")
    parser.add_argument("book", help="book.sqlite, or an export with its .digest beside it")
    parser.add_argument("--from", dest="first", type=int, default=1, help="begin at the last checkpoint before this record")
    parser.add_argument("--to", dest="last", type=int, default=None)
    parser.add_argument("--pubkey", help="the public key that you keep; without it, keys/audit.pub beside the book")
    parser.add_argument("--checkpoint", help="a checkpoint, or a file of several, that you keep")
    parser.add_argument("--strict", action="store_true", help="check the canonical form with the slow encoder alone")
    parser.add_argument("--expect", type=lambda text: (int(text[:text.index(":")]), text[text.index(":") + 1:].lower()),
                        metavar="SEQ:HASH", help="an earlier end that you noted")
    try:
        asked = parser.parse_args(argv)
        if asked.first < 1 or (asked.last is not None and asked.last < asked.first):
            parser.error("--from is at least 1, and --to not before it")
    except SystemExit as stop:
        return UNREADABLE if stop.code else INTACT
    status, said = verify(asked.book, asked.first, asked.last, asked.strict, asked.expect, asked.checkpoint, asked.pubkey)
    print(said)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
