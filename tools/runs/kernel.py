"""What the kernel says of this machine and of its processes. Standard library only: the runner loads it, here and in a container."""

import contextlib
import hashlib
from pathlib import Path


def oom_kills() -> int:
    """OOM kills that this process's control group has seen; 0 where the kernel does not say. Reads cgroup v2, else v1."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        events = f"memory/{path.lstrip('/')}/memory.oom_control" if controllers else f"{path.lstrip('/')}/memory.events"
        with contextlib.suppress(OSError, ValueError):
            for entry in Path("/sys/fs/cgroup", events).read_text().splitlines():
                key, _, value = entry.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


def boot_id() -> str:
    """The kernel's id of this boot; empty where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def machine_id() -> str:
    """A short digest of this machine's own id, the same after a restart and another one elsewhere; empty where there is none."""
    with contextlib.suppress(OSError):
        found = Path("/etc/machine-id").read_bytes().strip()
        return hashlib.sha256(b"luthier machine " + found).hexdigest()[:12] if found else ""
    return ""


def start_ticks(pid: int) -> int | None:
    """The kernel's start time of a process, in clock ticks since boot: with the pid and the boot id it names one process for ever."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return None


def identity(pid: int) -> dict[str, object]:
    """Machine, boot id, pid and start time of a process, as a file holds them."""
    return {"machine": machine_id(), "boot": boot_id(), "pid": pid, "start": start_ticks(pid)}
