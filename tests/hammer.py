"""`python -m tests.hammer [kills] [bytes] [million] [producers]`: the long forms of the audit log's tests. All by default.

Kills: a process that appends, signs and changes keys is killed 500 times; nothing that it acknowledged may be lost.
Bytes: in every byte of every record of a log a bit is turned in its file, one after the other; each must be found.
Million: a million records are written, verified in a process of its own, exported and verified again.
Producers: four processes' worth of threads append 5,000 records each; the log has no gap.
"""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from policies.audit.export import export
from policies.audit.verify import verify
from policies.book import Book
from tests.policies.audit.logs import OWNER, Signed, entry, open_log, plunder, rows

ROOT = Path(__file__).resolve().parent.parent
VERIFIER = ROOT / "policies" / "audit" / "verify.py"


def blank(folder: Path) -> Path:
    """A migrated book."""
    path = folder / "blank.sqlite"
    Book.open(path).close()
    return path


def append_for_ever(folder: Path) -> None:
    """The child: appends, says number and hash of what is on disk, changes the key now and then, until it is killed."""
    log = open_log(folder, folder / "book.sqlite", every=7)
    number = 0
    while True:
        number += 1
        if number % 40 == 0:
            seq = log.book.write(lambda conn: log.log.rotate(conn, OWNER))
        else:
            seq = log.book.write(lambda conn, number=number: log.log.append(conn, entry(number)))
        if number % 15 == 0:
            log.book.write(lambda conn: log.log.seal(conn, datetime.now(UTC)))
        print(seq, flush=True)


def kill_rounds(folder: Path, rounds: int, seed: int = 1) -> dict[str, int]:
    """Kill the child so many times; returns how many records it acknowledged and how many of those are lost, and how often it failed."""
    dice, home = random.Random(seed), folder / "home"
    open_log(home, blank(folder)).book.close()
    acknowledged, lost, broken = 0, 0, 0
    for _ in range(rounds):
        child = subprocess.Popen([sys.executable, "-m", "tests.hammer", "append", str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        last = 0
        for _ in range(dice.randint(1, 60)):
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        # What it said before it died counts too.
        said = [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        child.stdout.close()
        child.wait()
        last = max([last, *said])
        status, text = verify(home / "book.sqlite", strict=True)
        broken += status != 0
        end = int(text.split("last ")[1].split(" ")[0]) if status == 0 else 0
        lost += max(0, last - end)
        acknowledged = last
    return {"rounds": rounds, "acknowledged": acknowledged, "lost": lost, "broken": broken}


def every_byte(folder: Path, records: int = 60, seed: int = 1) -> dict[str, int]:
    """Turn a bit in every byte of a signed log's records, in its file; returns how many turns there were and how many were not found."""
    log = open_log(folder / "home", blank(folder), every=10)
    log.add(records)
    log.seal()
    log.book.close()
    raw, turns, missed, dice = plunder(log.path), 0, 0, random.Random(seed)
    raw.execute("PRAGMA synchronous = OFF")
    for seq, *_, stored in rows(log.path):
        for place in range(len(stored)):
            changed = bytearray(stored)
            changed[place] ^= 1 << dice.randrange(8)
            raw.execute("UPDATE audit SET record = ? WHERE seq = ?", (bytes(changed), seq))
            raw.commit()
            status, text = verify(log.path)
            turns, missed = turns + 1, missed + (status != 1 or f"first bad record {seq}:" not in text)
        raw.execute("UPDATE audit SET record = ? WHERE seq = ?", (stored, seq))
        raw.commit()
    raw.close()
    return {"turns": turns, "missed": missed}


def fill(log: Signed, count: int, batch: int = 1000) -> float:
    """Append so many records, a thousand in a commit; returns the seconds it took."""
    began = time.perf_counter()
    for first in range(0, count, batch):
        log.book.write(lambda conn, first=first: [log.log.append(conn, entry(first + one)) for one in range(min(batch, count - first))])
    log.seal()
    return time.perf_counter() - began


def verified(path: Path, *options: str) -> tuple[int, float, float]:
    """Run the verifier as a program; returns its exit status, its seconds of processor time, and the memory it needed in MB."""
    words = f"import resource, runpy, sys; sys.argv = {[str(VERIFIER), str(path), *options]!r}\ntry: runpy.run_path({str(VERIFIER)!r}, " \
            "run_name='__main__')\nfinally:\n u = resource.getrusage(resource.RUSAGE_SELF)\n" \
            " print(u.ru_utime + u.ru_stime, u.ru_maxrss / 1024, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-I", "-c", words], capture_output=True, text=True, check=False)
    seconds, memory = done.stderr.split()[-2:]
    return done.returncode, float(seconds), float(memory)


def a_million(folder: Path, count: int = 1_000_000) -> dict[str, float]:
    """A log of a million records, written, verified, exported, and the export verified."""
    log = open_log(folder / "home", blank(folder))
    written = fill(log, count)
    began = time.perf_counter()
    done = export(log.book, log.log, folder, "jsonl", None, OWNER, datetime.now(UTC))
    exported = time.perf_counter() - began
    log.book.close()
    book, alone = verified(log.path), verified(done.path, "--pubkey", str(log.pub))
    assert book[0] == alone[0] == 0, (book, alone)
    return {"records": count, "written_s": written, "verify_s": book[1], "verify_mb": book[2], "export_s": exported,
            "verify_export_s": alone[1], "verify_export_mb": alone[2], "file_mb": log.path.stat().st_size / 2**20}


def producers(folder: Path, each: int = 5000) -> dict[str, int]:
    """Four threads append so many records each through one book; returns what the verifier says of them."""
    log = open_log(folder / "home", blank(folder))
    threads = [threading.Thread(target=log.add, args=(each,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.seal()
    log.book.close()
    raw = sqlite3.connect(log.path)
    count, last = raw.execute("SELECT count(*), max(seq) FROM audit").fetchone()
    raw.close()
    return {"records": count, "last": last, "status": verify(log.path, strict=True)[0]}


JOBS: dict[str, Callable[[Path], Mapping[str, float]]] = {
    "kills": lambda folder: kill_rounds(folder, 500), "bytes": every_byte, "million": a_million, "producers": producers,
}
BAD = ("lost", "broken", "missed", "status")


def main(words: Sequence[str]) -> int:
    """Run the chosen jobs; 1 when something was lost, broken or missed."""
    failed = False
    for name in words or JOBS:
        folder = Path(tempfile.mkdtemp(prefix="luthier-hammer-"))
        try:
            began = time.monotonic()
            facts = JOBS[name](folder)
            print(f"{name}: {facts}, {time.monotonic() - began:.0f} s", flush=True)
            failed |= any(facts.get(word) for word in BAD)
        finally:
            shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["append"]:
        append_for_ever(Path(sys.argv[2]))
    sys.exit(main(sys.argv[1:]))
