"""Records that stand for themselves, of many callers at once: one commit takes them all, and each caller waits for the disk alone."""

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from sqlalchemy import Connection

from policies.audit.log import AuditLog
from policies.audit.record import Record
from policies.book import Book, driver

MOST = 64
"""Records in one group: more would make the first wait too long."""

Numbers = list[int | ValueError]
"""For each record of a group its number, or why it is none."""


@dataclass(slots=True)
class _Group:
    records: list[Record] = field(default_factory=list)
    future: "Future[Numbers]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record on its way to the disk."""

    _future: "Future[Numbers]"
    _place: int

    def result(self) -> int:
        """The record's number, when its commit is on disk. Raises what kept it away; ValueError for a record that cannot be kept."""
        return _number(self._future.result()[self._place])

    async def done(self) -> int:
        """As `result`, without blocking the event loop; a cancelled caller does not undo the record."""
        return _number((await asyncio.shield(asyncio.wrap_future(self._future)))[self._place])


class Journal:
    """Collects records while the book is busy with the group before. Thread-safe."""

    def __init__(self, book: Book, log: AuditLog) -> None:
        self._book, self._log = book, log
        self._lock = threading.Lock()
        self._open: _Group | None = None

    def add(self, record: Record) -> Entry:
        """Have a record written. Raises BookBroken when the book is closed."""
        with self._lock:
            group = self._open
            if group is None or len(group.records) >= MOST:
                group = _Group()
                group.future = self._book.submit(lambda conn, group=group: self._write(conn, group))
                self._open = group
            group.records.append(record)
            return Entry(group.future, len(group.records) - 1)

    def _write(self, conn: Connection, group: _Group) -> Numbers:
        with self._lock:  # from here on the group is whole
            if self._open is group:
                self._open = None
        raw = driver(conn)
        raw.execute("SAVEPOINT journal")
        try:
            return [*self._log.extend(conn, group.records)]
        except ValueError:  # one of them is no record: each for itself, so that no neighbour suffers
            raw.execute("ROLLBACK TO journal")
            return [self._alone(conn, record) for record in group.records]
        finally:
            raw.execute("RELEASE journal")

    def _alone(self, conn: Connection, record: Record) -> int | ValueError:
        raw = driver(conn)
        raw.execute("SAVEPOINT one")
        try:
            return self._log.append(conn, record)
        except ValueError as error:
            raw.execute("ROLLBACK TO one")
            return error
        finally:
            raw.execute("RELEASE one")


def _number(found: int | ValueError) -> int:
    if isinstance(found, ValueError):
        raise found
    return found
