"""The locks of a runner: one for an attempt, one for the machine. Standard library only: the runner loads it, here and in a container."""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path


def take_lock(path: Path, owner: str) -> int | None:
    """Create the attempt's lock, which must not exist, and hold it; None when somebody has had it already."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    fcntl.flock(fd, fcntl.LOCK_EX)  # only a look at the new file could make us wait, for a moment
    os.write(fd, json.dumps({"owner": owner, "pid": os.getpid(), "at": time.time()}).encode())
    os.fsync(fd)
    return fd


def claim(path: Path, owner: str) -> bool:
    """Make an attempt's lock ours where nobody can hold one: whoever it names has the attempt, also when started again by the platform."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        for pause in (0.1, 0.4, 1.5, 0.0):  # its maker may be about to write its name; one that never did has the attempt all the same
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return bool(json.loads(path.read_bytes())["owner"] == owner)
            time.sleep(pause)
        return False
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump({"owner": owner, "pid": os.getpid(), "at": time.time()}, file)
        file.flush()
        os.fsync(fd)
    return True


def take_machine(path: str) -> int | None:
    """Hold the machine's lock, which the kernel lets go of when the last process of the run has ended; None while another run has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for pause in (0.01, 0.05, 0.0):  # whoever only looks holds it for a moment
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        time.sleep(pause)
    return None
