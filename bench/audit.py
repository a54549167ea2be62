"""`python -m bench.audit`: how fast the audit log is verified, and what an append costs beside a raw sync of the same disk."""

import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figure import Figure, median, show
from policies.audit.journal import Journal
from policies.audit.record import Record
from policies.book import BATCH
from tests.hammer import blank, fill, verified
from tests.policies.audit.logs import OWNER, Signed, open_log

RECORDS = 100_000
SINGLE = 4000
"""The 99th of a hundred in 400 would be the fourth worst, which is chance."""
GROUPED = 6_400
LOG_BYTES = 1000 * 4096
"""SQLite begins its log anew after so many bytes; what is written raw goes over as many blocks."""
RECORD = Record("outcome", "ok", OWNER, tool="list_runs", tool_version="1", call_id="c" * 32, effects=("READ",), status="ok",
                result_hash="b" * 64, result_size=812, policy_hash="a" * 64)


def high(values: Sequence[float]) -> float:
    """The 99th of a hundred."""
    return sorted(values)[int(len(values) * 0.99)]


def verify_pace(folder: Path) -> list[Figure]:
    """A log of real records, verified by the program in a process of its own, with every signature."""
    log = open_log(folder, blank(folder))
    fill(log, RECORDS)
    log.book.close()
    status, seconds, memory = verified(log.path)
    assert status == 0
    note = f"{RECORDS} records, {RECORDS // 100} signatures; processor time with the start of Python"
    return [
        Figure("audit: verified on one core", RECORDS / seconds, "records/s", 20_000, "higher", note),
        Figure("audit: a million records", seconds * 1_000_000 / RECORDS, "s", 60, note="scaled; `make hammer` verifies a million"),
        Figure("audit: memory of the verifier", memory, "MB", 150),
    ]


def wal_bytes(log: Signed) -> int:
    """How many bytes one append brings to the disk; asked while the log file still grows."""
    wal = Path(f"{log.path}-wal")
    log.book.write(lambda conn: log.log.append(conn, RECORD))
    before = wal.stat().st_size
    log.book.write(lambda conn: log.log.append(conn, RECORD))
    return max(4096, wal.stat().st_size - before)


class Bare:
    """SQLite by itself, in a copy of a book, with the same durability: what no program that keeps its log there can be quicker than."""

    def __init__(self, book: Path, path: Path) -> None:
        source, self._raw = sqlite3.connect(book), sqlite3.connect(path, isolation_level=None)
        source.backup(self._raw)
        source.close()
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._raw.execute(f"PRAGMA {pragma}")
        self._last, self._stored = self._raw.execute("SELECT seq, record FROM audit ORDER BY seq DESC LIMIT 1").fetchone()

    def commit(self, count: int) -> float:
        """Insert so many rows of an ordinary record's size in one transaction; returns the seconds it took."""
        numbers = range(self._last + 1, self._last + 1 + count)
        rows = [(number, hashlib.sha256(b"%d" % number).hexdigest(), "outcome", "c" * 32, self._stored) for number in numbers]
        self._last += count
        began = time.perf_counter()
        self._raw.execute("BEGIN IMMEDIATE")
        for row in rows:
            self._raw.execute("INSERT INTO audit (seq, hash, kind, call_id, record) VALUES (?, ?, ?, ?, ?)", row)
        self._raw.execute("COMMIT")
        return time.perf_counter() - began


def append_pace(folder: Path) -> list[Figure]:
    """Appends one at a time and in groups, and the same bytes written and synced raw, in turns on the same disk."""
    log = open_log(folder, blank(folder))
    size = wal_bytes(log)
    fill(log, 3000)  # from here on SQLite writes its log over blocks that are there already
    floor, raw, bare, single = Bare(log.path, folder / "bare.sqlite"), list[float](), list[float](), list[float]()
    for _ in range(1000):  # as with the book: over blocks that are there already
        floor.commit(1)
    # Raw, the same: over blocks that are there already, and as many.
    handle = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT, 0o600)
    block, places = b"x" * size, LOG_BYTES // size
    os.pwrite(handle, block * places, 0)
    os.fsync(handle)
    for turn in range(SINGLE):
        began = time.perf_counter()
        os.pwrite(handle, block, turn % places * size)
        os.fdatasync(handle)
        raw.append(time.perf_counter() - began)
        bare.append(floor.commit(1))
        began = time.perf_counter()
        log.book.write(lambda conn: log.log.append(conn, RECORD))
        single.append(time.perf_counter() - began)
    os.close(handle)
    began = time.perf_counter()
    journal = Journal(log.book, log.log)
    for done in [journal.add(RECORD) for _ in range(GROUPED)]:
        done.result()
    grouped, alone = GROUPED / (time.perf_counter() - began), SINGLE / sum(single)
    log.book.close()
    bare_grouped = GROUPED / sum(floor.commit(BATCH) for _ in range(GROUPED // BATCH))
    note = f"{size} bytes a time: raw {median(raw) * 1000:.2f} and {high(raw) * 1000:.2f} ms, append {median(single) * 1000:.2f} and " \
           f"{high(single) * 1000:.2f} ms (p50, p99), {SINGLE} in turns"
    return [
        Figure("audit: durable append / raw fdatasync, p50", median(single) / median(raw), "×", 2, note=note),
        Figure("audit: the same, p99", high(single) / high(raw), "×", 2),
        Figure("audit: appends one at a time", alone, "records/s"),
        Figure("audit: grouped / one at a time", grouped / alone, "×", 10, "higher", f"{grouped:.0f} records/s, up to {BATCH} in a commit"),
        Figure("audit: bare SQLite / raw fdatasync, p50", median(bare) / median(raw), "×",
               note=f"the floor, in the same turns: the row alone, nothing of ours; p99 {high(bare) / high(raw):.2f} ×"),
        Figure("audit: bare SQLite, grouped / one at a time", bare_grouped * sum(bare) / SINGLE, "×",
               note=f"{bare_grouped:.0f} rows/s, {BATCH} in a commit: what grouping can win on this disk"),
    ]


def measure() -> list[Figure]:
    """All of them."""
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as folder:
        return [*append_pace(Path(folder, "append")), *verify_pace(Path(folder, "verify"))]


if __name__ == "__main__":
    show(measure())
