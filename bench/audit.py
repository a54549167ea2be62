"""`python -m bench.audit`: how fast the audit log is verified, and what an append costs beside a raw sync of the same disk."""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figure import Figure, median, show
from policies.audit.record import Record
from tests.hammer import blank, fill, verified
from tests.policies.audit.logs import OWNER, Signed, open_log

RECORDS = 100_000
SINGLE = 400
GROUPED = 6_400
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


def append_pace(folder: Path) -> list[Figure]:
    """Appends one at a time and in groups, and the same bytes written and synced raw, in turns on the same disk."""
    log = open_log(folder, blank(folder))
    size = wal_bytes(log)
    fill(log, 3000)  # from here on SQLite writes its log over blocks that are there already
    raw, single = list[float](), list[float]()
    # Raw, the same: over blocks that are there already.
    handle = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT, 0o600)
    block, places = b"x" * size, 64
    os.pwrite(handle, block * places, 0)
    os.fsync(handle)
    for turn in range(SINGLE):
        began = time.perf_counter()
        os.pwrite(handle, block, turn % places * size)
        os.fdatasync(handle)
        raw.append(time.perf_counter() - began)
        began = time.perf_counter()
        log.book.write(lambda conn: log.log.append(conn, RECORD))
        single.append(time.perf_counter() - began)
    os.close(handle)
    began = time.perf_counter()
    for done in [log.book.submit(lambda conn: log.log.append(conn, RECORD)) for _ in range(GROUPED)]:
        done.result()
    grouped, alone = GROUPED / (time.perf_counter() - began), SINGLE / sum(single)
    log.book.close()
    note = f"{size} bytes a time: raw {median(raw) * 1000:.2f} and {high(raw) * 1000:.2f} ms, append {median(single) * 1000:.2f} and " \
           f"{high(single) * 1000:.2f} ms (p50, p99), {SINGLE} in turns"
    return [
        Figure("audit: durable append / raw fdatasync, p50", median(single) / median(raw), "×", 2, note=note),
        Figure("audit: the same, p99", high(single) / high(raw), "×", 2),
        Figure("audit: appends one at a time", alone, "records/s"),
        Figure("audit: grouped / one at a time", grouped / alone, "×", 10, "higher", f"{grouped:.0f} records/s, up to 64 in a commit"),
    ]


def measure() -> list[Figure]:
    """All of them."""
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as folder:
        return [*append_pace(Path(folder, "append")), *verify_pace(Path(folder, "verify"))]


if __name__ == "__main__":
    show(measure())
