"""How much of the machine this process may use: memory limit and processor quota of its control group, version 1 and 2."""

from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What the control group allows; None is no limit."""

    memory_bytes: int | None = None
    memory_used_bytes: int = 0
    """Charged to the group and not reclaimable: page cache that can be dropped is left out."""
    cpus: float | None = None


def read_quota(root: Path = Path("/")) -> Quota:
    """Read the strictest limit from this process's group up to the top. Unreadable files count as no limit."""
    groups = _groups(root / "proc/self/cgroup")
    base = root / "sys/fs/cgroup"
    memory: list[tuple[int, int]] = []
    cpus: list[float] = []
    for folder in _chain(base, groups.get("", "/")):
        limit = _number(folder / "memory.max")
        if limit is not None:
            memory.append((limit, _used(folder, "memory.current")))
        words = _text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            cpus.append(int(words[0]) / int(words[1]))
    for folder in _chain(base / "memory", groups.get("memory", "/")):
        limit = _number(folder / "memory.limit_in_bytes")
        if limit is not None and limit < UNLIMITED:
            memory.append((limit, _used(folder, "memory.usage_in_bytes")))
    for folder in (*_chain(base / "cpu", groups.get("cpu", "/")), *_chain(base / "cpu,cpuacct", groups.get("cpu", "/"))):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:
            cpus.append(quota / period)
    tightest = min(memory, key=lambda pair: pair[0] - pair[1], default=None)
    return Quota(
        memory_bytes=None if tightest is None else tightest[0], memory_used_bytes=0 if tightest is None else tightest[1],
        cpus=min(cpus, default=None))


def _groups(path: Path) -> dict[str, str]:
    """Controller → path of this process's group; the empty name is version 2."""
    found: dict[str, str] = {}
    for line in _text(path).splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                found[controller] = parts[2]
    return found


def _chain(mount: Path, group: str) -> list[Path]:
    """The group's folder and all above it up to the mount. Inside a container only the mount itself may exist."""
    folder = mount / group.lstrip("/")
    if ".." in folder.parts:
        return [mount]
    chain = [folder, *folder.parents]
    return [step for step in chain[: chain.index(mount) + 1] if step.is_dir()]


def _used(folder: Path, name: str) -> int:
    """Bytes charged, less the file cache that the kernel would drop first."""
    used = _number(folder / name) or 0
    for line in _text(folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key in {"inactive_file", "total_inactive_file"} and value.isdigit():
            return max(0, used - int(value))
    return used


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
