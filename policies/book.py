"""The book: one SQLite file with everything Luthier must not forget, written by one hand at a time and read by many."""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.exc import DatabaseError

from policies.schema import SchemaNewer, migrate
from policies.tables import meta

T = TypeVar("T")

BUSY_MS, BATCH = 5000, 64
_TURN = "luthier_turn"
_SQL = (DatabaseError, sqlite3.DatabaseError)


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
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


class _Item(NamedTuple):
    fn: Callable[[Connection], Any]
    future: "Future[Any]"


class Book:
    """Opened once per process; `write` and `read` take functions of a SQLAlchemy connection."""

    def __init__(self, path: Path, writer: Engine, reader: Engine) -> None:
        self.path = path
        self._writer, self._reader = writer, reader
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closed, self._ahead = False, 0  # how many queued writes do not have the pen yet
        self._gate, self._pen, self._held_by = threading.Lock(), threading.Lock(), 0
        self._open: Connection | None = None  # goes with the pen: who holds it writes
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
            migrate(writer)
        except SchemaNewer as newer:
            writer.dispose()
            raise BookBroken(f"Open the book {path}", newer.because, newer.try_next) from newer
        except _SQL as error:
            writer.dispose()
            raise _translate(error, path) from error.__cause__
        return cls(path, writer, reader)

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction, or in a savepoint beside others' writes; return after the commit is on disk.

        What `fn` raises is raised here, and nothing of it is kept. Neighbours in the same commit are not touched.
        """
        self._check_outside()
        if self._ahead or not self._pen.acquire(blocking=False):
            return self.submit(fn).result()
        try:  # nobody writes: two changes of thread would cost as much as the commit
            if self._closed:
                raise _closed()
            return self._at_once(fn)
        finally:
            self._pen.release()

    async def awrite(self, fn: Callable[[Connection], T]) -> T:
        """As `write`, without blocking the event loop; a cancelled caller does not undo the write."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(fn)))

    def submit(self, fn: Callable[[Connection], T]) -> "Future[T]":
        """Queue a write; the future ends when its commit is on disk."""
        self._check_outside()
        future: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise _closed()
            self._ahead += 1
            self._queue.put(_Item(fn, future))
        return future

    def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a read connection that sees one consistent moment of the book."""
        try:
            with self._reader.connect() as conn:
                return fn(conn)
        except _SQL as error:
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
        with self._pen:
            self._let_go()
        self._writer.dispose()
        self._reader.dispose()

    def _loop(self) -> None:
        while True:
            item = self._queue.get()
            batch: list[_Item] = []
            while item is not None:
                batch.append(item)
                if len(batch) == BATCH or self._queue.empty():
                    break
                item = self._queue.get()
            with self._pen:
                with self._gate:
                    self._ahead -= len(batch)
                self._commit([one for one in batch if one.future.set_running_or_notify_cancel()])
            if item is None:
                return

    def _check_outside(self) -> None:
        if self._held_by == threading.get_ident():
            raise RuntimeError("A write inside a write would wait for itself: use the connection at hand.")

    def _at_once(self, fn: Callable[[Connection], T]) -> T:
        """One write in a transaction of its own; who calls holds the pen."""
        self._held_by = threading.get_ident()
        try:
            conn = self._begin()
            try:
                value = fn(conn)
            except BaseException as error:
                _end(conn, commit=False)
                failed = _translate(error, self.path)
            else:
                _end(conn, commit=True)
                return value
        except BaseException as error:  # the commit failed: nobody may believe in it
            self._let_go()
            raise _translate(error, self.path) from error
        finally:
            self._held_by = 0
        raise failed

    def _commit(self, batch: list[_Item]) -> None:
        """One transaction for all, and a savepoint for each; who calls holds the pen."""
        if not batch:
            return
        self._held_by = threading.get_ident()
        try:
            for end in self._written(batch):
                end()
        finally:
            self._held_by = 0

    def _written(self, batch: list[_Item]) -> list[Callable[[], None]]:
        """What ends each write, once it is on disk or cannot get there."""
        try:
            conn = self._begin()
            try:
                ends = [_attempt(conn, item, self.path) for item in batch]
            except BaseException:
                _end(conn, commit=False)
                raise
            _end(conn, commit=True)
            return ends
        except BaseException as error:
            self._let_go()
            known = _translate(error, self.path)
            return [partial(item.future.set_exception, known) for item in batch]

    def _begin(self) -> Connection:
        conn = self._open = self._open or self._writer.connect()
        driver(conn).execute("BEGIN IMMEDIATE")  # SQLAlchemy joins at the first statement that goes through it; many need none
        conn.info[_TURN] = object()
        return conn

    def _let_go(self) -> None:
        """Close the writer's connection; the next write opens another, whatever state this one was left in."""
        conn, self._open = self._open, None
        with suppress(Exception):
            if conn is not None:
                conn.invalidate()
                conn.close()


def _closed() -> BookBroken:
    return BookBroken("Write to the book", "it is closed.", "Open it again.")


def _attempt(conn: Connection, item: _Item, path: Path) -> Callable[[], None]:
    raw = driver(conn)
    raw.execute("SAVEPOINT item")  # a nested transaction of SQLAlchemy does the same in ten times the time
    try:
        value = item.fn(conn)
    except BaseException as error:
        raw.execute("ROLLBACK TO item")
        raw.execute("RELEASE item")
        return partial(item.future.set_exception, _translate(error, path))
    raw.execute("RELEASE item")
    return partial(item.future.set_result, value)


def _end(conn: Connection, *, commit: bool) -> None:
    whole = conn if conn.in_transaction() else driver(conn)
    (whole.commit if commit else whole.rollback)()


def turn_of(conn: Connection) -> object:
    """What tells one transaction of the book's writer from another."""
    return conn.info.get(_TURN)


def driver(conn: Connection) -> Any:
    """The driver's own connection: for the few statements that are sent so often that their wrapping would be felt."""
    return conn.connection.driver_connection


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
        if not driver(conn).in_transaction:
            driver(conn).execute(begin)

    return engine


def _translate(error: BaseException, path: Path) -> BaseException:
    """What SQLite said, as BookBusy or BookBroken; every other error as it is."""
    if not isinstance(error, _SQL):
        return error
    words = str(error.orig if isinstance(error, DatabaseError) else error)
    if "locked" in words or "busy" in words:
        return BookBusy(f"The book {path} is held by another program; nothing was written. Close the other program and try again.")
    for sign in ("malformed", "not a database", "corrupt", "readonly", "disk I/O", "unable to open", "is full"):
        if sign in words:
            with suppress(OSError):
                words = f"{words}; {path.stat().st_size} bytes"
            return BookBroken(
                f"Use the book {path}", f"SQLite says: {words}.",
                "Stop Luthier; check disk space and permissions. `python -m ui audit fsck` says what can be read. Restore a backup.",
            )
    return error
