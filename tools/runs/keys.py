"""A key for each run, derived from one key of the home: with it the engine seals what it writes and refuses what others wrote."""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from policies.tool import ToolFailed

NAME = "runs.key"
SIZE = 32


def home_key(keys: Path) -> bytes:
    """The home's key for runs, 32 random bytes in a file that only its owner may read; made on demand, once. ToolFailed when damaged."""
    path = keys / NAME
    with contextlib.suppress(FileNotFoundError):
        return _whole(path)
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = keys / f"{NAME}.{secrets.token_hex(4)}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_bytes(SIZE))
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):  # another process was quicker: its key counts
            os.link(part, path)
    finally:
        part.unlink()
    return _whole(path)


def _whole(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != SIZE:
        raise ToolFailed("Read the key of the runs", f"{path} has {len(key)} bytes in place of {SIZE}.",
                         "Put its backup back, or move it away: runs begun with it can then not be resumed.", kind="key")
    return key


def run_key(home: bytes, run_id: str) -> str:
    """The key of one run as hexadecimal text: HMAC-SHA256 of the home's key over the run's id."""
    return hmac.new(home, f"luthier run key 1 {run_id}".encode(), hashlib.sha256).hexdigest()
