"""One attempt at a run: its folder, spec, record and stop, the clock of its stages, and what the device holds."""

import time
from collections.abc import Callable
from pathlib import Path

from tools.engine import environment
from tools.engine.events import Events
from tools.engine.record import Record
from tools.engine.spec import Stage, TrainSpec
from tools.engine.stop import Stop

SPARE = 1 << 30
"""Bytes that the caches may need beside a copy of the model."""


class Attempt:
    """What every stage needs to know and to tell."""

    def __init__(self, folder: Path, spec: TrainSpec, record: Record, events: Events, stop: Stop) -> None:
        self.folder, self.spec, self.record, self.events, self.stop = folder, spec, record, events, stop
        self.adapter = folder / "adapter"
        weights = sum(path.stat().st_size for path in Path(spec.model_dir).glob("*.safetensors"))
        self.cache = environment.cache_folder(folder, weights + SPARE, spec.device)
        """Olive's and Hugging Face's, gone at the end."""
        self.stage: Stage | None = None
        """The stage at work."""
        self._since = time.monotonic()

    def enter(self, stage: Stage) -> None:
        """End the stage before, begin this one; a stop that was lost in native code is noticed here."""
        self.leave()
        self.stop.check()
        self.stage, self._since = stage, time.monotonic()
        self.events.add("stage", stage=stage)

    def leave(self) -> None:
        """Note the seconds of the stage that ends."""
        if self.stage is not None:
            self.record.spent(self.stage, time.monotonic() - self._since)
            self.stage = None

    def report(self, stage: Stage) -> Callable[[str, float], None]:
        """A reporter of progress for a stage."""
        return lambda text, fraction: self.events.progress(stage, text, round(fraction, 3))

    def choose_dtype(self) -> str:
        """The training dtype for this machine."""
        bf16 = False
        if self.spec.device == "cuda":
            import torch

            bf16 = torch.cuda.is_bf16_supported()
        return environment.choose_dtype(self.spec.dtype, self.spec.device, environment.cpu_flags(), bf16)

    def memory(self) -> int:
        """Bytes held now, on the device that trains."""
        if self.spec.device == "cuda":
            import torch

            return torch.cuda.memory_allocated()
        return environment.memory_bytes()

    def peak(self) -> int:
        """The most bytes held so far, on the device that trains."""
        if self.spec.device == "cuda":
            try:
                import torch

                return torch.cuda.max_memory_allocated()
            except (ImportError, RuntimeError):  # a GPU that was lost says nothing more
                return 0
        return environment.peak_memory_bytes()

    def gpu_use(self) -> float | None:
        """Share of the last moment that the GPU worked, 0..1; None on a CPU, or where the driver does not say."""
        if self.spec.device != "cuda":
            return None
        try:
            import torch

            return torch.cuda.utilization() / 100
        except Exception:  # whatever the driver answers: a figure that is missing ends no training
            return None

    def note_peak(self) -> None:
        """Remember the most that training has held, over all attempts."""
        self.record.note(peak_memory_bytes=max(self.peak(), int(self.record.metrics.get("peak_memory_bytes", 0))))
