"""A share that is a folder: what `tools.azure.files.Share` gives, without any network."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class FolderEntry:
    """A file or folder as it is listed."""

    name: str
    is_dir: bool
    size: int
    etag: str
    modified: datetime


class FolderShare:
    """The verbs of a share over a folder. Counts what is read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read_bytes = 0

    def entries(self, folder: str) -> tuple[FolderEntry, ...]:
        """What lies in a folder; nothing when there is none."""
        path = self.root / folder
        return tuple(_entry(each) for each in sorted(path.iterdir())) if path.is_dir() else ()

    def read(self, remote: str, offset: int, most: int = 1 << 20) -> bytes:
        """Bytes from an offset."""
        with (self.root / remote).open("rb") as file:
            file.seek(offset)
            found = file.read(most)
        self.read_bytes += len(found)
        return found

    def stat(self, remote: str) -> FolderEntry | None:
        """A file, or None."""
        path = self.root / remote
        return _entry(path) if path.exists() else None

    def delete(self, remote: str) -> None:
        """Gone."""
        (self.root / remote).unlink(missing_ok=True)

    def put(self, local: Path, remote: str) -> None:
        """A copy."""
        shutil.copyfile(local, self.root / remote)


def _entry(path: Path) -> FolderEntry:
    found = path.stat()
    return FolderEntry(path.name, path.is_dir(), found.st_size, f"{found.st_mtime_ns}-{found.st_size}",
                       datetime.fromtimestamp(found.st_mtime, UTC))
