"""The outlook of one model on one device: settings, memory, time and whether it fits, from plain facts."""

from dataclasses import dataclass, replace
from typing import Protocol

from policies.tool import ToolFailed
from tools.engine.spec import Method
from tools.fit import (
    Device,
    Fits,
    Lengths,
    MemoryEstimate,
    Settings,
    TimeEstimate,
    TooBig,
    choose_settings,
    estimate_memory,
    estimate_time,
    judge_fit,
)
from tools.gpus import Gpu
from tools.hardware import GIB, Machine
from tools.models import ModelShape
from tools.places import Accelerator

UNUSED = "GPU present, not used: prepare it with LUTHIER_ACCELERATOR=cuda make run."

USUAL = Lengths(train_rows=300, p50=120, p95=200, max=256)
"""Assumed where no dataset is named; answers say so."""


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What is known of a dataset for one model; tokens are those of a rendered row."""

    rows: int
    train_rows: int
    p50: int
    p95: int
    max: int
    digest: str = ""

    @property
    def lengths(self) -> Lengths:
        """As the estimates take them."""
        return Lengths(max(1, self.train_rows), max(1, self.p50), max(1, self.p95), max(1, self.max))


class DatasetReader(Protocol):
    """Where the facts of a dataset come from."""

    def rows_of(self, dataset: str, model: str) -> DatasetFacts:
        """Count rows and tokens with the model's tokenizer. Raises ToolFailed with what is wrong with the data."""
        ...


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a run would sit, and the bytes free there."""

    device: Device
    room_bytes: int
    where: str
    name: str
    """For sentences: `main memory`, `GPU 0, RTX 3050`."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one run would be like."""

    settings: Settings
    memory: MemoryEstimate
    time: TimeEstimate
    fit: Fits | TooBig


def look_ahead(
    shape: ModelShape, lengths: Lengths, machine: Machine, seat: Seat, method: Method = "qlora", *, epochs: float | None = None,
    max_steps: int | None = None,
) -> Outlook:
    """Choose settings for the seat and estimate them. Pure."""
    settings = choose_settings(
        shape, lengths, machine, method, epochs=epochs, max_steps=max_steps, device=seat.device, available_bytes=seat.room_bytes)
    memory = estimate_memory(
        shape, method, batch_size=settings.batch_size, length=min(lengths.max, settings.max_length), lora_r=settings.lora_r,
        gradient_checkpointing=settings.gradient_checkpointing, device=seat.device)
    time = estimate_time(
        shape, settings, length=min(lengths.p95, settings.max_length), has_avx2=bool({"avx2", "neon"} & set(machine.cpu.isa)))
    remedies = tuple(step for step in (
        "use qlora" if method != "qlora" else "", "choose a smaller model (recommend_model)",
        "shorten the rows" if lengths.p95 > 256 else "", "close other programs") if step)
    return Outlook(settings, memory, time, judge_fit(memory, seat.room_bytes, remedies))


def take_seat(machine: Machine, accelerator: Accelerator, gpu: str | None = None) -> Seat:
    """The device a local run would use, or the one that `gpu` names (`cpu`, an index, or part of a name). Raises ToolFailed."""
    wanted = (gpu or "").strip().lower()
    if wanted in {"cpu", "none"}:
        return _main_memory(machine)
    if wanted and wanted != "auto":
        for found in machine.gpus:
            if wanted == str(found.index) or (len(wanted) > 2 and wanted in found.name.lower()):
                return _gpu_seat(found, (UNUSED,) if accelerator == "cpu" else ())
        here = "; ".join(f"{found.index}: {found.name}" for found in machine.gpus) or "none"
        raise ToolFailed("Could not estimate for that GPU", f"it is not in this machine (NVIDIA GPUs here: {here}).",
                         "Leave `gpu` out, or say `cpu`.", kind="gpu_missing")
    best = machine.roomiest()
    if accelerator == "cuda" and best is not None:
        return _gpu_seat(best)
    seat = _main_memory(machine)
    if best is not None:
        return replace(seat, notes=(UNUSED,))
    return seat


def _main_memory(machine: Machine) -> Seat:
    return Seat("cpu", machine.memory.available_bytes, "this machine (CPU)", "main memory")


def _gpu_seat(gpu: Gpu, notes: tuple[str, ...] = ()) -> Seat:
    return Seat("cuda", gpu.memory_free_bytes, "this machine (GPU)", f"GPU {gpu.index}, {gpu.name}", notes)


def gib(count: int) -> str:
    """Bytes for people."""
    return f"{count / GIB:.1f} GiB"
