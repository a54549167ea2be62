"""What this machine has and how much of it is free, each missing thing with its reason."""

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import ClassVar, Literal, Protocol

import psutil
from pydantic import JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs
from tools.cgroup import read_quota
from tools.gpus import Gpu, NvidiaMl, Nvml, read_gpus
from tools.places import Places
from tools.processor import Cpu, read_cpu, read_load

GIB = 1024**3
FLOOR_BYTES, ADVISED_BYTES = int(7.5 * GIB), int(15 * GIB)
"""8 and 16 GB cards report a little less than they are sold as."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory this process may use; `available` counts what the kernel would give without swapping."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts of one machine at one moment."""

    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...] = ()
    npu: str | None = None
    disk_free_bytes: int = 0
    os: str = ""
    python: str = ""
    wsl: bool = False
    load: float = 0.0
    """Cores that others keep busy now."""
    notes: tuple[str, ...] = ()

    def free_cores(self) -> int:
        """Cores to give to training: those nobody uses, one left for the chat where there are more than four. At least 1."""
        spare = self.cpu.cores - (1 if self.cpu.cores > 4 else 0)
        return max(1, min(spare, round(self.cpu.cores - self.load)))

    def share_for(self, threads: int) -> float:
        """The part of their time that so many threads will get beside what keeps the processor busy now; 0.1 to 1."""
        return round(max(0.1, min(1.0, self.cpu.cores / (self.load + threads))), 2)

    def free_for(self, device: Literal["cpu", "cuda"]) -> int:
        """Bytes free for training: main memory, or that of the roomiest GPU (0 without one)."""
        if device == "cpu":
            return self.memory.available_bytes
        return max((gpu.memory_free_bytes for gpu in self.gpus), default=0)

    def roomiest(self) -> Gpu | None:
        """The GPU with the most free memory."""
        return max(self.gpus, key=lambda gpu: (gpu.memory_free_bytes, -gpu.index), default=None)

    def dtype_for(self, device: Literal["cpu", "cuda"]) -> Literal["float32", "bfloat16", "float16"]:
        """The type to compute in: bfloat16 only where it is native."""
        if device == "cpu":
            return "bfloat16" if self.cpu.bf16_native else "float32"
        gpu = self.roomiest()
        return "bfloat16" if gpu is None or gpu.bf16_native else "float16"

    def as_json(self) -> dict[str, JsonValue]:
        """The result of `inspect_hardware`."""
        return {
            "cpu": {"name": self.cpu.name, "cores": self.cpu.cores, "isa": list(self.cpu.isa), "bf16_native": self.cpu.bf16_native,
                    "load": round(self.load, 2), "free_cores": self.free_cores()},
            "memory": {"total_bytes": self.memory.total_bytes, "available_bytes": self.memory.available_bytes},
            "gpus": [{
                "index": gpu.index, "vendor": gpu.vendor, "name": gpu.name, "memory_total_bytes": gpu.memory_total_bytes,
                "memory_free_bytes": gpu.memory_free_bytes, "driver": gpu.driver, "compute_capability": gpu.compute_capability,
            } for gpu in self.gpus],
            "npu": None if self.npu is None else {"name": self.npu, "used": False},
            "disk": {"free_bytes": self.disk_free_bytes}, "os": self.os, "python": self.python, "wsl": self.wsl, "notes": list(self.notes),
        }


class MachineReader(Protocol):
    """Whoever tells what the machine is like now."""

    def machine(self) -> Machine:
        """The machine as of now."""
        ...


class Hardware:
    """Reads the machine: fixed facts once, free memory, load and disk each time."""

    def __init__(self, places: Places, nvml: Nvml | None = None, *, system: Path = Path("/")) -> None:
        """`nvml` and `system` (where /proc, /sys and /dev lie) are ports for tests."""
        self._places, self._nvml, self._system = places, nvml or NvidiaMl(), system
        self._lock = Lock()
        self._fixed: tuple[Cpu, tuple[str, ...]] | None = None

    def cores(self) -> int:
        """How many processor cores this process may use."""
        return self._processor(read_quota(self._system).cpus)[0].cores

    def _processor(self, quota: float | None) -> tuple[Cpu, tuple[str, ...]]:
        with self._lock:
            if self._fixed is None:
                self._fixed = read_cpu(quota, self._system)
            return self._fixed

    def machine(self) -> Machine:
        """The machine as of now. Never raises for something missing: it is a note."""
        quota = read_quota(self._system)
        cpu, notes = self._processor(quota.cpus)
        memory, memory_notes = _memory(quota.memory_bytes, quota.memory_used_bytes)
        gpus, gpu_notes = read_gpus(self._nvml)
        npu, npu_notes = _npu(self._system)
        release = platform.release().lower()
        wsl = "microsoft" in release
        found = Machine(
            cpu=cpu, memory=memory, gpus=gpus, npu=npu, disk_free_bytes=_disk_free(self._places.home), os=_os_name(), wsl=wsl,
            python=platform.python_version(), load=read_load())
        return replace(found, notes=(
            *notes, *memory_notes, *gpu_notes, *_other_gpus(self._system), *npu_notes, *_judged(found, self._places.accelerator)))


class InspectHardware:
    """The tool that shows the machine."""

    name: ClassVar[str] = "inspect_hardware"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Look at this machine: processor, memory, GPUs with free memory, NPU, disk, and what is missing with the reason. "
        "Use it when asked what this computer can do, and before choosing a model.")

    class Args(ToolArgs):
        """No arguments."""

    def __init__(self, hardware: Hardware) -> None:
        """Takes the reader of the machine."""
        self._hardware = hardware

    def propose(self, args: Args, /) -> Proposal:
        """Only reads."""
        return Proposal(effects=frozenset({Effect.READ}), target="machine")

    def perform(self, args: Args, call: Call, /) -> Result:
        """Read the machine now."""
        machine = self._hardware.machine()
        facts = machine.as_json()
        return Result(facts, _compact(machine))

    def recall(self, call_id: str, /) -> Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED


def _compact(machine: Machine) -> Mapping[str, JsonValue]:
    """The same for the brain, in round numbers."""
    return {
        "cpu": machine.cpu.name, "cores": machine.cpu.cores, "free_cores": machine.free_cores(), "isa": list(machine.cpu.isa),
        "memory_gib": round(machine.memory.total_bytes / GIB, 1), "memory_free_gib": round(machine.memory.available_bytes / GIB, 1),
        "gpus": [f"{gpu.index}: {gpu.name}, {gpu.memory_free_bytes / GIB:.1f} of {gpu.memory_total_bytes / GIB:.1f} GiB free"
                 for gpu in machine.gpus],
        "npu": machine.npu, "disk_free_gib": round(machine.disk_free_bytes / GIB, 1), "os": machine.os, "notes": list(machine.notes),
    }


def _memory(limit: int | None, used: int) -> tuple[Memory, tuple[str, ...]]:
    """Main memory, narrowed by the container's limit."""
    seen = psutil.virtual_memory()
    if limit is None or limit >= seen.total:
        return Memory(seen.total, seen.available), ()
    available = max(0, min(seen.available, limit - used))
    return Memory(limit, available), (f"The container's memory limit is {limit / GIB:.1f} of {seen.total / GIB:.1f} GiB.",)


def _disk_free(folder: Path) -> int:
    """Bytes free where the home lies, or will lie."""
    for step in (folder, *folder.parents):
        if step.exists():
            return shutil.disk_usage(step).free
    return 0


def _os_name() -> str:
    """`Debian GNU/Linux 12 (bookworm), Linux 6.1` or what the platform says."""
    kernel = f"{platform.system()} {platform.release()}"
    try:
        return f"{platform.freedesktop_os_release().get('PRETTY_NAME', '')}, {kernel}".lstrip(", ")
    except OSError:
        return kernel


def _npu(system: Path) -> tuple[str | None, tuple[str, ...]]:
    """A neural processor by the kernel's accel class: seen, never used for training."""
    for device in sorted((system / "sys/class/accel").glob("accel*")):
        try:
            driver = (device / "device/driver").resolve().name
        except OSError:
            driver = ""
        name = {"intel_vpu": "Intel NPU", "amdxdna": "AMD XDNA NPU"}.get(driver, "NPU")
        return name, (f"{name} found: variants for it can be chosen and exported, but it is not used for training here.",)
    return None, ("No NPU: the kernel lists no accelerator device (/sys/class/accel).",)


def _other_gpus(system: Path) -> tuple[str, ...]:
    """AMD and Intel graphics: named, so that nobody wonders."""
    vendors = {"0x1002": "AMD", "0x8086": "Intel"}
    found: set[str] = set()
    for path in (system / "sys/class/drm").glob("card*/device/vendor"):
        try:
            found.add(vendors.get(path.read_text().strip(), ""))
        except OSError:
            continue
    return tuple(f"{name} graphics found, not used: training needs an NVIDIA GPU or the processor." for name in sorted(found - {""}))


def _judged(machine: Machine, accelerator: str) -> tuple[str, ...]:
    """What the facts mean for training."""
    notes: list[str] = []
    if machine.wsl:
        notes.append("Runs in WSL: memory is what .wslconfig grants, and an NVIDIA GPU needs the driver on the Windows side only.")
    if platform.system() == "Darwin":
        notes.append("macOS: chat, data and cloud work; training on the processor is best effort.")
    for gpu in machine.gpus:
        size = f"GPU {gpu.index} ({gpu.name}) has {gpu.memory_total_bytes / GIB:.1f} GiB"
        if gpu.memory_total_bytes < FLOOR_BYTES:
            notes.append(f"{size}: below the 8 GB floor for models of 3 billion parameters and more; small ones in 4 bits fit.")
        elif gpu.memory_total_bytes < ADVISED_BYTES:
            notes.append(f"{size}: above the 8 GB floor, below the advised 16 GB; keep rows short or batches small.")
        if not gpu.bf16_native:
            capability = gpu.compute_capability or "unknown"
            notes.append(f"GPU {gpu.index} does not compute bfloat16 (compute capability {capability}); float16 is used.")
    if machine.gpus and accelerator == "cpu":
        notes.append("GPU present, not used: prepare it with LUTHIER_ACCELERATOR=cuda make run.")
    if not machine.gpus and accelerator == "cuda":
        notes.append("The CUDA environment is chosen, but no GPU answers: set LUTHIER_ACCELERATOR=cpu, or repair the driver.")
    if not machine.cpu.bf16_native:
        notes.append("The processor does not compute bfloat16 (no AVX512_BF16, AMX or ARM bf16): training on it uses float32.")
    if machine.disk_free_bytes < 5 * GIB:
        notes.append(f"Only {machine.disk_free_bytes / GIB:.1f} GiB of disk free; a larger model or its exports may not fit.")
    return tuple(notes)
