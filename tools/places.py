"""Where things lie: the folders every tool works in, passed in once and never read from the environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Accelerator = Literal["cpu", "cuda"]

_DERIVED = Path()


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one installation (`root`) and one person's home of runs, models and data (`home`).

    Fields left out are derived from `root`, `home` and `accelerator`. All paths are absolute; none need exist.
    """

    root: Path
    """The project: code, samples, set-up results."""
    home: Path
    """`$LUTHIER_HOME`: the book, runs, registered models, uploads, keys."""
    data: tuple[Path, ...] = ()
    """Folders that dataset references may name; default `root/samples` and `home/data`."""
    accelerator: Accelerator = "cpu"
    """Which engine environment is used."""
    engine_python: Path = _DERIVED
    """The engine environment's interpreter; default `root/.engine-<accelerator>/bin/python`."""
    bundled: Path = _DERIVED
    """Folder with `model/` (safetensors) and `onnx-int8/` (the untuned base, served), both made by set-up."""
    machine_lock: Path = _DERIVED
    """The lock that stands for this machine's one place to train; default one of this home's own, which other homes do not heed."""
    hub_cache: Path | None = None
    """The Hugging Face cache (`…/huggingface/hub`) to look for models that are already here; None looks nowhere."""

    def __post_init__(self) -> None:
        """Fill in what was left out."""
        if not self.data:
            object.__setattr__(self, "data", (self.root / "samples", self.home / "data"))
        if self.engine_python == _DERIVED:
            object.__setattr__(self, "engine_python", self.root / f".engine-{self.accelerator}" / "bin" / "python")
        if self.bundled == _DERIVED:
            object.__setattr__(self, "bundled", self.root / ".bundled")
        if self.machine_lock == _DERIVED:
            object.__setattr__(self, "machine_lock", self.home / "runs" / ".machine.lock")

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.home / "runs"

    @property
    def models(self) -> Path:
        """Models that Luthier keeps itself."""
        return self.home / "models"

    @property
    def uploads(self) -> Path:
        """Datasets that were added or uploaded."""
        return self.home / "data"

    @property
    def keys(self) -> Path:
        """Keys that sign checkpoints and records."""
        return self.home / "keys"

    @property
    def bundled_model(self) -> Path:
        """The bundled model's safetensors folder."""
        return self.bundled / "model"

    @property
    def bundled_served(self) -> Path:
        """The untuned bundled model, exported at int8."""
        return self.bundled / "onnx-int8"
