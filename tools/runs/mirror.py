"""Copies what a run in the cloud reports from the share into its folder here, so that every page reads it as a local run's."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from policies.tool import ToolFailed
from tools.azure.files import Shrunk
from tools.azure.trouble import AzureTrouble
from tools.runs.watch import read_json

SMALL = ("started.json", "result.json", "exit.json", "metrics.json", "manifest.json")
"""Written as a whole: copied when they are another version."""
GROWING = ("events.jsonl", "log.txt")
"""Only grow: copied from the byte where the copy ends."""
ENDS = ("result.json", "exit.json")
LARGEST_SMALL, LARGEST_GROWING, PIECE = 16 << 20, 512 << 20, 1 << 20
"""Bytes."""


class EntryLike(Protocol):
    """A file as the share lists it."""

    @property
    def name(self) -> str: ...
    @property
    def is_dir(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...
    @property
    def modified(self) -> datetime | None: ...


class ShareLike(Protocol):
    """The part of `tools.azure.files.Share` that a mirror needs."""

    def entries(self, folder: str) -> "tuple[Any, ...]": ...
    def read(self, remote: str, offset: int, most: int = PIECE) -> bytes: ...
    def stat(self, remote: str) -> Any: ...
    def delete(self, remote: str) -> None: ...
    def put(self, local: Path, remote: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Marks:
    """What the share shows of an attempt."""

    started: bool = False
    result: Mapping[str, Any] | None = None
    exit: Mapping[str, Any] | None = None
    beat_at: datetime | None = None


class Mirror:
    """Thread-safe for different runs. Remembers versions, so that a file that did not change is not read again."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._growing_locks: dict[str, threading.Lock] = {}

    def tail(self, share: ShareLike, run_id: str, folder: Path) -> None:
        """Bring what was written since the last look; a file that no look has found yet, or that began anew, is left to the next one."""
        for name in GROWING:
            path = folder / name
            with self._growing_lock(run_id):
                if not path.exists():
                    continue
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW), "wb") as file, _unless_gone():
                    _append(share, f"runs/{run_id}/{name}", file, os.fstat(file.fileno()).st_size)

    def look(self, share: ShareLike, run_id: str, attempt: int, folder: Path, since: datetime | None, now: datetime) -> Marks:
        """Bring the copy up to date. `since`: what is older belongs to an attempt before; `now`: Azure's clock.

        The list comes first and the logs are read to their end, so that what was written before a mark is there when the mark is.
        """
        found = _listed(share, f"runs/{run_id}")
        fresh = {name for name, each in found.items() if since is None or each.modified is None or each.modified >= since}
        marks = {name: self._small(share, run_id, folder, name, found[name]) for name in SMALL if name in found}
        for name in GROWING:
            if name in found:
                with self._growing_lock(run_id):
                    self._growing(share, f"runs/{run_id}/{name}", folder / name, found[name].size)
        beat = found["heartbeat"].modified if "heartbeat" in fresh else None
        if "heartbeat" in fresh:
            self._beat(folder / "heartbeat", beat, now)
        ends = {name: value for name in ENDS if name in fresh and (value := marks.get(name)) is not None}
        end = ends.get("exit.json")
        return Marks(
            started="started.json" in fresh or bool(ends), result=ends.get("result.json"),
            exit=None if end is not None and end.get("attempt") not in {None, attempt} else end, beat_at=beat,
        )

    def _small(self, share: ShareLike, run_id: str, folder: Path, name: str, entry: EntryLike) -> Mapping[str, Any] | None:
        path, key = folder / name, (run_id, name)
        version = f"{entry.etag} {entry.size} {entry.modified}"
        with self._lock:
            known = self._versions.get(key) == version and path.exists()
        if not known and entry.size <= LARGEST_SMALL:
            whole = _whole(share, f"runs/{run_id}/{name}", entry.size)
            if not _is_object(whole):
                return None  # half written: the next look reads it again
            _place(path, whole)
            with self._lock:
                self._versions[key] = version
        return read_json(path)

    @staticmethod
    def _growing(share: ShareLike, remote: str, path: Path, size: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            at = os.fstat(file.fileno()).st_size
            if size < at:  # the list was late, or a tail has been quicker; else it began anew on the share
                now = share.stat(remote)
                if now is not None and now.size < at:
                    file.truncate(0)
                    at = 0
            _append(share, remote, file, at)

    def _growing_lock(self, run_id: str) -> threading.Lock:
        """A look and a tail write to the same copy."""
        with self._lock:
            return self._growing_locks.setdefault(run_id, threading.Lock())

    @staticmethod
    def _beat(path: Path, at: datetime | None, now: datetime) -> None:
        """The age of the heartbeat is that on Azure's clock, whatever this machine's says."""
        path.touch(mode=0o600)
        if at is not None:
            then = time.time() - max(0.0, (now - at).total_seconds())
            os.utime(path, (then, then))


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except AzureTrouble as trouble:
        if trouble.trouble != "not_found":
            raise


def _append(share: ShareLike, remote: str, file: BinaryIO, at: int) -> None:
    file.seek(at)
    with contextlib.suppress(Shrunk):  # begun anew in this moment: the next look begins anew, too
        while at < LARGEST_GROWING and (piece := share.read(remote, at, PIECE)):
            file.write(piece)
            at += len(piece)


def _listed(share: ShareLike, folder: str) -> dict[str, EntryLike]:
    """The files of a run's folder by name; where the run put a name there that no list may hold, only those that are wanted."""
    try:
        return {each.name: each for each in share.entries(folder) if not each.is_dir}
    except AzureTrouble:
        raise
    except ToolFailed:
        wanted = {name: share.stat(f"{folder}/{name}") for name in (*SMALL, *GROWING, "heartbeat")}
        return {name: found for name, found in wanted.items() if found is not None}


def lay_aside(share: ShareLike, run_id: str, folder: Path, *, keep_logs: bool = True) -> None:
    """Before an attempt: take away on the share what told of the end of the one before. What only grew there stays."""
    for name in (*ENDS, "heartbeat"):
        share.delete(f"runs/{run_id}/{name}")
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
    for name in GROWING if keep_logs else ():
        remote = f"runs/{run_id}/{name}"
        if (folder / name).is_file() and share.stat(remote) is None:
            share.put(folder / name, remote)


def _whole(share: ShareLike, remote: str, size: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    with contextlib.suppress(Shrunk):
        while at < min(size, LARGEST_SMALL) and (piece := share.read(remote, at, PIECE)):
            parts.append(piece)
            at += len(piece)
    return b"".join(parts)


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _place(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    os.replace(part, path)
