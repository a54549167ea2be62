"""A share as a real folder, so that executions write to it as a mount would: what Azure Files knows of each file beyond its bytes."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BAD_SIGNS = '\\:|<>*?"'


class Refused(Exception):
    """An answer of Azure Files that is none of success."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a listing."""

    name: str
    is_dir: bool
    size: int = 0
    etag: str = '"0x0"'
    modified_s: float = 0.0


@dataclass
class Store:
    """The folder of a share. Case is folded; metadata and written ranges are kept beside it."""

    root: Path
    quota_bytes: int | None = None
    """More than this in all is refused as a full share."""
    planted: dict[str, list[Listed]] = field(default_factory=dict)
    """More lines in the listing of a folder, whatever their names."""
    page: int = 500
    """Lines that one listing gives."""
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    ranges: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Written ranges of a file made over REST: begin and end, without the end."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def path(self, name: str) -> Path:
        """Where a name lies: the entry that differs only in case, if there is one. Raises Refused for what Azure refuses."""
        at = self.root
        for part in [each for each in name.split("/") if each]:
            if part in (".", "..") or any(each in BAD_SIGNS for each in part):
                raise Refused(400, "InvalidResourceName", "The specified resource name contains invalid characters.")
            at /= part.rstrip(".") or "_"
            if not at.exists() and at.parent.is_dir():
                at = next((each for each in at.parent.iterdir() if each.name.lower() == at.name.lower()), at)
        return at

    def key(self, path: Path) -> str:
        """The name by which metadata and ranges are kept."""
        return path.relative_to(self.root).as_posix().lower()

    def file(self, name: str) -> Path:
        """A file that is there."""
        path = self.path(name)
        if not path.parent.is_dir():
            raise Refused(404, "ParentNotFound", "The specified parent path does not exist.")
        if path.is_dir():
            raise Refused(409, "ResourceTypeMismatch", "The specified resource type does not match the type of the existing resource.")
        if not path.exists():
            raise Refused(404, "ResourceNotFound", "The specified resource does not exist.")
        return path

    def folder(self, name: str) -> Path:
        """A folder that is there."""
        path = self.path(name)
        if not path.is_dir():
            raise Refused(404, "ResourceNotFound", "The specified resource does not exist.")
        return path

    def make_folder(self, name: str) -> None:
        """One level."""
        path = self.path(name)
        if path.exists():
            raise Refused(409, "ResourceAlreadyExists", "The specified resource already exists.")
        if not path.parent.is_dir():
            raise Refused(404, "ParentNotFound", "The specified parent path does not exist.")
        path.mkdir()

    def drop_folder(self, name: str) -> None:
        """Only an empty one."""
        path = self.folder(name)
        if any(path.iterdir()):
            raise Refused(409, "DirectoryNotEmpty", "The specified directory is not empty.")
        path.rmdir()

    def create(self, name: str, size: int, metadata: dict[str, str]) -> Path:
        """A file of a size, empty of ranges, in place of what was there."""
        path = self.path(name)
        if not path.parent.is_dir():
            raise Refused(404, "ParentNotFound", "The specified parent path does not exist.")
        if path.is_dir():
            raise Refused(409, "ResourceTypeMismatch", "The specified resource type does not match the type of the existing resource.")
        with self.lock:
            old = path.stat().st_size if path.exists() else 0
            self._room(size - old)
            with path.open("wb") as file:
                file.truncate(size)
            self.metadata[self.key(path)], self.ranges[self.key(path)] = metadata, []
        return path

    def write(self, name: str, start: int, data: bytes) -> Path:
        """One range, at most 4 MiB, within the file."""
        path = self.file(name)
        if len(data) > 4 << 20:
            raise Refused(413, "RequestBodyTooLarge", "The request body is too large.")
        if start + len(data) > path.stat().st_size:
            raise Refused(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
        with self.lock:
            with path.open("r+b") as file:
                file.seek(start)
                file.write(data)
            self.ranges.setdefault(self.key(path), []).append((start, start + len(data)))
        return path

    def written(self, path: Path) -> list[tuple[int, int]]:
        """Ranges with data, adjacent ones merged; all of a file that a mount wrote."""
        with self.lock:
            found = sorted(self.ranges.get(self.key(path), [(0, path.stat().st_size)]))
        merged: list[tuple[int, int]] = []
        for begin, end in found:
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            elif end > begin:
                merged.append((begin, end))
        return merged

    def rename(self, source: str, target: str, overwrite: bool) -> Path:
        """At once, in place of the target where that is allowed."""
        old, new = self.file(source), self.path(target)
        if not new.parent.is_dir():
            raise Refused(404, "ParentNotFound", "The specified parent path does not exist.")
        if new.exists() and not overwrite:
            raise Refused(409, "ResourceAlreadyExists", "The specified resource already exists.")
        with self.lock:
            os.replace(old, new)
            for kept in (self.metadata, self.ranges):
                kept.pop(self.key(new), None)
                if self.key(old) in kept:
                    kept[self.key(new)] = kept.pop(self.key(old))  # type: ignore[assignment]
        return new

    def drop(self, name: str) -> None:
        """Delete a file."""
        path = self.file(name)
        path.unlink()
        self.metadata.pop(self.key(path), None)
        self.ranges.pop(self.key(path), None)

    def entries(self, name: str) -> Iterator[Listed]:
        """What is in a folder, and what was planted there."""
        folder = self.folder(name)
        for each in sorted(folder.iterdir()):
            try:
                state = each.stat()
            except OSError:
                continue  # renamed away while it was listed
            yield Listed(each.name, each.is_dir(), 0 if each.is_dir() else state.st_size, etag_of(state), state.st_mtime)
        yield from self.planted.get(self.key(folder) if folder != self.root else "", [])

    def _room(self, more: int) -> None:
        if self.quota_bytes is None or more <= 0:
            return
        used = sum(each.stat().st_size for each in self.root.rglob("*") if each.is_file())
        if used + more > self.quota_bytes:
            raise Refused(403, "ShareSizeLimitReached", "The share size limit has been reached.")


def etag_of(state: os.stat_result) -> str:
    """By the time of the last write and the size, as a mount changes it."""
    return f'"0x{state.st_mtime_ns:X}{state.st_size:X}"'
