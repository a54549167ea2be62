"""A run folder here, its share, and what an execution would leave there: for tests of what goes up and what comes back."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.azure.cloud import ROOT, Cloud
from tools.azure.client import Azure
from tools.azure.files import open_share
from tools.engine.checkpoints import Checkpoints
from tools.engine.manifest import write_manifest
from tools.engine.spec import TrainSpec
from tools.runs.container import engine_package, upload

RUN = "0123456789"
KEY = "5a" * 32


def quiet(text: str, share: float | None) -> None:
    """Hears nothing."""


class Killed(Exception):
    """The process ends here."""


class Scene:
    """A run folder here, its share, and what an execution would leave there."""

    def __init__(self, folder: Path, cloud: Cloud, azure: Azure) -> None:
        self.cloud, self.share = cloud, open_share(azure, cloud.prepared())
        self.folder, model = folder / "home" / "runs" / RUN, folder / "model"
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "run.key").write_text(KEY)
        for name in ("train", "validation", "test"):
            (self.folder / "data" / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
        model.mkdir()
        for name, content in (("config.json", b"{}"), ("model.safetensors", b"w" * 5000), ("old.bin", b"pickle")):
            (model / name).write_bytes(content)
        self.spec = TrainSpec(
            run_id=RUN, model_id="tiny", model_dir=str(model), model_digest="ab" * 32, data_dir=str(self.folder / "data"), data_digest="d",
            max_steps=4, epochs=1, learning_rate=0.1, key_path="run.key", base_served_dir=str(folder / "base"))

    @property
    def there(self) -> Path:
        """The run's folder on the share."""
        return self.cloud.share_root / "runs" / RUN

    def upload(self, say: Callable[[str, float | None], None] = quiet, engine: str = "") -> None:
        """As the reconciler does it."""
        upload(self.share, ROOT, self.spec, self.folder, say, engine or engine_package(ROOT).digest)

    def ended(self, files: dict[str, bytes] | None = None, key: str = KEY) -> None:
        """What a finished run leaves on the share."""
        made = files if files is not None else {"adapter/adapter_model.safetensors": b"tuned" * 1000, "adapter/adapter_config.json": b"{}",
                                                "served/genai_config.json": b"{}", "base-served/model.onnx": b"base"}
        for name, content in made.items():
            (self.there / name).parent.mkdir(parents=True, exist_ok=True)
            (self.there / name).write_bytes(content)
        write_manifest(self.there, RUN, key.encode())

    def checkpoint(self, folder: Path, step: int, key: str = KEY) -> None:
        """A sealed one."""
        path = folder / "checkpoints" / f"checkpoint-{step}"
        path.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "optimizer.pt"):
            (path / name).write_bytes(f"{name} {step}".encode())
        Checkpoints(folder / "checkpoints", key.encode()).seal(step)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
