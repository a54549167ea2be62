"""The book: one writer, commits that are on disk, neighbours that do not disturb each other, clear words when it is broken."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import IntegrityError

from policies.book import Book, BookBroken, BookBusy, now_text
from policies.schema import MIGRATIONS, revisions
from policies.tables import audit, meta, metadata
from tests.faults.proof import proves
from tests.policies.home import Home


def put(key: str) -> Any:
    """A write of one row."""
    return lambda conn: conn.execute(meta.insert().values(key=key, value="v"))


def keys(conn: Connection) -> set[str]:
    """What was written."""
    return set(conn.execute(select(meta.c.key).where(meta.c.key != "home")).scalars())


def test_a_new_book_is_private_durable_and_holds_every_table(tmp_path: Path) -> None:
    book = Book.open(tmp_path / "home" / "book.sqlite")
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600 and stat.S_IMODE(book.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((book.path.parent / "book.sqlite-wal").stat().st_mode) == 0o600
    pragmas = {name: book.write(lambda conn, name=name: conn.exec_driver_sql(f"PRAGMA {name}").scalar())
               for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert book.read(lambda conn: compare_metadata(MigrationContext.configure(conn), metadata)) == []
    book.close()


def test_the_newest_migration_is_the_schema_that_the_program_names() -> None:
    assert revisions() == sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("0*.py"))


def test_the_records_of_an_older_book_are_kept_byte_for_byte_and_stay_append_only(tmp_path: Path) -> None:
    path, rows = tmp_path / "book.sqlite", [(seq, f"{seq:064x}", "auth", None, bytes(range(seq, seq + 99))) for seq in (1, 2, 3)]
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as conn, conn.begin():
        config.attributes["connection"] = conn
        command.upgrade(config, "0002")
    with sqlite3.connect(path) as raw:
        raw.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?)", rows)
    raw.close()
    engine.dispose()
    book = Book.open(path)
    assert [tuple(row) for row in book.read(lambda conn: conn.execute(select(audit).order_by(audit.c.seq)).all())] == rows
    with pytest.raises(IntegrityError, match="append-only"):
        book.write(lambda conn: conn.execute(audit.delete()))
    book.close()


def test_a_book_keeps_its_name_and_its_rows(tmp_path: Path) -> None:
    first = Book.open(tmp_path / "book.sqlite")
    name = first.home_id()
    first.write(put("a"))
    first.close()
    first.close()
    second = Book.open(tmp_path / "book.sqlite")
    assert second.home_id() == name and second.read(keys) == {"a"}
    second.close()


def test_a_write_that_raises_leaves_nothing_and_disturbs_no_neighbour(home: Home) -> None:
    gate = threading.Event()
    held = home.book.submit(lambda conn: gate.wait(30))  # everything below lands in one commit

    def half(conn: Connection) -> None:
        put("half")(conn)
        raise KeyError("no")

    futures = [home.book.submit(put("a")), home.book.submit(half), home.book.submit(put("a")), home.book.submit(put("b"))]
    gate.set()
    assert held.result() and futures[0].result() and futures[3].result()
    with pytest.raises(KeyError):
        futures[1].result()
    with pytest.raises(IntegrityError):
        futures[2].result()
    assert home.book.read(keys) == {"a", "b"}


def test_many_threads_write_and_every_write_that_returned_is_there(home: Home) -> None:
    def work(number: int) -> None:
        for index in range(25):
            home.book.write(put(f"{number}-{index}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(home.book.read(keys)) == 100


async def test_a_cancelled_waiter_does_not_undo_its_write(home: Home) -> None:
    gate = threading.Event()
    home.book.submit(lambda conn: gate.wait(30))
    writing = asyncio.create_task(home.book.awrite(put("a")))
    await asyncio.sleep(0)
    writing.cancel()
    gate.set()
    await home.book.awrite(put("b"))
    assert home.book.read(keys) == {"a", "b"}


def test_a_reader_sees_one_moment_and_cannot_write(home: Home) -> None:
    def look(conn: Connection) -> tuple[int, int]:
        count = select(func.count()).select_from(meta)
        before = conn.execute(count).scalar_one()
        home.book.write(put("meanwhile"))
        return before, conn.execute(count).scalar_one()

    assert len(set(home.book.read(look))) == 1
    with pytest.raises(BookBroken, match="readonly"):
        home.book.read(put("x"))


def test_a_write_inside_a_write_is_an_error_not_a_standstill(home: Home) -> None:
    with pytest.raises(RuntimeError, match="wait for itself"):
        home.book.write(lambda conn: home.book.write(put("x")))


def test_a_write_by_whoever_hears_of_a_commit_at_once_is_an_error_too(home: Home) -> None:
    gate, said, told = threading.Event(), list[str](), threading.Event()

    def on_commit(_done: object) -> None:
        try:
            home.book.write(put("x"))
        except RuntimeError as error:
            said.append(str(error))
        told.set()

    home.book.submit(lambda conn: gate.wait(30)).add_done_callback(on_commit)
    gate.set()
    assert told.wait(30) and "wait for itself" in said[0]


def test_writes_come_in_the_order_in_which_they_were_asked_for(home: Home) -> None:
    order = list[int]()
    for number in range(0, 200, 2):
        home.book.submit(lambda conn, number=number: order.append(number))
        home.book.write(lambda conn, number=number: order.append(number + 1))
    assert order == list(range(200))


@pytest.mark.parametrize("busy", [False, True], ids=["nobody else writes", "another write is at work"])
def test_an_interrupted_write_leaves_nothing_and_the_next_one_works(home: Home, busy: bool) -> None:
    gate = threading.Event()
    if busy:
        home.book.submit(lambda conn: gate.wait(30))

    def interrupted(conn: Connection) -> None:
        put("half")(conn)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(home.book.write, interrupted)
        gate.set()
        with pytest.raises(KeyboardInterrupt):
            writing.result()
    home.book.write(put("a"))
    assert home.book.read(keys) == {"a"}


def test_after_the_end_nothing_is_accepted(home: Home) -> None:
    home.book.close()
    with pytest.raises(BookBroken, match="closed"):
        home.book.write(put("x"))


def test_a_book_of_a_newer_program_is_refused(tmp_path: Path, blank_book: Path) -> None:
    path = tmp_path / "book.sqlite"
    shutil.copyfile(blank_book, path)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(BookBroken, match="9999 is newer") as failed:
        Book.open(path)
    assert "newer Luthier" in failed.value.try_next and path.read_bytes()[:16] == before[:16]


@pytest.mark.parametrize("content", [b"this is no book at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000], ids=["text", "torn"])
def test_a_file_that_is_no_book_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "book.sqlite"
    path.write_bytes(content)
    with pytest.raises(BookBroken, match="SQLite says"):
        Book.open(path)
    assert path.read_bytes() == content


def test_a_place_where_no_book_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "book.sqlite").mkdir()
    with pytest.raises(BookBroken, match="cannot be read and written"):
        Book.open(tmp_path / "book.sqlite")


@proves("F28", "another program holds the SQLite file",
        "it is waited for, then busy is said and nothing is written")
def test_a_book_that_another_program_holds_is_busy_and_unchanged(home: Home) -> None:
    home.book.write(lambda conn: conn.exec_driver_sql("PRAGMA busy_timeout=50"))
    other = sqlite3.connect(home.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BookBusy, match="another program"):
        home.book.write(put("a"))
    other.execute("ROLLBACK")
    other.close()
    assert home.book.read(keys) == set()
    home.book.write(put("b"))


KILLED = """
import sys
from pathlib import Path
from policies.book import Book
from policies.tables import meta
book = Book.open(Path(sys.argv[1]))
for number in range(10_000):
    book.write(lambda conn: conn.execute(meta.insert().values(key=f"k{number}", value="v")))
    print(number, flush=True)
"""


def test_killed_while_writing_nothing_that_was_acknowledged_is_lost(tmp_path: Path, blank_book: Path) -> None:
    path = tmp_path / "book.sqlite"
    shutil.copyfile(blank_book, path)
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True,
                             cwd=MIGRATIONS.parent.parent, env={**os.environ, "PYTHONPATH": "."})
    assert child.stdout is not None
    last = -1
    for line in child.stdout:
        last = int(line)
        if last == 20:
            child.kill()
    child.wait()
    book = Book.open(path)
    assert {f"k{number}" for number in range(last + 1)} <= book.read(keys)
    assert book.read(lambda conn: conn.exec_driver_sql("PRAGMA integrity_check").scalar()) == "ok"
    book.close()


def test_a_moment_is_written_in_utc_with_microseconds_and_sorts_as_text() -> None:
    from datetime import UTC, datetime, timedelta, timezone

    noon = datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=2)))
    assert now_text(noon) == "2026-11-24T10:00:00.000000Z" < now_text(datetime(2026, 11, 24, 10, 0, 0, 1, tzinfo=UTC))
