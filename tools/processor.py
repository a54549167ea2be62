"""The processor: its name, the cores this process may use, and the instruction sets that decide how fast it trains."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cpuinfo
import psutil

MEANING = {
    "sse4_2": "sse4.2", "avx": "avx", "avx2": "avx2", "fma": "fma", "f16c": "f16c", "avx_vnni": "avx_vnni", "avx512f": "avx512",
    "avx512_vnni": "avx512_vnni", "avx512_bf16": "avx512_bf16", "amx_tile": "amx", "amx_bf16": "amx_bf16", "amx_int8": "amx_int8",
    "asimd": "neon", "sve": "sve", "bf16": "arm_bf16", "i8mm": "i8mm",
}
"""The kernel's flag → the name people use."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor as this process may use it."""

    name: str
    cores: int
    """Logical cores after affinity and container quota; at least 1."""
    isa: tuple[str, ...]

    @property
    def bf16_native(self) -> bool:
        """It multiplies bfloat16 itself; elsewhere bf16 training was nine times slower than fp32."""
        return bool({"avx512_bf16", "amx_bf16", "arm_bf16"} & set(self.isa))


def read_cpu(quota: float | None, root: Path = Path("/")) -> tuple[Cpu, tuple[str, ...]]:
    """Name, cores and instruction sets, and notes on what narrowed them. Quick where /proc/cpuinfo speaks, about a second elsewhere."""
    name, flags = _from_proc(root / "proc/cpuinfo")
    notes: list[str] = []
    if not flags:
        told: dict[str, Any] = cpuinfo.get_cpu_info() or {}
        flags = frozenset(told.get("flags", ()))
        name = name or str(told.get("brand_raw", ""))
        if not flags:
            notes.append("The processor's instruction sets could not be read; the slow ones are assumed.")
    present = os.cpu_count() or 1
    cores = present
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    if cores < present:
        notes.append(f"This process may run on {cores} of {present} cores (affinity).")
    if quota is not None and quota < cores:
        cores = max(1, int(quota))
        notes.append(f"The container's processor quota is {quota:g} of {present} cores; {cores} counted.")
    return Cpu(name or "unknown", max(1, cores), tuple(MEANING[flag] for flag in MEANING if flag in flags)), tuple(notes)


def read_load(sample_s: float = 0.2) -> float:
    """Cores that others keep busy: measured over `sample_s` seconds, this process's own work left out.

    The system's load average remembers what ended a minute ago, an installation for example; it is believed only
    where the sample says the processor is full, since it then tells how many wait.
    """
    mine, everyone, since = psutil.Process(), psutil.cpu_times(), time.monotonic()
    own = _seconds(mine)
    time.sleep(sample_s)
    passed = time.monotonic() - since
    busy = max(0.0, _busy(psutil.cpu_times()) - _busy(everyone) - (_seconds(mine) - own)) / passed
    cores = os.cpu_count() or 1
    if busy < 0.8 * cores:
        return busy
    try:
        return max(busy, psutil.getloadavg()[0])
    except OSError:
        return busy


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _busy(times: Any) -> float:
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))


def _from_proc(path: Path) -> tuple[str, frozenset[str]]:
    """Model name and flags of the first processor; x86 says `flags`, ARM `Features`."""
    name, flags = "", frozenset[str]()
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return name, flags
    for line in text.splitlines():
        key, _, value = line.partition(":")
        match key.strip():
            case "model name" if not name:
                name = value.strip()
            case "flags" | "Features" if not flags:
                flags = frozenset(value.split())
    return name, flags
