"""Turns a dataset reference into an open file: a registered id, or a relative path below an allowed folder; nothing else."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import select

from policies.book import Book
from policies.tables import datasets
from policies.tool import ToolFailed
from tools.places import Places

REGISTERED = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}@[0-9a-f]{8}")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127}")
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO that took the file's place after the check would wait for a writer for ever.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
REMEDY = (
    "Give a registered id such as helpdesk@3f2a91c0, or a relative path below an allowed folder such as samples/helpdesk.jsonl. "
    "For a file elsewhere use add_dataset, or upload it in the chat."
)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One open dataset. Read it by `fd`: `path` is for names and messages."""

    path: Path
    size: int
    ref: str
    """As the person wrote it."""
    fd: int
    registered_digest: str = ""
    """What the book says its sha256 is; empty for a file that is not registered."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.fd)


class Refs:
    """Opens references."""

    def __init__(self, places: Places, book: Book) -> None:
        self._places, self._book = places, book

    def open(self, ref: str) -> DataFile:
        """The file of a reference. Raises ToolFailed for whatever is not one; close it or use `with`."""
        if REGISTERED.fullmatch(ref):
            return self._registered(ref)
        parts = parts_of(ref)
        found: list[tuple[Path, tuple[str, ...]]] = []
        for folder in self._places.data:
            for below in (parts, parts[1:] if parts[0] == folder.name else ()):
                if below and os.path.lexists(folder.joinpath(*below)):
                    found.append((folder, below))
                    break
        if not found:
            names = " or ".join(f"{folder.name}/" for folder in self._places.data)
            raise ToolFailed(f"No dataset {ref}", f"there is no such file below {names}.", REMEDY, kind="missing")
        if len(found) > 1:
            choices = " or ".join("/".join((folder.name, *below)) for folder, below in found)
            raise ToolFailed(f"{ref} names {len(found)} files", "they lie in different folders.", f"Write {choices}.", kind="ambiguous")
        folder, below = found[0]
        fd, size = open_beneath(folder, below, ref)
        return DataFile(folder.joinpath(*below), size, ref, fd)

    def digest(self, ref: str) -> str:
        """sha256 of a reference's file, in hex."""
        with self.open(ref) as file:
            return digest_of(file.fd)

    def _registered(self, ref: str) -> DataFile:
        row = self._book.read(lambda c: c.execute(select(datasets.c.path, datasets.c.digest).where(datasets.c.id == ref)).first())
        if row is None:
            raise ToolFailed(f"No dataset {ref}", "nothing is registered under this id.", REMEDY, kind="missing")
        path = Path(row.path)
        fd, size = open_beneath(self._places.uploads, (path.name,), ref)
        return DataFile(self._places.uploads / path.name, size, ref, fd, row.digest)


def parts_of(ref: str) -> tuple[str, ...]:
    """The components of a relative path. Raises ToolFailed with the reason for anything else."""
    if because := why_refused(ref):
        raise ToolFailed("This is not a dataset reference", because, REMEDY, kind="refused")
    return tuple(ref.split("/"))


def why_refused(ref: str) -> str:
    """A sentence that says why a text is no relative path; empty when it is one. The text itself is not repeated."""
    if not ref:
        return "it is empty."
    if not ref.isprintable():
        return "it holds a control or invisible character."
    if ref.startswith("/"):
        return "it is an absolute path."
    if ref.startswith("~"):
        return "it starts at a home directory (~)."
    if "\\" in ref:
        return "it holds a backslash, as network paths of Windows do."
    if "%" in ref:
        return "it holds a percent sign; references are not URL-encoded."
    if ":" in ref:
        return "it holds a colon; URLs and drive letters are not references."
    if "@" in ref and "." not in ref and "/" not in ref:
        return "it is no registered id; those are a name, an at sign and 8 hex digits."
    for part in ref.split("/"):
        if part == "..":
            return "it leaves its folder (..)."
        if DEVICE.fullmatch(part):
            return "it holds a device name of Windows."
        if not PART.fullmatch(part):
            return "names hold only letters, digits and . _ - + @, and do not start with a dot."
    return ""


def open_beneath(folder: Path, parts: tuple[str, ...], ref: str, owners: frozenset[int] | None = None) -> tuple[int, int]:
    """Open a regular file beneath a folder without following any link; its descriptor and size in bytes.

    The file must belong to one of `owners` (user ids); by default to this process's user or to the folder's owner.
    """
    with _descending(folder, parts[:-1], ref) as directory:
        try:
            owners = owners or frozenset({os.getuid(), os.stat(folder).st_uid})
            before = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
            check(before, ref, owners)
            fd = os.open(parts[-1], FILE, dir_fd=directory)
        except OSError as error:
            raise unreadable(ref, error) from error
    try:
        return fd, check(os.fstat(fd), ref, owners).st_size
    except BaseException:
        os.close(fd)
        raise


@contextmanager
def _descending(folder: Path, parts: tuple[str, ...], ref: str) -> Iterator[int]:
    try:
        directory = os.open(folder, DIRECTORY)
    except OSError as error:
        raise unreadable(ref, error) from error
    try:
        for part in parts:
            try:
                below = os.open(part, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            except OSError as error:
                raise unreadable(ref, error) from error
            os.close(directory)
            directory = below
        yield directory
    finally:
        os.close(directory)


def check(found: os.stat_result, ref: str, owners: frozenset[int]) -> os.stat_result:
    """The same, when it is a plain file of one of `owners` with one name. Raises ToolFailed otherwise."""
    because = ""
    if stat.S_ISLNK(found.st_mode):
        because = "it is a symbolic link."
    elif stat.S_ISDIR(found.st_mode):
        because = "it is a folder."
    elif not stat.S_ISREG(found.st_mode):
        because = "it is no regular file (a pipe, a socket or a device)."
    elif found.st_nlink != 1:
        because = f"it has {found.st_nlink} names (hard links), so it may be another file in disguise."
    elif found.st_uid not in owners:
        because = "it belongs to another user."
    if because:
        raise ToolFailed(f"{ref} cannot be used", because, "Give a plain file of your own: copy it, then name the copy.", kind="refused")
    return found


def unreadable(ref: str, error: OSError) -> ToolFailed:
    """What to tell when the system will not open it."""
    because = {
        "FileNotFoundError": "there is no such file.", "PermissionError": "it may not be read by this user.",
        "NotADirectoryError": "a part of its path is a link or no folder.",
    }.get(type(error).__name__, "a part of its path is a link." if error.errno == errno.ELOOP else "the system cannot open it.")
    return ToolFailed(f"{ref} cannot be opened", because, REMEDY, kind="missing" if isinstance(error, FileNotFoundError) else "refused")


def digest_of(fd: int) -> str:
    """sha256 of an open file, in hex; does not move the file's position."""
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(fd, 1 << 20, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()
