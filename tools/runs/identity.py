"""Who a process is, for ever: boot id, pid and kernel start time. A pid alone may be somebody else's by now."""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tools.runs.kernel import boot_id, start_ticks


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of one boot."""

    boot: str
    pid: int
    start: int | None

    def as_json(self) -> dict[str, object]:
        """For a file in the run folder."""
        return asdict(self)


def identify(pid: int) -> Identity:
    """The identity of a process that runs now."""
    return Identity(boot_id(), pid, start_ticks(pid))


def is_alive(identity: Identity) -> bool:
    """Whether exactly this process still runs; one that has ended and waits for its parent (a zombie) does not."""
    if identity.boot != boot_id() or identity.pid <= 1:
        return False
    if identity.start is None:  # no procfs when it was written: existence is all that can be asked
        try:
            os.kill(identity.pid, 0)
        except OSError:
            return False
        return True
    if start_ticks(identity.pid) != identity.start:
        return False
    try:
        return Path(f"/proc/{identity.pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (OSError, IndexError):
        return False


def read_identity(value: Mapping[str, object] | None) -> Identity | None:
    """The identity in a file of the run folder; None when there is none."""
    if value is None or not isinstance(value.get("pid"), int):
        return None
    start = value.get("start")
    return Identity(str(value.get("boot", "")), int(str(value["pid"])), start if isinstance(start, int) else None)


LockState = Literal["absent", "held", "free"]


def lock_state(path: Path) -> LockState:
    """Whether an attempt's lock was never taken, is held by a live runner or engine, or was left behind."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return "absent"
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    finally:
        os.close(fd)
    return "free"
