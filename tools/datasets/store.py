"""Keeps datasets in the home by their digest and registers them in the book."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Row as BookRow
from sqlalchemy import insert, select

from policies.book import Book, now_text
from policies.tables import datasets
from policies.tool import ToolFailed
from tools.datasets.read import KNOWN, MAX_FILE_BYTES, SUFFIXES, container_of
from tools.datasets.refs import DataFile
from tools.datasets.survey import survey
from tools.places import Places

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
SPARE_BYTES = 64 << 20
"""Space that stays free on the disk after a copy."""
UPLOAD_BYTES = 10_000_000
"""The largest upload through a chat."""
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """One registered dataset."""

    id: str
    """`name@digest8`: the reference."""
    rows: int
    digest: str
    bytes: int
    format: str
    path: Path


class DataStore:
    """Copies in, never out."""

    def __init__(self, places: Places, book: Book) -> None:
        self._places, self._book = places, book

    def keep(self, name: str, source: DataFile, owner: str, call_id: str) -> Stored:
        """Copy an open file and register it; the same file under the same name is kept once.

        Nothing stays behind when the file has an error or the disk is full: raises ToolFailed with what to do.
        """
        if stored := self.kept_by(call_id):
            return stored
        container_of(source)
        folder, suffix = self._places.uploads, source.path.suffix.lower()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (free := shutil.disk_usage(folder).free) < source.size + SPARE_BYTES:
            raise ToolFailed(
                "The dataset was not copied", f"it has {source.size} bytes and only {free} are free on the disk.",
                "Free some space.", kind="disk",
            )
        part = folder / f"{name}.{secrets.token_hex(8)}.part"
        try:
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                digest, size = _copy(source.fd, fd)
                found = survey(DataFile(source.path, size, source.ref, fd))
                os.fsync(fd)
            finally:
                os.close(fd)
            if error := found.findings.first_error:
                raise ToolFailed("The dataset was not added", error.message, error.remedy, kind="data")
            ident = f"{name}@{digest[:8]}"
            path = folder / f"{ident}{suffix}"
            part.replace(path)
            _sync(folder)
        except OSError as error:
            because = f"{error.strerror or 'the system refused'}."
            raise ToolFailed("The dataset was not copied", because, "Check the disk.", kind="disk") from error
        finally:
            part.unlink(missing_ok=True)
        stored = Stored(ident, found.rows, digest, size, found.shape.format, path)
        return self._register(stored, name, owner, call_id)

    def keep_bytes(self, file_name: str, data: bytes, owner: str, call_id: str) -> Stored:
        """Keep an upload; `file_name` gives suffix and name, everything odd in it is dropped. Raises ToolFailed."""
        suffix = Path(file_name).suffix.lower()
        if suffix not in SUFFIXES:
            raise ToolFailed("The upload was not kept", "its name does not end in a known format.", KNOWN, kind="format")
        if len(data) > UPLOAD_BYTES:
            raise ToolFailed(
                "The upload was not kept", f"it has {len(data)} bytes, more than the limit of {UPLOAD_BYTES}.",
                "Put the file on this machine and use add_dataset.", kind="too_large",
            )
        name = name_from(file_name)
        with tempfile.TemporaryFile() as stream:
            stream.write(data)
            stream.flush()
            return self.keep(name, DataFile(Path(f"{name}{suffix}"), len(data), name, stream.fileno()), owner, call_id)

    def kept_by(self, call_id: str) -> Stored | None:
        """What a call has registered, if it has."""
        row = self._book.read(lambda c: c.execute(select(datasets).where(datasets.c.call_id == call_id)).first())
        return None if row is None else _stored(row)

    def all(self) -> tuple[Stored, ...]:
        """Every registered dataset, the latest first."""
        rows = self._book.read(lambda c: c.execute(select(datasets).order_by(datasets.c.created_at.desc())).all())
        return tuple(_stored(row) for row in rows)

    def _register(self, stored: Stored, name: str, owner: str, call_id: str) -> Stored:
        row = {
            "id": stored.id, "name": name, "digest": stored.digest, "rows": stored.rows, "bytes": stored.bytes, "format": stored.format,
            "path": str(stored.path), "owner": owner, "created_at": now_text(), "call_id": call_id,
        }
        known = select(datasets).where(datasets.c.id == stored.id)
        kept = self._book.write(lambda c: c.execute(known).first() or (c.execute(insert(datasets).values(row)), c.execute(known).one())[1])
        if kept.digest != stored.digest:
            raise ToolFailed("The dataset was not added", f"{stored.id} already names other data.", "Choose another name.", kind="refused")
        return _stored(kept)


def name_from(file_name: str) -> str:
    """A dataset name made from a file name: lower case letters, digits, hyphens and underscores."""
    stem = re.sub(r"[^a-z0-9_]+", "-", Path(file_name).stem.lower()).strip("-_")[:40].strip("-_")
    return stem or "dataset"


def _stored(row: BookRow) -> Stored:
    return Stored(row.id, row.rows, row.digest, row.bytes, row.format, Path(row.path))


def _copy(source: int, target: int) -> tuple[str, int]:
    """sha256 and size of what was copied."""
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(source, CHUNK, at):
        at += len(chunk)
        if at > MAX_FILE_BYTES:
            raise ToolFailed("The dataset was not copied", "it grew past the limit while it was read.", "Try again when it is complete.")
        digest.update(chunk)
        while chunk:
            chunk = chunk[os.write(target, chunk):]
    return digest.hexdigest(), at


def _sync(folder: Path) -> None:
    """Make a rename last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
