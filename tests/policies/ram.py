"""A book in memory that can be killed at any write, for tests that need thousands of steps."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, create_engine, select, text
from sqlalchemy.pool import StaticPool

from policies.book import Book, now_text
from policies.tables import meta, metadata, people

T = TypeVar("T")


class Killed(BaseException):
    """The program is gone; nothing of it may go on."""


class RamBook(Book):
    """The same surface as the book's, without a file and without a thread; one caller at a time."""

    def __init__(self) -> None:
        self.path = Path("ram")
        self._engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        self._conn = self._engine.connect()
        metadata.create_all(self._conn)
        self._conn.execute(meta.insert().values(key="home", value="ram"))
        self._conn.commit()
        self.version, self._seen_at, self._seen = 0, -1, dict[str, list[Any]]()
        self.writes_left: int | None = None
        """Writes until the program is killed; None: never."""
        self.keeps_last = False
        """Whether the write at which it is killed is on disk."""

    def table(self, table: Table) -> list[Any]:
        """All rows of a table in the order of their writing, read once for each commit."""
        if self._seen_at != self.version:
            self._seen, self._seen_at = {}, self.version
        if table.name not in self._seen:
            self._seen[table.name] = self.rows(select(table).order_by(text("rowid")))
        return self._seen[table.name]

    def revive(self) -> None:
        """Start the program again."""
        self.writes_left = None

    def person(self, name: str, role: str) -> None:
        """Add somebody."""
        row = {"id": name, "name": name, "role": role, "kind": "human", "active": 1, "created_at": now_text()}
        self._conn.execute(people.insert().values(**row))
        self._conn.commit()

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run and commit, or be killed before or after it."""
        dying = self.writes_left is not None and self.writes_left <= 0
        if self.writes_left is not None:
            self.writes_left -= 1
        if dying and (self.writes_left != -1 or not self.keeps_last):
            raise Killed
        try:
            value = fn(self._conn)
        except BaseException:
            self._conn.rollback()
            raise
        self._conn.commit()
        self.version += 1
        if dying:
            raise Killed
        return value

    async def awrite(self, fn: Callable[[Connection], T]) -> T:
        """The same."""
        return self.write(fn)

    def submit(self, fn: Callable[[Connection], T]) -> "Future[T]":
        """The same, as a future that has ended."""
        future: Future[T] = Future()
        future.set_result(self.write(fn))
        return future

    def read(self, fn: Callable[[Connection], T]) -> T:
        """Read what is committed."""
        try:
            return fn(self._conn)
        finally:
            self._conn.rollback()

    def rows(self, query: Any) -> list[Any]:
        """All rows of a query."""
        return self.read(lambda conn: list(conn.execute(query)))

    def close(self) -> None:
        """Forget everything."""
        self._conn.close()
        self._engine.dispose()
