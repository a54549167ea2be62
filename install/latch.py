"""Lets one set-up work at a time: a second `make run` in the same folder waits for the first."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from install.progress import Progress


@contextmanager
def latch(root: Path, progress: Progress) -> Iterator[None]:
    """Hold the set-up's lock file; the kernel drops it when the process ends, however it ends."""
    out = root / "out"
    out.mkdir(exist_ok=True)
    handle = os.open(out / "install.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.line("Another set-up works in this folder; waiting for it to end …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
