"""NVIDIA GPUs as NVML reports them; a machine without one, or with a broken driver, is a normal answer with its reason."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import pynvml


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    index: int
    vendor: str
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    driver: str
    compute_capability: str
    """`8.6`; empty where the driver does not say."""

    @property
    def bf16_native(self) -> bool:
        """Ampere (8.0) and later compute bfloat16."""
        major = self.compute_capability.partition(".")[0]
        return major.isdigit() and int(major) >= 8


@dataclass(frozen=True, slots=True)
class Device:
    """What NVML says of one device."""

    name: str
    total_bytes: int
    free_bytes: int
    compute_capability: str
    use: float | None = None
    """Share of the last moment that it worked, 0..1; None where the driver does not say."""


class NvmlFailure(Exception):
    """NVML could not answer; `kind` says why."""

    def __init__(self, kind: Literal["no_library", "no_driver", "mismatch", "denied", "lost", "other"], detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


class Nvml(Protocol):
    """The few verbs of NVIDIA's management library that we need. Each raises NvmlFailure."""

    def opened(self) -> contextlib.AbstractContextManager[None]:
        """Load the library and talk to the driver for as long as the context lasts."""
        ...

    def driver(self) -> str:
        """The driver's version."""
        ...

    def count(self) -> int:
        """How many devices there are."""
        ...

    def device(self, index: int) -> Device:
        """One device's facts, its free memory as of now."""
        ...


class NvidiaMl:
    """The real library, through nvidia-ml-py."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """See Nvml."""
        with _translated():
            pynvml.nvmlInit()
        try:
            yield
        finally:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def driver(self) -> str:
        """See Nvml."""
        with _translated():
            return _words(pynvml.nvmlSystemGetDriverVersion())

    def count(self) -> int:
        """See Nvml."""
        with _translated():
            return int(pynvml.nvmlDeviceGetCount())

    def device(self, index: int) -> Device:
        """See Nvml."""
        with _translated():
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            try:
                major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
                capability = f"{major}.{minor}"
            except pynvml.NVMLError:
                capability = ""
            use = None
            with contextlib.suppress(pynvml.NVMLError):
                use = min(1.0, int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100)
            return Device(_words(pynvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free), capability, use)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the library's errors into ours."""
    kinds: dict[int, Literal["no_library", "no_driver", "mismatch", "denied", "lost"]] = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no_library",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "no_driver",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "mismatch",
        pynvml.NVML_ERROR_NO_PERMISSION: "denied",
        pynvml.NVML_ERROR_GPU_IS_LOST: "lost",
    }
    try:
        yield
    except pynvml.NVMLError as error:
        raise NvmlFailure(kinds.get(getattr(error, "value", -1), "other"), str(error)) from error


def _words(value: str | bytes) -> str:
    """Older bindings give bytes; keep what can be printed."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return "".join(sign for sign in text if sign.isprintable())[:80]


WHY = {
    "no_library": "No NVIDIA GPU can be used: the driver's library (libnvidia-ml) is not installed. If there is one, install its driver.",
    "no_driver": "No NVIDIA GPU can be used: the library is there, the kernel driver is not loaded. Load it (modprobe nvidia) or restart.",
    "mismatch": "No NVIDIA GPU can be used: library and kernel driver have different versions, as after an update. Restart the machine.",
    "denied": "No NVIDIA GPU can be used: this user may not speak to the driver. Grant access to /dev/nvidia*.",
    "lost": "A GPU has fallen off the bus. Restart the machine, then look at its power and seating.",
}


def read_gpus(nvml: Nvml) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """All NVIDIA GPUs with their free memory as of now, and a sentence for each thing that is missing. Never raises."""
    gpus: list[Gpu] = []
    notes: list[str] = []
    try:
        with nvml.opened():
            driver, count = nvml.driver(), nvml.count()
            if not count:
                notes.append(f"No NVIDIA GPU: the driver {driver} works and counts no device.")
            for index in range(count):
                try:
                    seen = nvml.device(index)
                except NvmlFailure as failure:
                    notes.append(f"GPU {index} does not answer: {WHY.get(failure.kind, f'NVML says “{failure.detail}”.')}")
                    continue
                gpus.append(Gpu(index, "NVIDIA", seen.name, seen.total_bytes, seen.free_bytes, driver, seen.compute_capability))
    except NvmlFailure as failure:
        notes.append(WHY.get(failure.kind, f"No NVIDIA GPU can be used: NVML says “{failure.detail}”."))
    return tuple(gpus), tuple(notes)


class GpuUse:
    """How busy the first GPU is: what the training environment, which has no binding of its own to the driver, cannot say."""

    def __init__(self, nvml: Nvml, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml, self._clock = nvml, clock
        self._known: tuple[float, float | None] | None = None

    def __call__(self) -> float | None:
        """Share of the last moment that it worked, 0..1, asked once a second at most; None where nobody says."""
        now = self._clock()
        if self._known is None or now - self._known[0] >= 1:
            use = None
            with contextlib.suppress(NvmlFailure), self._nvml.opened():
                use = self._nvml.device(0).use
            self._known = (now, use)
        return self._known[1]
