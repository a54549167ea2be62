"""What of a damaged book can still be read: asked of SQLite itself, read only, with nothing of ours between."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

TABLES = {
    "audit": "SELECT * FROM audit", "approvals": "SELECT * FROM approvals", "ledger": "SELECT * FROM ledger",
    "runs": "SELECT * FROM runs", "people": "SELECT * FROM people",
}
MOST = 5
"""Complaints of SQLite that are passed on."""


def examine_wreck(book: Path) -> list[str]:
    """Sentences about a book that cannot be opened, and what to do. Never raises for what it finds there."""
    try:
        with closing(sqlite3.connect(f"{book.resolve().as_uri()}?mode=ro", uri=True)) as conn:
            return [*_complaints(conn), *(_table(conn, name) for name in TABLES), *_remedy(book)]
    except (sqlite3.Error, OSError) as error:
        return [f"The file cannot be opened at all: {error}.", *_remedy(book)]


def _complaints(conn: sqlite3.Connection) -> Iterator[str]:
    try:
        for (said,) in conn.execute(f"PRAGMA integrity_check({MOST})"):
            yield "SQLite finds nothing wrong with the file." if said == "ok" else f"SQLite: {' '.join(str(said).split())[:200]}."
    except sqlite3.Error as error:
        yield f"SQLite cannot check it: {error}."


def _table(conn: sqlite3.Connection, name: str) -> str:
    """How far one table can be read, row by row."""
    count = 0
    try:
        for _ in conn.execute(TABLES[name]):
            count += 1
    except sqlite3.Error as error:
        return f"{name}: {count} rows can be read, then: {error}."
    return f"{name}: all of its {count} rows can be read."


def _remedy(book: Path) -> Iterator[str]:
    yield f"Keep a copy of {book} as it is, with the files {book.name}-wal and {book.name}-shm beside it."
    yield "Then put a backup in its place. `python -m ui audit verify` says whether a book's record is whole."
