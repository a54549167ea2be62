"""The home folder of one person's Luthier, and the lock that lets one process at a time write its book."""

import fcntl
import os
import stat
from pathlib import Path

from policies.tool import ToolFailed

FOLDERS = ("runs", "models", "data", "secrets", "keys", "log")
"""Not `policy`: a folder of that name replaces the shipped rules as a whole."""


def prepare_home(home: Path) -> Path:
    """Create `home` (0700) and its folders, and close them to others. Raises ToolFailed when that cannot be."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        if home.stat().st_uid != os.geteuid():
            raise ToolFailed("The home cannot be used", f"{home} belongs to another user.", "Set LUTHIER_HOME to a folder of your own.")
        for folder in (home, *(home / name for name in FOLDERS)):
            folder.mkdir(exist_ok=True)
            if stat.S_IMODE(folder.stat().st_mode) != 0o700 and folder.parent in (home, home.parent):
                folder.chmod(0o700)
    except OSError as error:
        raise ToolFailed(
            "The home cannot be used",
            f"{home}: {error.strerror or error}.",
            "Set LUTHIER_HOME to a folder that you can write.",
        ) from None
    return home


class HomeLock:
    """The flock on `lock`: whoever holds it serves the home and writes its book."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def take(self) -> "HomeLock":
        """Take the lock, or raise ToolFailed (kind `locked`) that names the process that has it."""
        if self._fd is not None:
            return self
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ToolFailed(
                "The home cannot be used", f"{self._path}: {error.strerror}.", "Set LUTHIER_HOME to a folder that you can write.",
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise ToolFailed(
                "This home is in use",
                f"process {holder} serves {self._path.parent}.",
                f"Use that one (`python -m ui say …` speaks to it), stop it with `kill {holder}`, or set LUTHIER_HOME to another folder.",
                kind="locked",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        self._fd = fd
        return self

    def release(self) -> None:
        """Give the lock back; the file stays."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None
