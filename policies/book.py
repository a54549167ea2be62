"""The book: one SQLite file with everything Luthier must not forget, written by one thread and read by many."""

import asyncio
import os
import queue
import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import DatabaseError, OperationalError

from policies.tables import meta

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MS = 5000
BATCH = 64


class BookBroken(Exception):
    """The book cannot be used: what was wanted, what was found, what to do."""

    def __init__(self, what: str, because: str, try_next: str) -> None:
        super().__init__(f"{what}: {because} {try_next}")
        self.what, self.because, self.try_next = what, because, try_next


class BookBusy(Exception):
    """Another program held the book for longer than five seconds; nothing was written."""


def now_text(moment: datetime | None = None) -> str:
    """A moment (default: now) as ISO 8601 UTC with microseconds, the form every `*_at` column holds."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class _Item:
    fn: Callable[[Connection], Any]
    future: "Future[Any]"


class Book:
    """Opened once per process; `write` and `read` take functions of a SQLAlchemy connection."""

    def __init__(self, path: Path, writer: Engine, reader: Engine) -> None:
        self.path = path
        self._writer, self._reader = writer, reader
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="book-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path) -> "Book":
        """Open or create the book, bring its schema up to date. Raises BookBroken with the reason and the remedy."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            os.chmod(path, 0o600)
        except OSError as error:
            raise BookBroken(
                f"Open the book {path}", f"it cannot be read and written ({error.strerror}).",
                "Check the folder's owner, its permissions and the free space.",
            ) from error
        writer, reader = _engine(path, "BEGIN IMMEDIATE", writable=True), _engine(path, "BEGIN", writable=False)
        try:
            _migrate(writer, path)
        except DatabaseError as error:
            writer.dispose()
            raise _translate(error, path) from error
        except BookBroken:
            writer.dispose()
            raise
        return cls(path, writer, reader)

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in the one writer thread inside its own savepoint; return after the commit is on disk.

        What `fn` raises is raised here, and nothing of it is kept. Neighbours in the same commit are not touched.
        """
        return self.submit(fn).result()

    async def awrite(self, fn: Callable[[Connection], T]) -> T:
        """As `write`, without blocking the event loop; a cancelled caller does not undo the write."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(fn)))

    def submit(self, fn: Callable[[Connection], T]) -> "Future[T]":
        """Queue a write; the future ends when its commit is on disk."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("A write inside a write would wait for itself: use the connection at hand.")
        future: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise BookBroken("Write to the book", "it is closed.", "Open it again.")
            self._queue.put(_Item(fn, future))
        return future

    def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a read connection that sees one consistent moment of the book."""
        try:
            with self._reader.connect() as conn:
                return fn(conn)
        except DatabaseError as error:
            raise _translate(error, self.path) from error

    def home_id(self) -> str:
        """The random name this book was born with; it is the origin of the audit log."""
        return self.read(lambda conn: conn.execute(select(meta.c.value).where(meta.c.key == "home")).scalar_one())

    def close(self) -> None:
        """Finish what is queued, then let go of the file. Closing twice is harmless."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._writer.dispose()
        self._reader.dispose()

    def _loop(self) -> None:
        while True:
            item = self._queue.get()
            batch: list[_Item] = []
            while item is not None:
                batch.append(item)
                if len(batch) == BATCH:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            self._commit([one for one in batch if one.future.set_running_or_notify_cancel()])
            if item is None:
                return

    def _commit(self, batch: list[_Item]) -> None:
        if not batch:
            return
        ends: list[Callable[[], None]] = []
        try:
            with self._writer.connect() as conn, conn.begin():
                for item in batch:
                    ends.append(_attempt(conn, item, self.path))
        except BaseException as error:  # the commit failed: nobody may believe in it
            known = _translate(error, self.path) if isinstance(error, DatabaseError) else error
            for item in batch:
                item.future.set_exception(known)
            return
        for end in ends:
            end()


def _attempt(conn: Connection, item: _Item, path: Path) -> Callable[[], None]:
    conn.exec_driver_sql("SAVEPOINT item")  # a nested transaction of SQLAlchemy does the same in four times the time
    try:
        value = item.fn(conn)
    except BaseException as error:
        conn.exec_driver_sql("ROLLBACK TO item")
        conn.exec_driver_sql("RELEASE item")
        failed = _translate(error, path) if isinstance(error, DatabaseError) else error
        return lambda: item.future.set_exception(failed)
    conn.exec_driver_sql("RELEASE item")
    return lambda: item.future.set_result(value)


def _engine(path: Path, begin: str, *, writable: bool) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(raw: Any, _record: Any) -> None:
        # sqlite3 would open transactions by itself, too late for BEGIN IMMEDIATE and savepoints.
        raw.isolation_level = None
        cursor = raw.cursor()
        for pragma in (f"busy_timeout={BUSY_MS}", "foreign_keys=ON", "trusted_schema=OFF"):
            cursor.execute(f"PRAGMA {pragma}")
        if writable:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
        else:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql(begin)

    return engine


def revisions() -> list[str]:
    """The schema revisions this program knows, oldest first, by the names of their files."""
    found = (re.match(r"(\d{4})_\w+\.py$", one.name) for one in (MIGRATIONS / "versions").iterdir())
    return sorted(one.group(1) for one in found if one)


def _migrate(engine: Engine, path: Path) -> None:
    known = revisions()
    with engine.connect() as conn, conn.begin():
        current = None
        if inspect(conn).has_table("alembic_version"):
            current = conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        if current == known[-1]:
            return
        if current is not None and current not in known:
            raise BookBroken(
                f"Open the book {path}", f"its schema {current} is newer than this program knows ({known[-1]}).",
                "Use the newer Luthier that wrote it, or another LUTHIER_HOME.",
            )
        # Alembic is imported only when there is something to do: an up-to-date start stays quick and small.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
        conn.execute(meta.insert().prefix_with("OR IGNORE").values(key="home", value=uuid.uuid4().hex))


def _translate(error: DatabaseError, path: Path) -> Exception:
    words = str(error.orig)
    if isinstance(error, OperationalError) and ("locked" in words or "busy" in words):
        return BookBusy(f"The book {path} is held by another program; nothing was written. Close the other program and try again.")
    for sign in ("malformed", "not a database", "corrupt", "readonly", "disk I/O", "unable to open", "is full"):
        if sign in words:
            with suppress(OSError):
                words = f"{words}; {path.stat().st_size} bytes"
            return BookBroken(
                f"Use the book {path}", f"SQLite says: {words}.",
                "Stop Luthier, keep a copy of the file, check disk space and permissions, then restore a backup.",
            )
    return error
