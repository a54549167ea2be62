"""What a share says of a file or a folder."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


class Shrunk(Exception):
    """The file is shorter than the position that was asked for: it was begun anew."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder on the share."""

    name: str
    is_dir: bool
    size: int
    etag: str
    modified: datetime


def listed(found: Any) -> Entry:
    """One line of a folder's list."""
    return Entry(found.name, bool(found.is_directory), int(getattr(found, "size", 0) or 0), etag_of(found),
                 getattr(found, "last_modified", None) or getattr(found, "last_write_time", None) or datetime.now(UTC))


def etag_of(found: Any) -> str:
    """Without quotation marks; empty where there is none."""
    return str(getattr(found, "etag", "") or "").strip('"')


def length_of(error: Any) -> int | None:
    """The file's length, where the answer to a range beyond it says so."""
    said = str(error.response.headers.get("Content-Range") or "") if error.response is not None else ""
    length = said.rpartition("/")[2]
    return int(length) if length.isdigit() else None
