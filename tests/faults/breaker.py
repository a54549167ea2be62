"""What a wish breaks in a program that was forked for it: a passing of a point, a commit, a statement, a file operation of a run folder.

| wish | what happens |
| --- | --- |
| `POINT[:n[:raise]]` | the program dies, or has a full disk, at the n-th passing of that point |
| `commit.before:n`, `commit.after:n` | it dies beside the n-th commit of any SQLite file |
| `commit.fails:n`, `sql:n` | SQLite says at the n-th commit, or at the n-th writing statement, that the disk is full |
| `file:n` | the n-th open, mkdir, fsync or rename in a run folder finds no space |
"""

import errno
import io
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from sqlite3 import dbapi2
from typing import Any

from policies import fault

WRITING = ("INSERT", "UPDATE", "DELETE", "BEGIN IMMEDIATE", "SAVEPOINT", "RELEASE")


class Countdown:
    """Says at the n-th passing, and only then, that it is time; `told` hears of it."""

    def __init__(self, wish: str, told: Callable[[str], None]) -> None:
        self.kind, _, count = wish.partition(":")
        self._left, self._told = int(count or 1), told

    def passes(self, kind: str, what: str = "") -> bool:
        """Whether this is the passing that was wished for."""
        if kind != self.kind:
            return False
        self._left -= 1
        if self._left == 0:
            self._told(what or kind)
        return self._left == 0


def plant(wish: str, runs: Path, told: Callable[[str], None]) -> None:
    """Break in this process what `wish` says; `told` hears when an error was given instead of an end."""
    os.environ["LUTHIER_FAULT"] = wish  # the runner, which is another program, looks there
    if wish.partition(":")[0] in {"commit.before", "commit.after", "commit.fails", "sql"}:
        _plant_sql(Countdown(wish, told))
    elif wish.startswith("file:"):
        _plant_files(Countdown(wish, told), str(runs))
    elif wish:
        fault.point = fault.planted(wish)


def _plant_sql(count: Countdown) -> None:
    def full() -> sqlite3.OperationalError:
        return sqlite3.OperationalError("database or disk is full")

    def die(kind: str) -> None:
        if count.passes(kind):
            os.kill(os.getpid(), signal.SIGKILL)

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:  # pyright: ignore[reportIncompatibleMethodOverride]
            if sql.lstrip().upper().startswith(WRITING) and count.passes("sql", sql.split("(")[0][:60]):
                raise full()
            return super().execute(sql, *more)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().cursor(factory)

        def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return self.cursor().execute(sql, *more)

        def commit(self) -> None:
            if self.in_transaction:
                die("commit.before")
                if count.passes("commit.fails"):
                    raise full()
                super().commit()
                die("commit.after")

    ordinary = dbapi2.connect
    dbapi2.connect = lambda *args, **more: ordinary(*args, **{**more, "factory": Connection})


def _plant_files(count: Countdown, below: str) -> None:
    def where(place: Any) -> str:
        return os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.path.abspath(os.fspath(place))

    def breaking(name: str, real: Callable[..., Any], writes: Callable[..., bool] = lambda *_, **__: True) -> Callable[..., Any]:
        def call(place: Any, *args: Any, **more: Any) -> Any:
            if more.get("dir_fd") is None and writes(*args, **more):
                path = where(place)
                if path.startswith(below) and count.passes("file", f"{name} {path.removeprefix(below)}"):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            return real(place, *args, **more)

        return call

    def opens(flags: int = 0, *_: Any, **__: Any) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR))

    def opens_text(mode: str = "r", *_: Any, **__: Any) -> bool:
        return any(letter in mode for letter in "wax+")

    for name, writes in (("open", opens), ("mkdir", None), ("fsync", None), ("replace", None)):
        setattr(os, name, breaking(name, getattr(os, name), writes) if writes else breaking(name, getattr(os, name)))
    io.open = breaking("open", io.open, opens_text)


def jump(seconds: float) -> None:
    """From now on, in this process, the clock on the wall is that much ahead (or behind); the kernel's own count is not."""
    ordinary, plain = time.time, datetime  # this module's own name is changed on the way, too

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Shifted":
            return cls.fromtimestamp(time.time(), tz)

    time.time = lambda: ordinary() + seconds
    for module in list(sys.modules.values()):
        if module.__name__.split(".")[0] in {"policies", "tools", "agent", "tests"} and vars(module).get("datetime") is plain:
            setattr(module, "datetime", Shifted)  # noqa: B010 - a module's own name, which the type checker does not let us assign
